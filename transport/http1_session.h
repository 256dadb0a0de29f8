// Http1Session: HTTP/1.1 on one server connection: keep-alive, pipelining (one request at a time is
// handed out; the next is read when it is answered), chunked bodies. Loop thread only; answers may
// come from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "transport/http1_parser.h"
#include "transport/http1_response.h"
#include "transport/mailbox.h"
#include "transport/native_call.h"
#include "transport/protocol.h"
#include "transport/websocket.h"

namespace quorate::transport {

class Http1Session final : public Protocol {
 public:
  Http1Session(const LoopContext* context, ProtocolHost* host,
               std::shared_ptr<const PeerInfo> peer);
  ~Http1Session() override = default;

  Verdict Receive(std::string_view bytes) override;
  void Pull(OutputBuffer* out, size_t bytes_max) override;
  bool Finished() const override { return closing_ && out_.empty(); }
  bool Overloaded() const override {
    return input_.size() > kInputBytesMax ||
           (websocket_.has_value() && out_.size() > kInputBytesMax);
  }
  void StartDrain() override;
  void OnPeerClosed() override;
  void OnLost() override;

 private:
  class Exchange;
  friend class Exchange;

  // Read ahead behind a request that is not answered yet.
  static constexpr size_t kInputBytesMax = 256 * 1024;

  void Process();
  void HandOut();
  void StartWebSocket(const HttpResponse& answer);
  void OnFrames(std::string_view bytes);
  void Respond(HttpResponse response);
  void RespondError(int status);
  void StartBody(HttpResponse head);
  void WriteBody(std::string_view piece);
  void EndBody();
  void Answered();
  void EndExchange();
  void Write(const HttpResponse& response, BodyUse body);
  void RearmIdleTimer();

  const LoopContext* const context_;
  ProtocolHost* const host_;
  const std::shared_ptr<const PeerInfo> peer_;
  Http1Parser parser_;
  std::string input_;
  std::string out_;
  bool processing_ = false;
  bool waiting_ = false;    // a request is with the handler
  bool head_only_ = false;  // ... and it is a HEAD
  bool body_open_ = false;  // it is being answered in chunks
  // The connection is one, and waiting_ until it ends.
  std::optional<WebSocketExchange> websocket_;
  std::shared_ptr<Exchange> exchange_;
  bool keep_alive_ = true;
  bool draining_ = false;
  bool closing_ = false;  // close when out_ has left
  bool peer_closed_ = false;
  int64_t last_receive_ns_;
  EventLoop::TimerId idle_timer_ = 0;
  // What late answers find this session by; emptied when the connection goes.
  std::shared_ptr<Http1Session*> self_;
};

}  // namespace quorate::transport
