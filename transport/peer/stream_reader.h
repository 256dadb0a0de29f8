// StreamReader: keeps one stream from a peer open: dials, checks the answer, decodes messages,
// and dials again with back-off. Network thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "transport/peer/dial_connection.h"
#include "transport/peer/peer.h"

namespace quorate::transport {

class StreamReader final : public DialConnection::User {
 public:
  StreamReader(Peer* peer, StreamKind kind) : peer_(peer), kind_(kind) {}

  void Start() { Dial(); }
  void Stop();
  // The peer shows signs of life: if the next attempt is due later, make it now.
  void RetryNow();
  // There are other URLs: an attempt under way is dropped, a stream that works stays.
  void OnNewUrls();

  void OnHead(int status, const HttpRequest& head) override;
  void OnBody(std::string_view piece) override;
  void OnAnswer(Reuse reuse) override;
  void OnLost(const std::string& reason) override;

 private:
  enum class State : uint8_t { kWaiting, kDialling, kStreaming, kRefused };
  void Dial();
  void DialLater();
  void OnRefusal();
  void Fail(std::string_view reason);

  Peer* const peer_;
  const StreamKind kind_;
  State state_ = State::kWaiting;
  PeerUrl url_;  // being used
  std::shared_ptr<DialConnection> connection_;
  std::unique_ptr<StreamDecoder> decoder_;
  std::vector<PeerMessage> messages_;
  int refusal_status_ = 0;
  std::string refusal_;
  int64_t backoff_ns_ = 0;
  EventLoop::TimerId retry_timer_ = 0;
};

}  // namespace quorate::transport
