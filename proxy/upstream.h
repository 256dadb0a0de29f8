// Upstream: the members of the cluster as the proxy sees them, and the way to call them. Calls go
// to the members in turn; one that cannot be reached is left out until it answers again.
// Loop thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "transport/client.h"
#include "transport/event_loop.h"

namespace quorate::proxy {

struct UpstreamOptions {
  std::vector<std::string> endpoints;          // "host:port", "http://...", "https://..."
  std::shared_ptr<transport::TlsContext> tls;  // of those that are not http; may be null
  int64_t keepalive_time_ns = 0;               // as ChannelOptions
  int64_t keepalive_timeout_ns = 0;
  bool keepalive_without_calls = false;
  uint64_t send_message_bytes_max = UINT64_MAX;
  uint64_t receive_message_bytes_max = UINT32_MAX;
};

struct UpstreamRequest {
  std::string path;  // "/etcdserverpb.KV/Put"
  Bytes body;
  transport::MetadataList metadata;
  int64_t deadline_ns = INT64_MAX;  // of the client's call
  // A call that got lost on the way is made again at another member: always where it changes
  // nothing; else only when it never was sent (etcd's client's rule).
  enum class Again : uint8_t { kAlways, kIfUnsent } again = Again::kIfUnsent;
};

class Upstream {
 public:
  using Done = transport::Channel::UnaryCallback;

  // kInvalidArgument names an endpoint that is none.
  static absl::StatusOr<std::unique_ptr<Upstream>> Create(transport::EventLoop* loop,
                                                          const UpstreamOptions& options);
  ~Upstream();

  // `done` is called once, also when the upstream is destroyed.
  void Call(UpstreamRequest request, Done done);
  // A stream to the next member in turn.
  std::unique_ptr<transport::ClientStream> Open(std::string_view path,
                                                const transport::MetadataList& metadata,
                                                transport::ClientStreamHandler* handler);
  // Other endpoints from now on; those that stay keep their connections. An error changes nothing.
  absl::Status SetEndpoints(const std::vector<std::string>& endpoints);
  std::vector<std::string> endpoints() const;

  transport::EventLoop* loop() const { return loop_; }

  // The connection failed, not the server: its own refusals begin with its name.
  static bool Lost(const transport::RpcStatus& status);
  // ... and before the call was sent.
  static bool Unsent(const transport::RpcStatus& status);

 private:
  struct Member {
    std::string endpoint;
    std::unique_ptr<transport::Channel> channel;
    bool reachable = false;
    transport::EventLoop::TimerId probe_timer = 0;
  };
  struct Pending;

  Upstream(transport::EventLoop* loop, UpstreamOptions options)
      : loop_(loop), options_(std::move(options)) {}
  absl::StatusOr<std::shared_ptr<Member>> MakeMember(const std::string& endpoint) const;
  std::shared_ptr<Member> Next();
  void Try(std::shared_ptr<Pending> pending);
  // The member did not answer: asks it until it does.
  void Avoid(const std::shared_ptr<Member>& member);
  void Probe(const std::shared_ptr<Member>& member);

  transport::EventLoop* const loop_;
  const UpstreamOptions options_;
  std::vector<std::shared_ptr<Member>> members_;
  size_t next_ = 0;
  // Calls hold this weakly: what comes back after the end finds nobody.
  std::shared_ptr<Upstream*> alive_ = std::make_shared<Upstream*>(this);
};

}  // namespace quorate::proxy
