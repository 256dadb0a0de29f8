// Pipeline: POST /raft, one message each, up to four at a time to one peer: how messages go while
// there is no stream to carry them. Network thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "transport/peer/dial_connection.h"
#include "transport/peer/peer.h"

namespace quorate::transport {

class Pipeline {
 public:
  explicit Pipeline(Peer* peer);
  ~Pipeline();
  void Stop();
  // Sends what the queue holds, as far as there are idle lanes; more than kWaitingMax waiting
  // messages are dropped.
  void Pump(PeerQueue::Take take);

 private:
  static constexpr size_t kLanes = 4;
  static constexpr size_t kWaitingMax = 64;

  class Lane;
  std::vector<std::unique_ptr<Lane>> lanes_;
  Peer* const peer_;
};

}  // namespace quorate::transport
