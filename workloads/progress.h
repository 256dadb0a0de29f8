// The live display of a run, on standard error: one line that is rewritten on a terminal, plain
// lines every few seconds elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "workloads/driver.h"

namespace quorate::workload {

std::string FormatProgress(const ProgressLine& line);

class ProgressDisplay {
 public:
  enum class Style { kTerminal, kPlain };
  static constexpr int64_t kTerminalEveryNs = kNanosPerSecond / 2;
  static constexpr int64_t kPlainEveryNs = 2 * kNanosPerSecond;

  explicit ProgressDisplay(Style style) : style_(style) {}
  int64_t every_ns() const { return style_ == Style::kTerminal ? kTerminalEveryNs : kPlainEveryNs; }
  void Show(const ProgressLine& line);
  // Leaves the cursor on a line of its own.
  void Finish();

 private:
  const Style style_;
  bool line_open_ = false;
};

}  // namespace quorate::workload
