// v3electionpb.Election: elections made of keys, whose values are what leaders announce.

#include "base/check.h"
#include "proto/v3electionpb.pb.h"
#include "server/services/waiting_call.h"

namespace quorate::server {
namespace {

using etcdserverpb::RangeResponse;
using etcdserverpb::TxnResponse;
using etcdserverpb::WatchResponse;
using transport::RpcCode;
using transport::RpcStatus;
using v3electionpb::LeaderKey;

constexpr char kNotLeader[] = "election: not leader";
constexpr char kNoLeaderYet[] = "election: no leader";
constexpr char kLeaderMissing[] = "\"leader\" field must be provided";

// What the calls of a candidate or leader share.
class CandidateCall : public WaitingCall {
 public:
  using WaitingCall::WaitingCall;

 protected:
  // Puts `value` if the key is still the one that was created then.
  void PutAsLeader(const LeaderKey& leader, const std::string& value, Then<TxnResponse> then) {
    etcdserverpb::TxnRequest txn;
    CompareCreated(leader.key(), leader.rev(), txn.add_compare());
    etcdserverpb::PutRequest* put = txn.add_success()->mutable_request_put();
    put->set_key(leader.key());
    put->set_value(value);
    put->set_lease(leader.lease());
    Transact(txn, [then = std::move(then)](const RpcStatus& status, const TxnResponse& answer) {
      if (status.ok() && !answer.succeeded()) {
        return then({RpcCode::kUnknown, kNotLeader}, answer);
      }
      then(status, answer);
    });
  }

  void DeleteAsLeader(const LeaderKey& leader, Then<TxnResponse> then) {
    etcdserverpb::TxnRequest txn;
    CompareCreated(leader.key(), leader.rev(), txn.add_compare());
    txn.add_success()->mutable_request_delete_range()->set_key(leader.key());
    Transact(txn, std::move(then));
  }
};

class CampaignCall final : public CandidateCall {
 public:
  using CandidateCall::CandidateCall;

  void Begin(const Bytes& request) override {
    if (!ParseOrFail(*caller(), request, &request_)) return;
    WithLease(request_.lease(), [this](int64_t lease) { Stand(lease); });
  }

 private:
  void Stand(int64_t lease) {
    LeaderKey* leader = answer_.mutable_leader();
    leader->set_name(request_.name());
    leader->set_key(SessionKey(request_.name(), lease));
    leader->set_lease(lease);
    etcdserverpb::TxnRequest txn;
    CompareCreated(leader->key(), 0, txn.add_compare());
    etcdserverpb::PutRequest* put = txn.add_success()->mutable_request_put();
    put->set_key(leader->key());
    put->set_value(request_.value());
    put->set_lease(lease);
    txn.add_failure()->mutable_request_range()->set_key(leader->key());
    Transact(txn, [this](const RpcStatus& status, const TxnResponse& answer) {
      if (!status.ok()) return FailWith(status);
      OnStanding(answer);
    });
  }

  void OnStanding(const TxnResponse& answer) {
    *answer_.mutable_header() = answer.header();
    LeaderKey* leader = answer_.mutable_leader();
    if (answer.succeeded()) {
      leader->set_rev(answer.header().revision());
      return caller_gone() ? GiveUp({RpcCode::kCanceled, "context canceled"}) : Wait();
    }
    // It stands already, perhaps for another value.
    QR_CHECK(!answer.responses(0).response_range().kvs().empty());
    const mvccpb::KeyValue& standing = answer.responses(0).response_range().kvs(0);
    leader->set_rev(standing.create_revision());
    if (standing.value() == request_.value()) return Wait();
    PutAsLeader(*leader, request_.value(), [this](const RpcStatus& status, const TxnResponse&) {
      if (!status.ok()) return GiveUp(status);
      Wait();
    });
  }

  void Wait() {
    WaitForOlder(KeyPrefix(request_.name()), answer_.leader().rev() - 1,
                 [this](const RpcStatus& status) {
                   if (status.ok()) return Reply(answer_);
                   // Nobody withdraws a candidate that may ask again, as in etcd.
                   if (!caller_gone()) return FailWith(status);
                   GiveUp(status);
                 });
  }

  void GiveUp(const RpcStatus& status) {
    DeleteAsLeader(answer_.leader(),
                   [this, status](const RpcStatus&, const TxnResponse&) { FailWith(status); });
  }

  v3electionpb::CampaignRequest request_;
  v3electionpb::CampaignResponse answer_;
};

class ProclaimCall final : public CandidateCall {
 public:
  using CandidateCall::CandidateCall;

