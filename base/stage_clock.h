// StageClock: the time at which a request reached each stage of the write path. One histogram per
// stage (time since the previous stamped one) answers where the microseconds go.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/histogram.h"

namespace quorate {

enum class Stage : uint8_t { kReceived, kQueued, kProposed, kDurable, kApplied, kReplied };
inline constexpr size_t kStageCount = 6;
std::string_view StageName(Stage stage);  // "received", "queued", ...

// Plain value that travels with the request. Monotonic ns; 0 = the stage was not passed.
struct StageStamps {
  std::array<int64_t, kStageCount> at_ns{};
  void Stamp(Stage stage, int64_t now_ns) { at_ns[static_cast<size_t>(stage)] = now_ns; }
};

// Sum of many stamps. Any thread may Record and Snapshot.
class StageHistograms {
 public:
  void Record(const StageStamps& stamps);
  // Time from the previous stamped stage to `stage`; for kReceived: the whole, received..replied.
  Histogram Snapshot(Stage stage) const;

 private:
  std::array<ConcurrentHistogram, kStageCount> histograms_;
};

}  // namespace quorate
