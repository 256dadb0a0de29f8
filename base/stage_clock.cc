#include "base/stage_clock.h"

#include "base/check.h"

namespace quorate {

std::string_view StageName(Stage stage) {
  static constexpr std::string_view kNames[kStageCount] = {"received", "queued",  "proposed",
                                                           "durable",  "applied", "replied"};
  QR_CHECK(static_cast<size_t>(stage) < kStageCount);
  return kNames[static_cast<size_t>(stage)];
}

void StageHistograms::Record(const StageStamps& stamps) {
  const int64_t received_ns = stamps.at_ns[static_cast<size_t>(Stage::kReceived)];
  const int64_t replied_ns = stamps.at_ns[static_cast<size_t>(Stage::kReplied)];
  if (received_ns != 0 && replied_ns != 0) {
    histograms_[static_cast<size_t>(Stage::kReceived)].Add(replied_ns - received_ns);
  }
  int64_t previous_ns = received_ns;
  for (size_t i = 1; i < kStageCount; ++i) {
    const int64_t at_ns = stamps.at_ns[i];
    if (at_ns == 0) continue;
    if (previous_ns != 0) histograms_[i].Add(at_ns - previous_ns);
    previous_ns = at_ns;
  }
}

Histogram StageHistograms::Snapshot(Stage stage) const {
  QR_CHECK(static_cast<size_t>(stage) < kStageCount);
  return histograms_[static_cast<size_t>(stage)].Snapshot();
}

}  // namespace quorate
