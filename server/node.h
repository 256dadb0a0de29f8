// Node: one member, assembled. Opens or creates the data directory, builds log, backend, engine,
// raft, replica, loops and services, brings itself up through the log, and takes itself down.
//
// Data directory: DIR/member/LOCK (held while running), DIR/member/backend (applied state),
// DIR/member/log or --wal-dir (the log; its presence makes this an existing member).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "server/config.h"

namespace quorate::server {

class Node {
 public:
  // Binds the listeners first (a port in use is found before a data directory is touched), then
  // opens the data. Errors name the flag, file or URL and the way out.
  // `removed` is called when this member turns out to be removed from its cluster, on any thread,
  // once: Stop is then wanted.
  static absl::StatusOr<std::unique_ptr<Node>> Open(const ServerConfig& config,
                                                    std::function<void()> removed);
  ~Node();

  // Takes part in the cluster at once; publishes itself, serves clients and logs the ready line as
  // soon as there is a leader. `ready` is called after that, on another thread.
  void Start(std::function<void()> ready);
  // Graceful stop, at any time: hands the lead over, drains clients, syncs backend and log, closes.
  void Stop();

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace quorate::server
