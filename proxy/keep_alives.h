// KeepAlives: leases kept alive at the cluster on behalf of many. Whoever asks while the cluster is
// being asked about the same lease, or shortly after it has answered, shares that answer.
// Loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "proto/etcdserverpb.pb.h"
#include "proxy/lasting_stream.h"

namespace quorate::proxy {

class KeepAlives {
 public:
  using Answer = std::function<void(const etcdserverpb::LeaseKeepAliveResponse&)>;
  using Refused = std::function<void(const transport::RpcStatus&)>;

  KeepAlives(Upstream* upstream, transport::MetadataList metadata);

  // One of the two is called, perhaps at once; neither after `who` has left. While no member can be
  // reached the wait goes on.
  void Renew(int64_t lease, const void* who, Answer answer, Refused refused);
  void Leave(const void* who);
  // Nobody waits.
  bool idle() const { return waiting_ == 0; }

 private:
  struct Waiter {
    const void* who;
    Answer answer;
    Refused refused;
  };
  struct Lease {
    std::vector<Waiter> waiters;
    etcdserverpb::LeaseKeepAliveResponse last;
    int64_t answered_ns = 0;
  };

  void Opened();
  void Ask(int64_t lease);
  void OnMessage(const Bytes& message);
  void OnRefused(const transport::RpcStatus& status);
  void DropOld();

  transport::EventLoop* const loop_;
  std::map<int64_t, Lease> leases_;
  size_t waiting_ = 0;
  size_t drop_at_ = 1024;  // leases: then those that nobody will share any more are forgotten
  bool started_ = false;
  LastingStream stream_;
};

}  // namespace quorate::proxy
