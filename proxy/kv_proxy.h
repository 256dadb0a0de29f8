// KvProxy: the KV service of the proxy. Reads that may be old are answered from memory
// (range_cache.h), where nobody has to be asked who may see them: answers to callers with a token
// are not kept.
// Loop thread only.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/carried_call.h"
#include "proxy/key_namespace.h"
#include "proxy/proxy_counters.h"
#include "proxy/range_cache.h"
#include "proxy/upstream.h"

namespace quorate::proxy {

class KvProxy {
 public:
  // kRisingRevisions: no read shows an older revision than one before, whichever member answers (of
  // those that members answer at all).
  enum class Order : uint8_t { kNone, kRisingRevisions };
  // All outlive it and its calls.
  struct Parts {
    Upstream* upstream;
    const KeyNamespace* space;
    ProxyCounters* counters;
    Order order = Order::kNone;
  };

  explicit KvProxy(const Parts& parts) : parts_(parts) {}

  void AddTo(transport::ServiceTable* table);

  // A read on behalf of `call`, in its namespace, past the cache.
  using Read = std::function<void(const transport::RpcStatus&, const etcdserverpb::RangeResponse&)>;
  void ReadFor(const CallPtr& call, etcdserverpb::RangeRequest request, Read done);

  // Keys or permissions may have changed in ways that are not looked at.
  void ForgetAll();
  // Of the newest write that was answered through here.
  int64_t written_revision() const { return cache_.written_revision(); }

 private:
  using Again = UpstreamRequest::Again;
  using Answered = std::function<void(Bytes answer)>;
  // Key and range_end of what a request writes, or shows to be old.
  using Writes = std::vector<std::pair<std::string, std::string>>;

  void Range(const CallPtr& call, const Bytes& body);
  void Put(const CallPtr& call, const Bytes& body);
  void DeleteRange(const CallPtr& call, const Bytes& body);
  void Txn(const CallPtr& call, const Bytes& body);
  void Compact(const CallPtr& call, const Bytes& body);

  // Fails `call` with what a member answers, or goes on with its answer.
  void Ask(const CallPtr& call, const char* method, Bytes body, Again again, Answered then);
  // A read; one that is older than what has been shown is asked for again.
  void AskInOrder(const CallPtr& call, Bytes body, int64_t give_up_ns, Answered then);
  // Asks, forgets what is touched before and after, and answers with `Response` freed of the
  // namespace. kAlways: nothing is written.
  template <class Response>
  void Write(const CallPtr& call, const char* method, Bytes body, Writes touched, Again again);
  bool AnswerFromCache(const CallPtr& call, const etcdserverpb::RangeRequest& request);
  void Forget(const Writes& touched);
  void CountKeys() { parts_.counters->cache_keys = cache_.size(); }
  bool RefuseEmptyKey(transport::ServerCall& call, const std::string& key) const;

  const Parts parts_;
  RangeCache cache_;
  int64_t shown_revision_ = 0;  // with kRisingRevisions
};

}  // namespace quorate::proxy
