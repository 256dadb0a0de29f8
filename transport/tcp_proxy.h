// TcpProxy: hands TCP connections on to one of several endpoints in turn, bytes untouched, as `etcd
// gateway` does. An endpoint that cannot be reached is passed over until it can again, which is
// tried every `retry_delay_ns`. When either side ends a connection, both are closed.
// One thread, but for Stop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "transport/event_loop.h"
#include "transport/listener.h"
#include "transport/server.h"

namespace quorate::transport {

class TcpProxy {
 public:
  struct Endpoint {
    std::string host;  // a name is looked up for every connection
    uint16_t port = 0;
    std::string authority;  // for log lines
  };
  struct Options {
    ListenAddress listen;
    std::vector<Endpoint> endpoints;  // at least one
    int64_t retry_delay_ns = 60 * kNanosPerSecond;
    const Clock* clock = nullptr;
  };

  explicit TcpProxy(Options options);
  ~TcpProxy();

  absl::Status Bind();
  uint16_t port() const { return listener_->port(); }  // after Bind
  void Run();                                          // until Stop
  void Stop() { loop_.Stop(); }                        // any thread

 private:
  class Link;
  class Probe;
  struct Remote {
    Endpoint endpoint;
    bool active = true;
  };

  void Accept(int fd);
  // The next endpoint in turn that is not passed over; null = none.
  Remote* Pick();
  void Deactivate(Remote* remote, const std::string& why);
  void ProbeInactive();

  const Options options_;
  EventLoop loop_;
  std::unique_ptr<Listener> listener_;
  std::vector<Remote> remotes_;
  size_t picks_ = 0;
};

}  // namespace quorate::transport
