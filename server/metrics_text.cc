#include "server/metrics_text.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "base/text.h"

namespace quorate::server {
namespace {

std::string Number(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    return StrCat(static_cast<int64_t>(value));
  }
  return absl::StrFormat("%.9g", value);
}

void AppendEscaped(std::string_view value, std::string* out) {
  for (const char c : value) {
    if (c == '\\' || c == '"') out->push_back('\\');
    if (c == '\n') {
      out->append("\\n");
    } else {
      out->push_back(c);
    }
  }
}

}  // namespace

void MetricsText::Family(std::string_view name, Type type, std::string_view help) {
  const std::string_view kind = type == Type::kCounter ? "counter"
                                : type == Type::kGauge ? "gauge"
                                                       : "histogram";
  StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n");
  family_ = name;
}

void MetricsText::Line(std::string_view suffix, Labels labels, std::string_view extra_label,
                       double value) {
  StrAppend(&text_, family_, suffix);
  if (labels.size() != 0 || !extra_label.empty()) {
    text_.push_back('{');
    bool first = true;
    for (const auto& [name, text] : labels) {
      if (!first) text_.push_back(',');
      first = false;
      StrAppend(&text_, name, "=\"");
      AppendEscaped(text, &text_);
      text_.push_back('"');
    }
    if (!extra_label.empty()) StrAppend(&text_, first ? "" : ",", extra_label);
    text_.push_back('}');
  }
  StrAppend(&text_, " ", Number(value), "\n");
}

void MetricsText::Sample(Labels labels, double value) { Line("", labels, "", value); }

void MetricsText::HistogramSample(Labels labels, const Histogram& histogram,
                                  std::span<const double> bounds, double unit_ns) {
  for (const double bound : bounds) {
    Line("_bucket", labels, StrCat("le=\"", Number(bound), "\""),
         static_cast<double>(histogram.CountAtMostNs(static_cast<int64_t>(bound * unit_ns))));
  }
  Line("_bucket", labels, "le=\"+Inf\"", static_cast<double>(histogram.count()));
  Line("_sum", labels, "", static_cast<double>(histogram.sum_ns()) / unit_ns);
  Line("_count", labels, "", static_cast<double>(histogram.count()));
}

void MetricsText::Counter(std::string_view name, std::string_view help, double value) {
  Family(name, Type::kCounter, help);
  Sample({}, value);
}

void MetricsText::Gauge(std::string_view name, std::string_view help, double value) {
  Family(name, Type::kGauge, help);
  Sample({}, value);
}

}  // namespace quorate::server
