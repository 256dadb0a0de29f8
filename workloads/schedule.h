// ScheduleRunner: a phase's compactions and defragmentations at their times, one at a time per
// item, each recorded with its place on the time line. On the loop's thread; no loop of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "transport/client.h"
#include "workloads/model.h"
#include "workloads/workload.h"

namespace quorate::workload {

struct ScheduleRecord {
  std::string kind;
  int64_t at_ns = 0;  // after the start of the phase
  int64_t took_ns = 0;
  int64_t revision = 0;  // compact: at which
  std::string error;     // empty = done
};

class ScheduleRunner {
 public:
  static constexpr int64_t kTimeoutNs = 300 * kNanosPerSecond;

  ScheduleRunner(std::vector<ScheduleSpec> items, transport::Channel* channel, const Clock* clock,
                 Model* model);

  void Start(int64_t start_ns, int64_t end_ns);
  int64_t Poll(int64_t now_ns);  // starts what is due; answers when to be called next
  void StopAt(int64_t now_ns) { end_ns_ = std::min(end_ns_, now_ns); }
  bool Finished(int64_t now_ns) const { return outstanding_ == 0 && now_ns >= end_ns_; }
  bool Idle() const { return outstanding_ == 0; }
  std::vector<ScheduleRecord> TakeRecords() { return std::move(records_); }

 private:
  struct Item {
    ScheduleSpec spec;
    int64_t next_ns = 0;
    bool running = false;
  };
  void Run(Item* item, int64_t now_ns);

  std::vector<Item> items_;
  transport::Channel* const channel_;
  const Clock* const clock_;
  Model* const model_;
  int64_t start_ns_ = 0;
  int64_t end_ns_ = INT64_MAX;
  bool started_ = false;
  int outstanding_ = 0;
  std::vector<ScheduleRecord> records_;
};

}  // namespace quorate::workload
