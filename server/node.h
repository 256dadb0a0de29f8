// Node: one member, assembled. Opens or creates the data directory, builds log, backend, engine,
// raft, replica, loops and services, brings itself up through the log, and takes itself down.
//
// Data directory: DIR/member/LOCK (held while running), DIR/member/backend (applied state),
// DIR/member/log or --wal-dir (the log; its presence makes this an existing member).
#pragma once

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
  static absl::StatusOr<std::unique_ptr<Node>> Open(const ServerConfig& config);
  ~Node();

  // Elects itself, publishes itself, serves clients, and logs the ready line. Blocks until then.
  absl::Status Start();
  // Graceful stop: drains clients, syncs backend and log, closes.
  void Stop();

 private:
  struct Parts;
  explicit Node(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace quorate::server
