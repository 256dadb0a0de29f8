// Prober: GET /raft/probing on a connection of its own, again and again: how long the way to a peer
// and back takes, and whether there is one while nothing else is said. Network thread only.
#pragma once

#include <memory>
#include <string>

#include "transport/peer/dial_connection.h"
#include "transport/peer/peer.h"

namespace quorate::transport {

class Prober final : public DialConnection::User {
 public:
  explicit Prober(Peer* peer) : peer_(peer) {}
  void Start() { ProbeLater(); }
  void Stop();

  void OnHead(int status, const HttpRequest& head) override;
  void OnBody(std::string_view) override {}
  void OnAnswer(Reuse reuse) override;
  void OnLost(const std::string& reason) override;

 private:
  void Probe();
  void ProbeLater();
  void Hang();

  Peer* const peer_;
  PeerUrl url_;
  std::shared_ptr<DialConnection> connection_;
  int64_t sent_ns_ = 0;
  int status_ = 0;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace quorate::transport
