// WaitingCall: a call of Lock or Election as a state machine on the replica's thread. It is made of
// the node's own transactions, reads and watches (local_call.h), so no thread waits while it does,
// and it leaves the same keys behind as etcd's, whose clients and tools share them: a caller's key
// is `<name>/<lease in hexadecimal>`, bound to the lease; the oldest key under `<name>/` has the
// lock or leads.
// Replica thread, but for the constructor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"
#include "server/services/local_call.h"

namespace quorate::server {

class WaitingCall : public std::enable_shared_from_this<WaitingCall> {
 public:
  WaitingCall(LocalServer server, CallPtr caller) : server_(server), caller_(std::move(caller)) {}
  virtual ~WaitingCall() = default;

  virtual void Begin(const Bytes& request) = 0;
  void OnWritable();
  // Nobody waits for the answer any more, or it has been given.
  void OnCallerGone();

 protected:
  // Called with the outcome of an inner call; the answer is empty unless the status is OK.
  template <class Answer>
  using Then = std::function<void(const transport::RpcStatus&, const Answer&)>;

  void Transact(const etcdserverpb::TxnRequest& request, Then<etcdserverpb::TxnResponse> then);
  void Read(const etcdserverpb::RangeRequest& request, Then<etcdserverpb::RangeResponse> then);
  void Delete(const std::string& key, Then<etcdserverpb::DeleteRangeResponse> then);
  // 0 becomes a lease of 60 s that nobody renews, as etcd's sessions without a lease do.
  void WithLease(int64_t lease, std::function<void(int64_t)> then);
  // Events of keys in [key, range_end) (empty: of the one key) from `revision` on, until EndWatch
  // or another Watch. `then` hears of answers, and by a status of the end.
  void Watch(const std::string& key, const std::string& range_end, int64_t revision,
             Then<etcdserverpb::WatchResponse> then);
  void EndWatch() { watch_.reset(); }
  // Until no key under `prefix` is left that was created at `revision_max` or before.
  // Ends early, with kCanceled, when the caller goes.
  using OnOutcome = std::function<void(const transport::RpcStatus&)>;
  void WaitForOlder(std::string prefix, int64_t revision_max, OnOutcome then);

  // Answers; nothing said to the caller afterwards has an effect.
  void Reply(const google::protobuf::MessageLite& answer);
  void Send(const google::protobuf::MessageLite& answer);
  // `status` as it leaves etcd's services, which wrap inner errors: kUnknown with the same text.
  void FailWith(const transport::RpcStatus& status);

  const CallPtr& caller() const { return caller_; }
  bool caller_gone() const { return caller_gone_; }

 private:
  template <class Answer>
  void Ask(std::string_view path, const google::protobuf::MessageLite& request, Then<Answer> then);
  void StopWaiting(const transport::RpcStatus& status);

  const LocalServer server_;
  const CallPtr caller_;
  bool caller_gone_ = false;
  std::unique_ptr<LocalStream> watch_;
  OnOutcome waiting_;  // of WaitForOlder, while it watches
};

// "<name>/"
std::string KeyPrefix(std::string_view name);
// "<name>/<lease>"
std::string SessionKey(std::string_view name, int64_t lease);
// The oldest (by creation) of all keys with this prefix.
etcdserverpb::RangeRequest FirstCreated(const std::string& prefix);
// The end of the range of all keys with this prefix, which ends with '/'.
std::string PrefixEnd(std::string prefix);
// "the key's revision of creation is `revision`" (0: there is no such key).
void CompareCreated(const std::string& key, int64_t revision, etcdserverpb::Compare* compare);

using WaitingCallFactory = std::function<std::shared_ptr<WaitingCall>(LocalServer, CallPtr caller)>;
// Adds a method whose calls are made by `make`, or are of the class `Call`. A stopping server ends
// calls of a waiting method at once; those of a short one, which waits for nobody, may finish.
void AddShortMethod(LocalServer server, std::string path, WaitingCallFactory make,
                    transport::ServiceTable* table);
void AddWaitingMethod(LocalServer server, std::string path, transport::Method::Kind kind,
                      WaitingCallFactory make, transport::ServiceTable* table);
template <class Call>
WaitingCallFactory Make() {
  return [](LocalServer server, CallPtr caller) {
    return std::make_shared<Call>(server, std::move(caller));
  };
}

}  // namespace quorate::server
