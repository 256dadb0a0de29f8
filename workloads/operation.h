// Operation: one row of a load's mix, ready to run: draws a key, builds the request, and judges
// the answer. Knows nothing of connections, pace or time. Lease operations are apart (leases.h).
// One thread per object; the Model and the sequential counter are shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/random.h"
#include "transport/rpc.h"
#include "workloads/distribution.h"
#include "workloads/model.h"
#include "workloads/wire.h"
#include "workloads/workload.h"

namespace quorate::workload {

// Who writes: the client's number is part of every value.
struct Writer {
  uint32_t id = 0;
  uint32_t sequence = 0;  // of its last write
};

// What an outstanding request remembers.
struct Pending {
  KeyRef key;
  Interval interval;
  Floor floor;
  int64_t guard = -1;
  int64_t present = 0;  // count: keys of the space known to be there
  uint64_t tag = 0;
  bool writes = false;
  bool deletes = false;
};

struct Verdict {
  enum class Kind {
    kOk,
    kConflict,  // the guard did not hold: an ordinary answer
    kWrong,     // not the right answer: the run is void, the time does not count
  } kind = Kind::kOk;
  uint64_t pairs = 0;
};

class Operation {
 public:
  Operation(const OperationSpec& spec, Model* model, std::atomic<uint64_t>* next_sequential);

  const OperationSpec& spec() const { return spec_; }
  std::string_view path() const { return path_; }

  // The next request. `lease` is for puts that attach to one (0 = none).
  Bytes Build(Random& random, int64_t intended_ns, int64_t lease, Writer* writer, Pending* pending);
  Verdict Judge(const Pending& pending, std::string_view answer);
  // The call failed: tells the model whether the write may still happen.
  void Failed(const Pending& pending, transport::RpcCode code);

 private:
  Bytes BuildPut(Random& random, int64_t intended_ns, int64_t lease, Writer* writer,
                 Pending* pending);
  Bytes BuildTxn(Random& random, int64_t intended_ns, Writer* writer, Pending* pending);
  size_t DrawValueSize(Random& random) const;
  ValueHeader HeaderFor(std::string_view key, int64_t intended_ns, Writer* writer,
                        Pending* pending) const;

  Verdict JudgePut(const Pending& pending, std::string_view answer);
  Verdict JudgeGet(const Pending& pending, std::string_view answer);
  Verdict JudgeList(const Pending& pending, std::string_view answer);
  Verdict JudgeCount(const Pending& pending, std::string_view answer);
  Verdict JudgeTxn(const Pending& pending, std::string_view answer);
  Verdict JudgeConflict(const Pending& pending, const TxnView& txn);
  Verdict JudgeDelete(const Pending& pending, std::string_view answer);
  Verdict Undecodable(const Pending& pending);
  Change ChangeOf(const Pending& pending, int64_t revision) const;

  const OperationSpec spec_;
  Model* const model_;
  const KeySpace& keys_;
  KeyChooser chooser_;
  std::string_view path_;
  // Scratch, so that building a request allocates its bytes only.
  std::string key_;
  std::string first_;
  std::string end_;
};

// Whether a write that failed with this code may have happened, or may still happen.
bool OutcomeUnknown(transport::RpcCode code);

}  // namespace quorate::workload
