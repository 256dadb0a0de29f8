// KvClient: asks for keys, one operation after the other, at whichever member, and writes down what
// it saw.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/caller.h"
#include "tests/sim/check/history.h"
#include "tests/sim/kernel.h"

namespace quorate::sim {

// Shared by all clients of a run.
struct ClientWorld {
  Kernel* kernel = nullptr;
  Caller* caller = nullptr;
  std::vector<Member*> members;
  History* history = nullptr;
  uint32_t key_groups = 1;
  int64_t think_ns_max = 0;
  int64_t timeout_ns = 4'000'000'000;
  uint64_t next_operation = 0;
  bool stopping = false;  // no new operations
};

// Codes that say that nothing happened: bad or unfitting requests. All others may come after it
// did.
bool SaysNothingHappened(transport::RpcCode code);

// Sends `request` to `member` and keeps the operation in the history. `done` gets its place there.
void RunOperation(ClientWorld* world, Place client, Member* member,
                  etcdserverpb::InternalRaftRequest request, Operation::Read read,
                  std::function<void(size_t place)> done);

class KvClient {
 public:
  // A client that only reads goes from member to member: it sees who is behind.
  enum class Habit { kMixed, kReads };
  KvClient(ClientWorld* world, Place place, Habit habit)
      : world_(world), place_(place), habit_(habit) {}
  void Start() { ThinkAndGo(); }

 private:
  using Request = etcdserverpb::InternalRaftRequest;

  void ThinkAndGo(int64_t at_least_ns = 0);
  void Go();
  Request DrawRequest();
  void FillPut(etcdserverpb::PutRequest* put);
  void FillRange(etcdserverpb::RangeRequest* range);
  void FillDelete(etcdserverpb::DeleteRangeRequest* request);
  void FillTxn(etcdserverpb::TxnRequest* txn);
  void FillSwap(etcdserverpb::TxnRequest* txn);
  void Learn(const Operation& operation);
  std::string DrawGroup();
  std::string DrawKey(const std::string& group);
  std::string NewValue();

  ClientWorld* const world_;
  const Place place_;
  const Habit habit_;
  Member* member_ = nullptr;
  uint64_t number_ = 0;                      // of the operation that is being made
  std::map<std::string, std::string> seen_;  // values as last read
  int64_t revision_seen_ = 0;
};

}  // namespace quorate::sim
