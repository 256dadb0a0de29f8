#include "workloads/progress.h"

#include <cstdio>

#include "base/text.h"
#include "workloads/result.h"

namespace quorate::workload {

std::string FormatProgress(const ProgressLine& line) {
  const auto per_second = [&](uint64_t count) {
    return static_cast<int64_t>(static_cast<double>(count) * 1e9 /
                                static_cast<double>(line.step_ns));
  };
  std::string text = StrCat(line.phase, line.measured ? "" : " (not measured)", " ",
                            line.elapsed_ns / kNanosPerSecond, "s");
  if (line.duration_ns > 0) StrAppend(&text, " of ", line.duration_ns / kNanosPerSecond, "s");
  StrAppend(&text, "  ", per_second(line.step.ok), " op/s");
  if (line.step.latency.count() > 0) {
    StrAppend(&text, "  p50 ", FormatLatency(line.step.latency.QuantileNs(0.5)), "  p99 ",
              FormatLatency(line.step.latency.QuantileNs(0.99)));
  }
  if (line.step.events > 0) StrAppend(&text, "  ", per_second(line.step.events), " events/s");
  StrAppend(&text, "  ", line.step.errors, " errors");
  if (line.violations > 0) StrAppend(&text, "  ", line.violations, " WRONG ANSWERS");
  return text;
}

void ProgressDisplay::Show(const ProgressLine& line) {
  const std::string text = FormatProgress(line);
  // Back to the start of the line, and clear what the last text leaves over.
  std::fprintf(stderr, style_ == Style::kTerminal ? "\r%s\033[K" : "%s\n", text.c_str());
  std::fflush(stderr);
  line_open_ = style_ == Style::kTerminal;
}

void ProgressDisplay::Finish() {
  if (line_open_) std::fputs("\n", stderr);
  line_open_ = false;
}

}  // namespace quorate::workload
