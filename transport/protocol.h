// What lies between a connection's byte layer and what is spoken on it: bytes go in by Receive and
// come out by Pull, so a protocol knows no socket, and tests can drive one without.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "transport/event_loop.h"
#include "transport/output_buffer.h"
#include "transport/server.h"

namespace quorate::transport {

// Counters of one loop: written by its thread, read by any.
struct alignas(64) LoopCounters {
  std::atomic<uint64_t> connections{0};
  std::atomic<uint64_t> streams{0};
  std::atomic<uint64_t> connections_total{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> protocol_errors{0};

  // One writer: no locked instruction is needed.
  static void Add(std::atomic<uint64_t>* counter, int64_t delta) {
    counter->store(counter->load(std::memory_order_relaxed) + static_cast<uint64_t>(delta),
                   std::memory_order_relaxed);
  }
};

class Protocol;
class ProtocolHost;
struct PeerInfo;

// Makes what speaks HTTP/1.1 on a new connection.
using Http1Factory =
    std::function<std::unique_ptr<Protocol>(ProtocolHost* host, std::shared_ptr<const PeerInfo>)>;

// What the protocols of one loop share.
struct LoopContext {
  const ServerOptions* options;
  const ServiceTable* services;
  const HttpHandler* http;
  EventLoop* loop;
  LoopCounters* counters;
  Http1Factory http1;  // empty: Http1Session
};

// The connection, as its protocol sees it. Loop thread only.
class ProtocolHost {
 public:
  virtual ~ProtocolHost() = default;
  // There is (or may be) something to pull. Cheap and repeatable within a turn.
  virtual void FlushSoon() = 0;
  // The peer is gone or hopeless: close without further ado, at the end of this turn.
  virtual void AbortSoon() = 0;
  // So many bytes have gone to the socket since the beginning.
  virtual uint64_t sent_bytes() const = 0;
};

class Protocol {
 public:
  virtual ~Protocol() = default;
  enum class Verdict {
    kContinue,
    kClose,  // broken beyond repair: write what Pull still gives, then close
  };
  virtual Verdict Receive(std::string_view bytes) = 0;
  // Appends what is to be sent, until *out holds about `bytes_max`.
  virtual void Pull(OutputBuffer* out, size_t bytes_max) = 0;
  // Nothing more will come or go: close.
  virtual bool Finished() const = 0;
  // So much waits for the peer that reading more from it would only add to it.
  virtual bool Overloaded() const = 0;
  virtual void StartDrain() = 0;
  // The peer sent its last byte.
  virtual void OnPeerClosed() = 0;
  // The connection is gone: ends all calls. Nothing is called after it but the destructor.
  virtual void OnLost() = 0;
};

}  // namespace quorate::transport
