// LoadRunner: one load (or a thread's share of it) against its channels. Decides when the next
// operation is due, sends it from a free client, verifies the answer and records its time.
//
// Open loop: operation i is due at start + i / rate, whatever happens before. It leaves at once if
// a client is free, else when one becomes free; latency counts from when it was due either way.
// Arrivals that found no client before the end are counted as unsent, never forgotten.
// Closed loop: each client's next operation is due when its last answer came (after a pause when
// that was an error).
//
// Does not own a loop or a thread: Poll is called at the time it asked for, answers arrive through
// the channels' callbacks on the same thread. So tests drive it by hand.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "transport/client.h"
#include "workloads/leases.h"
#include "workloads/model.h"
#include "workloads/operation.h"
#include "workloads/recorder.h"
#include "workloads/workload.h"

namespace quorate::workload {

// What the threads that share a load have in common.
struct SharedLoad {
  explicit SharedLoad(const LoadSpec& spec) : next_key(spec.operations.size()) {}
  std::atomic<int64_t> issued{0};
  std::vector<std::atomic<uint64_t>> next_key;  // per operation: of its sequential row
};

struct LoadContext {
  const Clock* clock = nullptr;
  Model* model = nullptr;
  ProgressBoard* board = nullptr;
  SharedLoad* shared = nullptr;
  std::vector<transport::Channel*> channels;  // at least one
  uint64_t seed = 0;
  int64_t interval_ns = kNanosPerSecond;
  KeepTimes keep_times = KeepTimes::kYes;
  // Called when an answer changed what Poll would answer, or finished the load. May be empty.
  std::function<void()> rearm;
  // This thread's share.
  int64_t clients = 1;
  uint32_t first_writer = 1;  // number of its first client in the run
  int64_t share = 0;          // which of `shares` equal shares
  int64_t shares = 1;
};

struct LoadRecord {
  std::string name;
  int64_t issued = 0;
  int64_t unsent = 0;             // open loop: due before the end and never sent
  int64_t oldest_unsent_ns = 0;   // how long the first of them was due at the end
  int64_t waited_for_client = 0;  // open loop: due while all clients were busy
  Histogram send_delay;           // open loop: from due to sent
  std::vector<OperationRecord> operations;
  void Merge(const LoadRecord& other);  // of another thread
};

class LoadRunner {
 public:
  static constexpr int64_t kPauseAfterErrorNs = 50 * kNanosPerMilli;

  LoadRunner(const LoadSpec& spec, LoadContext context);
  ~LoadRunner();
  LoadRunner(const LoadRunner&) = delete;
  LoadRunner& operator=(const LoadRunner&) = delete;

  // Grants the leases that the load needs. `ready` once.
  void Prepare(std::function<void(transport::RpcStatus)> ready);
  // Operations are due from `start_ns` on, before `end_ns` (INT64_MAX: until the count is done).
  void Start(int64_t start_ns, int64_t end_ns);
  // Sends what is due; answers when to be called next (INT64_MAX: an answer will do it).
  int64_t Poll(int64_t now_ns);
  // No more operations from now on; outstanding ones are waited for.
  void StopAt(int64_t now_ns) { end_ns_ = std::min(end_ns_, now_ns); }
  // Nothing more to send and nothing outstanding.
  bool Finished(int64_t now_ns) const;
  // Once per step of the series or more often.
  void Tick(int64_t now_ns);
  // After Finished.
  LoadRecord TakeRecord();

 private:
  struct Client {
    LoadRunner* runner = nullptr;
    size_t channel = 0;
    Writer writer;
    size_t operation = 0;
    Pending pending;
    int64_t intended_ns = 0;
    int64_t sent_ns = 0;
  };
  struct Resting {
    int64_t until_ns;
    Client* client;
  };
  struct Row {
    OperationSpec spec;
    std::unique_ptr<Operation> operation;  // null for lease operations
    std::unique_ptr<Recorder> recorder;
    double weight_end = 0;  // running sum of the weights
  };

  bool NextDue(int64_t now_ns, int64_t* intended_ns);
  bool TakeOneOfCount();
  void AdvanceArrival();
  int64_t FirstGap();
  void Pump(int64_t now_ns);
  size_t DrawOperation();
  void Send(Client* client, int64_t intended_ns, int64_t now_ns);
  void SendLease(Client* client, OpType type);
  void Answered(Client* client, const transport::RpcStatus& status, const Bytes& answer);
  void Complete(Client* client, const transport::RpcStatus& status, Verdict verdict,
                int64_t now_ns);
  void CountUnsent(LoadRecord* record);

  const LoadSpec spec_;
  const LoadContext context_;
  Random random_;
  std::vector<Row> rows_;
  std::vector<Client> clients_;
  std::deque<Client*> free_;
  std::deque<Resting> resting_;  // in order of time
  LeaseKeeper leases_;
  bool needs_leases_ = false;

  bool started_ = false;
  bool pumping_ = false;
  bool starved_ = false;  // the last look found no free client
  bool count_done_ = false;
  int64_t start_ns_ = 0;
  int64_t end_ns_ = 0;
  int64_t outstanding_ = 0;
  double gap_ns_ = 0;        // open loop: between this share's arrivals
  int64_t arrivals_ = 0;     // open loop: drawn so far
  double arrival_ns_ = 0;    // open loop, Poisson: of the next arrival, after start
  int64_t next_due_ns_ = 0;  // open loop
  LoadRecord record_;
};

}  // namespace quorate::workload
