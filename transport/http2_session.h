// Http2Session: the server side of one HTTP/2 connection. nghttp2 does frames, HPACK, windows and
// states; this class turns streams into gRPC calls (gRPC's PROTOCOL-HTTP2 description, behaviour
// of grpc-go where the description leaves room). Bytes in by Receive, bytes out by Pull; nothing
// here knows of sockets. Loop thread only.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/http2_request_head.h"
#include "transport/http2_requests.h"
#include "transport/native_call.h"
#include "transport/protocol.h"

namespace quorate::transport {

class Http2Session final : public Protocol {
 public:
  // What happens to requests that are no gRPC calls. etcd takes them behind TLS only.
  enum class OtherRequests : uint8_t { kRefused, kServed };
  Http2Session(const LoopContext* context, ProtocolHost* host, std::shared_ptr<const PeerInfo> peer,
               OtherRequests others);
  ~Http2Session() override;

  Verdict Receive(std::string_view bytes) override;
  void Pull(OutputBuffer* out, size_t bytes_max) override;
  bool Finished() const override;
  bool Overloaded() const override;
  void StartDrain() override;
  // HTTP/2 knows no half-closed connections.
  void OnPeerClosed() override { host_->AbortSoon(); }
  void OnLost() override;

  // --- for NativeCall
  void Send(NativeCall* call, Message message);
  void Finish(NativeCall* call, RpcStatus status);
  void Reply(NativeCall* call, Message message);
  void Pulled(NativeCall* call, Bytes bytes);
  void PullFailed(NativeCall* call, RpcStatus status);

 private:
  struct Callbacks;  // nghttp2's, http2_session.cc
  friend struct Callbacks;

  void OnHeader(std::string_view name, std::string_view value);
  void OnTrailers(int32_t stream_id, bool end_stream);
  void OnRequestHead(int32_t stream_id, bool end_stream);
  void OnData(NativeCall* call, std::string_view data);
  void OnHalfClose(NativeCall* call);
  void OnStreamClosed(NativeCall* call);
  void OnPing(const nghttp2_ping& ping, bool ack);
  ssize_t ReadData(NativeCall* call, size_t length, uint32_t* flags);
  void TakeData(NativeCall* call, const uint8_t* frame_header, size_t length);

  void OnEndOfRequest(int32_t stream_id);
  bool IsOtherRequest(int32_t stream_id) const {
    return requests_.has_value() && requests_->Has(stream_id);
  }
  NativeCall* StartCall(int32_t stream_id, const Method* method);
  void SetDeadline(NativeCall* call, int64_t timeout_ns);
  void DeadlineHit(NativeCall* call);
  void Deliver(NativeCall* call, RequestMessages::Next next);
  void Queue(NativeCall* call, Message message);
  // Sends what the call's state asks for: headers, resumed data, trailers.
  void Continue(NativeCall* call);
  void ShareTurns(NativeCall* call);
  void StartPull(NativeCall* call);
  void SubmitTrailers(NativeCall* call);
  void SubmitTrailersOnly(int32_t stream_id, NativeCall* call, std::string_view http_status,
                          const RpcStatus& status);
  void Handled(NativeCall* call, RpcOutcome outcome);
  void Reset(NativeCall* call, uint32_t error_code);
  // A request that breaks HTTP's rules: the stream ends, the connection goes on.
  void ResetMalformed(int32_t stream_id);
  void OnGoawaySent();
  void EndStreamingCalls();
  void FinishDrain();
  void SubmitGoaway(uint32_t error_code, std::string_view text);
  void Unlink(NativeCall* call);
  void RearmKeepalive();
  void KeepaliveTick();

  const LoopContext* const context_;
  ProtocolHost* const host_;
  const std::shared_ptr<const PeerInfo> peer_;
  nghttp2_session* session_ = nullptr;
  OutputBuffer* out_ = nullptr;  // while Pull runs
  size_t out_bytes_max_ = 0;
  RequestHead head_;                       // being received; a connection has one at a time
  std::optional<Http2Requests> requests_;  // unset: others than gRPC calls are refused
  bool trailers_broken_ = false;           // those being received
  NativeCall* calls_ = nullptr;            // list of the open ones
  size_t call_count_ = 0;
  std::vector<std::shared_ptr<NativeCall>> writable_;  // to be told OnWritable

  enum class Drain { kNo, kNoticed, kFinal };
  Drain drain_ = Drain::kNo;
  bool closing_ = false;  // close as soon as what is queued is out
  bool lost_ = false;
  EventLoop::TimerId drain_timer_ = 0;
  EventLoop::TimerId keepalive_timer_ = 0;
  int64_t last_receive_ns_ = 0;
  bool keepalive_ping_out_ = false;
  int64_t last_client_ping_ns_ = INT64_MIN;
  int ping_strikes_ = 0;
};

}  // namespace quorate::transport
