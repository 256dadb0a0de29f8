// ClusterProxy: how proxies show themselves to clients. With --resolver-prefix each proxy registers
// under a lease where the others see it, and MemberList answers with all of them; without, with
// this one; with no address to advertise, with the members of the cluster.
// As etcd's: keys and values are those of clientv3/naming/endpoints.
// Loop thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/carried_call.h"
#include "proxy/kv_proxy.h"
#include "proxy/lease_proxy.h"
#include "proxy/upstream.h"

namespace quorate::proxy {

class ClusterProxy {
 public:
  struct Options {
    std::string advertised_url;   // empty: clients see the members themselves
    std::string resolver_prefix;  // empty: not registered
    int64_t resolver_ttl_seconds = 0;
  };
  // All outlive it and its calls.
  struct Parts {
    Upstream* upstream;
    KvProxy* kv;
    LeaseProxy* leases;
    const KeyNamespace* space;
  };

  ClusterProxy(Options options, const Parts& parts) : options_(std::move(options)), parts_(parts) {}
  ~ClusterProxy();

  void AddTo(transport::ServiceTable* table);
  // Registers where that is asked for, and again whenever it got lost.
  void Start();
  // Takes the registration back; `done` is called when that was tried.
  void Stop(std::function<void()> done);

 private:
  void MemberList(const CallPtr& call, const Bytes& body);
  void Register();
  void Write(int64_t lease);
  void Renew();
  void RegisterLater(std::string_view why);
  void Ask(const char* path, Bytes body, Upstream::Done done);

  const Options options_;
  const Parts parts_;
  int64_t lease_ = 0;
  transport::EventLoop::TimerId timer_ = 0;
};

// The value under which an endpoint is registered, as JSON, and what it says; nullopt for other
// text.
struct RegisteredEndpoint {
  std::string url;
  std::string name;
};
std::string EncodeEndpoint(const RegisteredEndpoint& endpoint);
std::optional<RegisteredEndpoint> DecodeEndpoint(std::string_view text);

}  // namespace quorate::proxy
