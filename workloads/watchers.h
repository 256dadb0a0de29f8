// WatchRunner: one group of watches (or a thread's share of it). Opens them, checks every event
// (order, bounds, versions, values, previous pairs), measures the time from the intended put to the
// event's arrival, opens broken streams again where they stopped, and says at the end whether each
// watch delivered every change of its keys.
//
// All on the loop's thread; no loop of its own. Memory: about 56 bytes per idle watch, plus 4 per
// watched key while a group watches no more than kVersionsMax of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "transport/client.h"
#include "workloads/model.h"
#include "workloads/recorder.h"
#include "workloads/workload.h"

namespace quorate::workload {

// What only the whole history of a phase shows: that no change lies between a guarded one and the
// revision that its guard named. When nothing is outstanding.
void CheckGuards(const Model& model, CheckLog* checks);

// What watches must have delivered, by key: made from the History of a phase when nothing is
// outstanding.
class ExpectedEvents {
 public:
  explicit ExpectedEvents(const Model& model);

  struct Sum {
    uint64_t events = 0;
    uint64_t mixed = 0;  // sum of Mix64(revision)
    bool operator==(const Sum&) const = default;
  };
  Sum Of(size_t space, Interval interval) const;

 private:
  std::vector<std::vector<Sum>> running_;  // per space: sums over keys 0..n-1, for n = 0..count
};

struct WatchContext {
  const Clock* clock = nullptr;
  Model* model = nullptr;
  ProgressBoard* board = nullptr;
  std::vector<transport::Channel*> channels;
  int64_t interval_ns = kNanosPerSecond;
  KeepTimes keep_times = KeepTimes::kYes;
  // This thread's share.
  int64_t first_watch = 0;
  int64_t watches = 1;
  int64_t streams = 1;
};

struct WatchRecord {
  std::string name;
  int64_t watches = 0;
  int64_t streams = 0;
  uint64_t events = 0;
  uint64_t deletes = 0;
  uint64_t messages = 0;
  uint64_t progress_messages = 0;
  uint64_t bytes = 0;
  uint64_t reopened_streams = 0;
  uint64_t cancelled_watches = 0;  // by the server; no longer checked
  std::map<std::string, uint64_t> errors;
  Histogram latency;  // from the intended put to the event
  std::vector<SeriesStep> series;
  void Merge(const WatchRecord& other);
};

class WatchRunner {
 public:
  static constexpr int64_t kVersionsMax = 4'000'000;
  static constexpr int64_t kReopenAfterNs = 100 * kNanosPerMilli;
  static constexpr size_t kCreatesInFlight = 256;  // per stream

  WatchRunner(const WatcherSpec& spec, WatchContext context);
  ~WatchRunner();

  // Watches everything after `base`. `ready` once, when all watches exist or a stream failed.
  void Open(int64_t base, std::function<void(transport::RpcStatus)> ready);
  // Times of events count from here on.
  void Start(int64_t start_ns);
  // Opens broken streams again; answers when to be called next.
  int64_t Poll(int64_t now_ns);
  void Tick(int64_t now_ns);

  // How many watches have not delivered what is expected (yet).
  int64_t Incomplete(const ExpectedEvents& expected) const;
  // Reports those as violations, and counts the others as passed.
  void ReportCompleteness(const ExpectedEvents& expected);
  // Ends the streams.
  WatchRecord Close();

 private:
  struct Watch {
    Interval interval;
    int64_t last_revision = 0;
    int64_t progress_revision = 0;  // nothing at or below it comes any more
    ExpectedEvents::Sum sum;
    uint32_t versions_at = 0;  // its place in versions_
    bool created = false;
    bool cancelled = false;
  };
  class Stream;

  void StreamFailed(const transport::RpcStatus& status);
  void WatchCreated();
  void OnEvent(Watch* watch, const EventView& event, int64_t header_revision, int64_t now_ns);
  bool CheckVersion(Watch* watch, int64_t key, const EventView& event);
  void CheckPrevious(KeyRef key, const EventView& event);
  std::string Describe(const Watch& watch) const;

  const WatcherSpec spec_;
  const WatchContext context_;
  const KeySpace& keys_;
  std::vector<Watch> watches_;
  // Per watch and key: the version that the next event must have; 0 = not known. Empty when the
  // group watches too many keys.
  std::vector<uint32_t> versions_;
  std::vector<std::unique_ptr<Stream>> streams_;
  int64_t base_ = 0;
  int64_t to_create_ = 0;
  std::function<void(transport::RpcStatus)> ready_;
  Recorder recorder_;
  bool started_ = false;
  uint64_t board_events_ = 0;  // not yet shown
  WatchRecord record_;
};

}  // namespace quorate::workload
