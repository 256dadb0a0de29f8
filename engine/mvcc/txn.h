// Transactions over the store (wire facts, semantics §3-4): decide, check everything, then change.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/lease/lessor.h"
#include "engine/mvcc/requests.h"
#include "engine/mvcc/store.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

// Evaluates one request against the state before it; an error says that nothing was changed.
// Answers are appended without the outer header. Single use: one object per request.
class TxnRunner {
 public:
  TxnRunner(MvccStore* store, const Lessor* lessor) : store_(store), lessor_(lessor) {}

  // Outcomes of all compares of the tree, on the state before the transaction.
  void Decide(const etcdserverpb::TxnRequest& request);
  // Tests every operation of the branches taken. Must follow Decide.
  Error Check(const etcdserverpb::TxnRequest& request);
  // Runs them. Must follow a Check without error; Begin of the store must have been called if
  // there are writes.
  void Run(const etcdserverpb::TxnRequest& request, std::string* out);

  // Single requests share the operations. `place` is where the put's key is or would be; nothing
  // may change between the check and the run.
  Error CheckPut(const PutArguments& put, const KeyIndex::Place& place) const;
  void RunPut(const PutArguments& put, KeyIndex::Place* place, std::string* out);
  void RunDelete(const etcdserverpb::DeleteRangeRequest& request, std::string* out);

 private:
  Error CheckOp(const etcdserverpb::RequestOp& op);
  Error CheckPutInTxn(const etcdserverpb::PutRequest& request) const;
  bool Holds(const etcdserverpb::Compare& compare) const;
  const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& Branch(
      const etcdserverpb::TxnRequest& request);
  void DecideTree(const etcdserverpb::TxnRequest& request);
  Error CheckTree(const etcdserverpb::TxnRequest& request);
  void RunTree(const etcdserverpb::TxnRequest& request, std::string* out);
  void RunOp(const etcdserverpb::RequestOp& op, std::string* out);

  MvccStore* const store_;
  const Lessor* const lessor_;
  std::vector<bool> outcomes_;  // of each transaction of the tree, in order of visiting
  size_t next_outcome_ = 0;
  std::vector<const etcdserverpb::DeleteRangeRequest*> deleted_;  // earlier in the same txn
};

}  // namespace quorate::engine
