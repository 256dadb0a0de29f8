// MetricsText: builds a Prometheus text exposition (format 0.0.4). Families appear in the order in
// which they are added; label values are escaped.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/histogram.h"

namespace quorate::server {

// etcd's exponential buckets: `first` doubled `count - 1` times.
template <size_t count>
constexpr std::array<double, count> Doubling(double first) {
  std::array<double, count> bounds{};
  for (size_t i = 0; i < count; ++i, first *= 2) bounds[i] = first;
  return bounds;
}

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class MetricsText {
 public:
  enum class Type { kCounter, kGauge, kHistogram };

  // Heads a family; samples follow.
  void Family(std::string_view name, Type type, std::string_view help);
  void Sample(Labels labels, double value);
  // Buckets are upper bounds in `unit_ns` units (1e9: seconds, 1e6: milliseconds).
  void HistogramSample(Labels labels, const Histogram& histogram, std::span<const double> bounds,
                       double unit_ns);

  // Family and its only sample.
  void Counter(std::string_view name, std::string_view help, double value);
  void Gauge(std::string_view name, std::string_view help, double value);

  const std::string& text() const { return text_; }

 private:
  void Line(std::string_view suffix, Labels labels, std::string_view extra_label, double value);

  std::string text_;
  std::string family_;
};

}  // namespace quorate::server