  void Begin(const Bytes& bytes) override {
    if (!ParseOrFail(*caller(), bytes, &request_)) return;
    if (!request_.has_leader()) return FailWith({RpcCode::kUnknown, kLeaderMissing});
    WithLease(request_.leader().lease(), [this](int64_t lease) {
      request_.mutable_leader()->set_lease(lease);
      PutAsLeader(request_.leader(), request_.value(),
                  [this](const RpcStatus& status, const TxnResponse& answer) {
                    if (!status.ok()) return FailWith(status);
                    v3electionpb::ProclaimResponse response;
                    *response.mutable_header() = answer.header();
                    Reply(response);
                  });
    });
  }

 private:
  v3electionpb::ProclaimRequest request_;
};

class ResignCall final : public CandidateCall {
 public:
  using CandidateCall::CandidateCall;

  void Begin(const Bytes& bytes) override {
    v3electionpb::ResignRequest request;
    if (!ParseOrFail(*caller(), bytes, &request)) return;
    if (!request.has_leader()) return FailWith({RpcCode::kUnknown, kLeaderMissing});
    DeleteAsLeader(request.leader(), [this](const RpcStatus& status, const TxnResponse& answer) {
      if (!status.ok()) return FailWith(status);
      v3electionpb::ResignResponse response;
      *response.mutable_header() = answer.header();
      Reply(response);
    });
  }
};

class LeaderCall final : public WaitingCall {
 public:
  using WaitingCall::WaitingCall;

  void Begin(const Bytes& bytes) override {
    v3electionpb::LeaderRequest request;
    if (!ParseOrFail(*caller(), bytes, &request)) return;
    Read(FirstCreated(KeyPrefix(request.name())),
         [this](const RpcStatus& status, const RangeResponse& found) {
           if (!status.ok()) return FailWith(status);
           if (found.kvs().empty()) return FailWith({RpcCode::kUnknown, kNoLeaderYet});
           v3electionpb::LeaderResponse response;
           *response.mutable_header() = found.header();
           *response.mutable_kv() = found.kvs(0);
           Reply(response);
         });
  }
};

// Says who leads and what is announced, from now on. Whatever disturbs it ends it without an
// error, as in etcd.
class ObserveCall final : public WaitingCall {
 public:
  using WaitingCall::WaitingCall;

  void Begin(const Bytes& bytes) override {
    v3electionpb::LeaderRequest request;
    if (!ParseOrFail(*caller(), bytes, &request, RequestOf::kStream)) return;
    prefix_ = KeyPrefix(request.name());
    Look();
  }

 private:
  void Look() {
    Read(FirstCreated(prefix_), [this](const RpcStatus& status, const RangeResponse& found) {
      if (caller_gone()) return;
      if (!status.ok()) return caller()->Finish({});
      if (!found.kvs().empty()) return Follow(found.header(), found.kvs(0));
      AwaitFirst(found.header().revision());
    });
  }

  void AwaitFirst(int64_t revision) {
    Watch(prefix_, PrefixEnd(prefix_), revision,
          [this](const RpcStatus& status, const WatchResponse& seen) {
            if (!status.ok()) return Stop();
            for (const mvccpb::Event& event : seen.events()) {
              if (event.type() != mvccpb::Event::PUT) continue;
              etcdserverpb::ResponseHeader header = seen.header();
              header.set_revision(event.kv().mod_revision());
              return Follow(header, event.kv());
            }
          });
  }

  void Follow(const etcdserverpb::ResponseHeader& header, const mvccpb::KeyValue& leader) {
    Tell(header, leader);
    Watch(leader.key(), "", header.revision() + 1,
          [this](const RpcStatus& status, const WatchResponse& seen) {
            if (!status.ok()) return Stop();
            for (const mvccpb::Event& event : seen.events()) {
              if (event.type() == mvccpb::Event::DELETE) {
                EndWatch();
                return Look();
              }
              Tell(seen.header(), event.kv());
            }
          });
  }

  void Tell(const etcdserverpb::ResponseHeader& header, const mvccpb::KeyValue& leader) {
    v3electionpb::LeaderResponse response;
    *response.mutable_header() = header;
    *response.mutable_kv() = leader;
    Send(response);
  }

  void Stop() {
    EndWatch();
    caller()->Finish({});
  }

  std::string prefix_;
};

}  // namespace

void AddElectionService(ServiceContext* context, transport::ServiceTable* table) {
  using Kind = transport::Method::Kind;
  const LocalServer server{context, table};
  const std::string service = "/v3electionpb.Election/";
  AddWaitingMethod(server, service + "Campaign", Kind::kUnary, Make<CampaignCall>(), table);
  AddWaitingMethod(server, service + "Observe", Kind::kServerStream, Make<ObserveCall>(), table);
  AddShortMethod(server, service + "Proclaim", Make<ProclaimCall>(), table);
  AddShortMethod(server, service + "Leader", Make<LeaderCall>(), table);
  AddShortMethod(server, service + "Resign", Make<ResignCall>(), table);
}

}  // namespace quorate::server
