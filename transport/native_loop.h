// NativeLoop: one network thread of the native server: an EventLoop, its connections, and the
// mailbox through which other threads answer calls.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "transport/connection.h"
#include "transport/event_loop.h"
#include "transport/mailbox.h"
#include "transport/protocol.h"

namespace quorate::transport {

class NativeLoop final : public ConnectionOwner {
 public:
  // `http1` replaces the ordinary HTTP/1.1 session.
  NativeLoop(const ServerOptions* options, const ServiceTable* services, const HttpHandler* http,
             Http1Factory http1 = nullptr);
  ~NativeLoop() override;

  // `name` of its thread, at most 15 characters.
  void Start(const char* name);
  // Ends all connections and joins the thread. Not from the loop thread.
  void StopAndJoin();
  EventLoop* loop() { return &loop_; }
  const LoopCounters& counters() const { return counters_; }

  // Loop thread only.
  struct Accepted {
    int fd;
    ListenAddress::Serve serve;
    ListenAddress::Security security;
  };
  void Adopt(const Accepted& accepted);
  void StartDrain();
  void CloseAll();

  // Called (on the loop thread) each time a connection is gone. Set before Start.
  void set_on_gone(std::function<void()> on_gone) { on_gone_ = std::move(on_gone); }

  void FlushAtEndOfTurn(Connection* connection) override;
  void Gone(Connection* connection) override;
  bool TakeHandshakeStep() override;
  char* read_buffer() override { return read_buffer_.get(); }
  size_t read_buffer_bytes() const override { return kReadBufferBytes; }
  std::unique_ptr<OutputBuffer> TakeBuffer() override;
  void GiveBuffer(std::unique_ptr<OutputBuffer> buffer) override;

 private:
  static constexpr size_t kReadBufferBytes = 256 * 1024;

  std::unique_ptr<ByteSocket> SocketOf(const Accepted& accepted) const;
  void DrainMailbox();
  void EndOfTurn();
  void EndOfTurnSoon();

  EventLoop loop_;
  LoopCounters counters_;
  const LoopContext context_;
  std::function<void()> on_gone_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::vector<Completion> completions_;
  const std::unique_ptr<char[]> read_buffer_;
  std::vector<std::unique_ptr<OutputBuffer>> buffers_;

  // Each connection knows its index, so that leaving costs no search.
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> gone_;  // destroyed when the turn ends
  std::vector<Connection*> to_flush_;
  std::vector<Connection*> flushing_;
  bool handshake_step_taken_ = false;  // in this turn
  bool end_of_turn_set_ = false;
  bool draining_ = false;
  std::thread thread_;
};

}  // namespace quorate::transport
