// A connection without a socket for the fuzz targets of transport/: a protocol, what it needs
// around it, and a service with a method of each kind.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/clock.h"
#include "transport/mailbox.h"
#include "transport/native_call.h"
#include "transport/protocol.h"

namespace quorate::fuzz {

class ProtocolWorld final : public transport::ProtocolHost {
 public:
  ProtocolWorld();
  ~ProtocolWorld() override;

  const transport::LoopContext& context() const { return context_; }
  std::shared_ptr<const transport::PeerInfo> peer() const { return peer_; }

  // Feeds `bytes` in pieces of `piece_bytes`, pulling answers in between as a connection does, and
  // loses the connection at the end, or earlier when the protocol says so.
  void Run(transport::Protocol* protocol, std::string_view bytes, size_t piece_bytes);

  void FlushSoon() override {}
  void AbortSoon() override { aborted_ = true; }
  uint64_t sent_bytes() const override { return sent_bytes_; }

 private:
  ManualClock clock_;
  transport::ServerOptions options_;
  transport::ServiceTable services_;
  transport::HttpHandler http_;
  transport::EventLoop loop_;
  transport::LoopCounters counters_;
  transport::LoopContext context_;
  std::shared_ptr<const transport::PeerInfo> peer_;
  uint64_t sent_bytes_ = 0;
  bool aborted_ = false;
};

}  // namespace quorate::fuzz
