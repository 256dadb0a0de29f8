#include "tests/sim/kv_client.h"

#include <utility>

#include "base/text.h"

namespace quorate::sim {
namespace {

using etcdserverpb::InternalRaftRequest;
using Outcome = Operation::Outcome;

constexpr int kKeysPerGroup = 3;
constexpr int64_t kRetryAfterNs = 100 * kNanosPerMilli;

void ClearHeaders(etcdserverpb::ResponseOp* response) {
  if (response->has_response_range()) response->mutable_response_range()->clear_header();
  if (response->has_response_put()) response->mutable_response_put()->clear_header();
  if (response->has_response_delete_range()) {
    response->mutable_response_delete_range()->clear_header();
  }
  if (response->has_response_txn()) {
    response->mutable_response_txn()->clear_header();
    for (auto& step : *response->mutable_response_txn()->mutable_responses()) ClearHeaders(&step);
  }
}

template <class Response>
bool TakeAnswer(const std::string& body, Response* response, Operation* operation) {
  if (!response->ParseFromString(body)) return false;
  operation->revision = response->header().revision();
  return true;
}

bool ParseAnswer(const std::string& body, Operation* operation) {
  const InternalRaftRequest& request = operation->request;
  etcdserverpb::ResponseOp* response = &operation->response;
  bool good = false;
  if (request.has_range()) {
    good = TakeAnswer(body, response->mutable_response_range(), operation);
  } else if (request.has_put()) {
    good = TakeAnswer(body, response->mutable_response_put(), operation);
  } else if (request.has_delete_range()) {
    good = TakeAnswer(body, response->mutable_response_delete_range(), operation);
  } else if (request.has_txn()) {
    good = TakeAnswer(body, response->mutable_response_txn(), operation);
  } else if (request.has_lease_grant()) {
    etcdserverpb::LeaseGrantResponse grant;
    good = TakeAnswer(body, &grant, operation);
  } else if (request.has_lease_revoke()) {
    etcdserverpb::LeaseRevokeResponse revoke;
    good = TakeAnswer(body, &revoke, operation);
  } else if (request.has_compaction()) {
    etcdserverpb::CompactionResponse compaction;
    good = TakeAnswer(body, &compaction, operation);
  }
  ClearHeaders(response);
  return good;
}

void Conclude(Kernel* kernel, const CallResult& result, Operation* operation) {
  operation->returned = kernel->NextStep();
  operation->returned_ns = kernel->now_ns();
  if (result.kind == CallResult::Kind::kNotSent) {
    operation->outcome = Outcome::kRefused;
    operation->error_code = static_cast<int>(transport::RpcCode::kUnavailable);
  } else if (result.kind == CallResult::Kind::kLost) {
    operation->returned = kNever;
  } else if (result.status.ok()) {
    operation->outcome = Outcome::kDone;
    if (!ParseAnswer(result.body, operation)) operation->revision = -1;
  } else {
    operation->error_code = static_cast<int>(result.status.code);
    if (SaysNothingHappened(result.status.code)) operation->outcome = Outcome::kRefused;
  }
  // Whatever may happen yet has no end.
  if (operation->outcome == Outcome::kUnknown) operation->returned = kNever;
}

struct Wire {
  std::string_view path;
  std::string bytes;
};

Wire WireOf(const InternalRaftRequest& request) {
  if (request.has_range()) return {"/etcdserverpb.KV/Range", request.range().SerializeAsString()};
  if (request.has_put()) return {"/etcdserverpb.KV/Put", request.put().SerializeAsString()};
  if (request.has_delete_range()) {
    return {"/etcdserverpb.KV/DeleteRange", request.delete_range().SerializeAsString()};
  }
  if (request.has_txn()) return {"/etcdserverpb.KV/Txn", request.txn().SerializeAsString()};
  if (request.has_compaction()) {
    return {"/etcdserverpb.KV/Compact", request.compaction().SerializeAsString()};
  }
  if (request.has_lease_grant()) {
    return {"/etcdserverpb.Lease/LeaseGrant", request.lease_grant().SerializeAsString()};
  }
  return {"/etcdserverpb.Lease/LeaseRevoke", request.lease_revoke().SerializeAsString()};
}

}  // namespace

bool SaysNothingHappened(transport::RpcCode code) {
  return code == transport::RpcCode::kInvalidArgument || code == transport::RpcCode::kNotFound ||
         code == transport::RpcCode::kFailedPrecondition || code == transport::RpcCode::kOutOfRange;
}

void RunOperation(ClientWorld* world, Place client, Member* member, InternalRaftRequest request,
                  Operation::Read read, std::function<void(size_t place)> done) {
  Wire wire = WireOf(request);
  Operation operation;
  operation.id = ++world->next_operation;
  operation.client = static_cast<int>(client);
  operation.invoked = world->kernel->NextStep();
  operation.invoked_ns = world->kernel->now_ns();
  operation.read = read;
  operation.request = std::move(request);
  const size_t place = world->history->operations.size();
  world->history->operations.push_back(std::move(operation));
  world->caller->Call(client, member, wire.path, std::move(wire.bytes), world->timeout_ns,
                      [world, place, done = std::move(done)](const CallResult& result) {
                        Operation* concluded = &world->history->operations[place];
                        Conclude(world->kernel, result, concluded);
                        world->kernel->Note("answer", concluded->id,
                                            static_cast<uint64_t>(concluded->revision) << 8 |
                                                static_cast<uint64_t>(concluded->error_code));
                        done(place);
                      });
}

void KvClient::ThinkAndGo(int64_t at_least_ns) {
  const int64_t delay_ns = at_least_ns + world_->kernel->Draw(0, world_->think_ns_max);
  world_->kernel->After(delay_ns, [this] {
    if (!world_->stopping) Go();
  });
}

void KvClient::Go() {
  Kernel& kernel = *world_->kernel;
  if (member_ == nullptr || kernel.random().OneIn(habit_ == Habit::kReads ? 2 : 20)) {
    member_ = world_->members[kernel.random().Below(world_->members.size())];
  }
  number_ = world_->next_operation + 1;
  Request request = DrawRequest();
  Operation::Read read = Operation::Read::kLinearizable;
  if (request.has_range() && kernel.random().OneIn(6)) {
    request.mutable_range()->set_serializable(true);
    read = Operation::Read::kSerializable;
  }
  RunOperation(world_, place_, member_, std::move(request), read, [this](size_t place) {
    const Operation& operation = world_->history->operations[place];
    if (operation.outcome == Outcome::kDone) {
      Learn(operation);
    } else {
      member_ = nullptr;  // perhaps another one answers
    }
    ThinkAndGo(operation.error_code == 0 ? 0 : kRetryAfterNs);
  });
}

std::string KvClient::DrawGroup() {
  return StrCat("g", world_->kernel->random().Below(world_->key_groups), "/");
}

std::string KvClient::DrawKey(const std::string& group) {
  return StrCat(group, "k", world_->kernel->random().Below(kKeysPerGroup));
}

// No two operations write the same: that is how they are told apart.
std::string KvClient::NewValue() { return StrCat("v", number_); }

void KvClient::FillPut(etcdserverpb::PutRequest* put) {
  put->set_key(DrawKey(DrawGroup()));
  put->set_value(NewValue());
  if (world_->kernel->random().OneIn(12)) {
    put->mutable_value()->append(world_->kernel->random().Below(3'000), '.');
  }
  put->set_prev_kv(world_->kernel->random().OneIn(3));
}

void KvClient::FillRange(etcdserverpb::RangeRequest* range) {
  Random& random = world_->kernel->random();
  const std::string group = DrawGroup();
  if (random.OneIn(4)) {
    range->set_key(group);
    range->set_range_end(group + "~");
    if (random.OneIn(4)) range->set_limit(2);
    if (random.OneIn(4)) range->set_count_only(true);
  } else {
    range->set_key(DrawKey(group));
  }
  if (random.OneIn(10) && revision_seen_ > 2) {
    range->set_revision(random.Between(std::max<int64_t>(1, revision_seen_ - 30), revision_seen_));
  }
}

void KvClient::FillDelete(etcdserverpb::DeleteRangeRequest* request) {
  // The end of the range says nothing but who asked.
  const std::string group = DrawGroup();
  if (world_->kernel->random().OneIn(4)) {
    request->set_key(group);
    request->set_range_end(StrCat(group, "~", number_));
  } else {
    request->set_key(DrawKey(group));
    request->set_range_end(StrCat(request->key(), std::string(1, '\0'), number_));
  }
  request->set_prev_kv(world_->kernel->random().OneIn(3));
}

// If the key still is as it was last seen, it becomes another; else it is read.
void KvClient::FillSwap(etcdserverpb::TxnRequest* txn) {
  const std::string key = DrawKey(DrawGroup());
  etcdserverpb::Compare* compare = txn->add_compare();
  compare->set_key(key);
  const auto seen = seen_.find(key);
  if (seen == seen_.end()) {
    compare->set_target(etcdserverpb::Compare::CREATE);
    compare->set_create_revision(0);
  } else {
    compare->set_target(etcdserverpb::Compare::VALUE);
    compare->set_value(seen->second);
  }
  etcdserverpb::PutRequest* put = txn->add_success()->mutable_request_put();
  put->set_key(key);
  put->set_value(NewValue());
  txn->add_failure()->mutable_request_range()->set_key(key);
}

void KvClient::FillTxn(etcdserverpb::TxnRequest* txn) {
  Random& random = world_->kernel->random();
  const uint64_t kind = random.Below(10);
  if (kind < 6) return FillSwap(txn);
  const std::string group = DrawGroup();
  if (kind < 7) {  // a read of several
    for (int i = 0; i < kKeysPerGroup; ++i) {
      txn->add_success()->mutable_request_range()->set_key(StrCat(group, "k", i));
    }
    return;
  }
  // Two keys at once, in half of the cases within a transaction of their own.
  etcdserverpb::TxnRequest* inner = txn;
  if (kind == 9) inner = txn->add_success()->mutable_request_txn();
  for (int i = 0; i < 2; ++i) {
    etcdserverpb::PutRequest* put = inner->add_success()->mutable_request_put();
    put->set_key(StrCat(group, "k", i));
    put->set_value(StrCat(NewValue(), "/", i));
  }
  if (kind == 8) {
    inner->add_success()->mutable_request_delete_range()->set_key(StrCat(group, "k2"));
  }
}

KvClient::Request KvClient::DrawRequest() {
  Random& random = world_->kernel->random();
  Request request;
  const uint64_t kind = random.Below(100);
  if (habit_ == Habit::kReads) {
    FillRange(request.mutable_range());
  } else if (kind < 38) {
    FillPut(request.mutable_put());
  } else if (kind < 68) {
    FillRange(request.mutable_range());
  } else if (kind < 76) {
    FillDelete(request.mutable_delete_range());
  } else if (kind < 98 || revision_seen_ < 10) {
    FillTxn(request.mutable_txn());
  } else {
    request.mutable_compaction()->set_revision(
        random.Between(revision_seen_ - 9, revision_seen_ + 1));
    request.mutable_compaction()->set_physical(random.OneIn(4));
  }
  return request;
}

void KvClient::Learn(const Operation& operation) {
  revision_seen_ = std::max(revision_seen_, operation.revision);
  if (!operation.request.has_range() || operation.request.range().revision() != 0) return;
  const etcdserverpb::RangeResponse& response = operation.response.response_range();
  if (response.kvs_size() == 0) seen_.erase(operation.request.range().key());
  for (const mvccpb::KeyValue& kv : response.kvs()) seen_[kv.key()] = kv.value();
}

}  // namespace quorate::sim
