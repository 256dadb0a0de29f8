// NativeCall: one gRPC call of the native server. The half that services see may be used from any
// thread; it forwards to the stream's session on the connection's loop. The rest belongs to that
// session (http2_session.cc) and its thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/byte_socket.h"
#include "transport/event_loop.h"
#include "transport/mailbox.h"
#include "transport/message_decoder.h"
#include "transport/rpc.h"
#include "transport/send_queue.h"
#include "transport/server.h"

namespace quorate::transport {

class Http2Session;

// What the calls of one connection share and may outlive it with.
struct PeerInfo {
  std::string name;
  std::shared_ptr<Mailbox> mailbox;
  bool encrypted = false;  // by TLS
  // What the client has shown; unset without TLS or without a certificate.
  std::optional<PeerCertificate> certificate;

  std::optional<std::string> common_name() const {
    if (!certificate.has_value()) return std::nullopt;
    return certificate->common_name;
  }
  // Tells a request's handler what it may know.
  void Describe(HttpRequest* request) const {
    request->encrypted = encrypted;
    request->peer_common_name = common_name();
  }
};

// Request metadata as one run of bytes: cheap to build, searched only when asked for.
class MetadataBlock {
 public:
  void Add(std::string_view name, std::string_view value);
  std::optional<std::string_view> Find(std::string_view name) const;
  std::vector<std::pair<std::string, std::string>> Fields() const;
  void Clear() { text_.clear(); }

 private:
  std::string text_;  // per entry: name, '\0', value, '\0'; neither may contain '\0' in HTTP/2
};

class NativeCall final : public ServerCall, public std::enable_shared_from_this<NativeCall> {
 public:
  NativeCall(std::shared_ptr<const PeerInfo> peer, Http2Session* session, int32_t stream_id,
             const Method* method, uint64_t message_bytes_max)
      : session_(session),
        stream_id_(stream_id),
        method_(method),
        requests_(method->kind),
        decoder_(message_bytes_max),
        peer_(std::move(peer)) {}

  std::optional<std::string> Metadata(std::string_view name) const override;
  std::string peer() const override { return peer_->name; }
  std::optional<std::string> PeerCommonName() const override { return peer_->common_name(); }
  int64_t deadline_ns() const override { return deadline_ns_; }
  int64_t received_ns() const override { return received_ns_; }
  bool cancelled() const override { return cancelled_.load(std::memory_order_relaxed); }
  void Send(Message message) override;
  void Finish(RpcStatus status) override;
  void Reply(Message message) override;
  size_t QueuedBytes() const override { return queued_bytes_.load(std::memory_order_relaxed); }

  // Loop thread: does what was handed over through the mailbox.
  static void Deliver(Completion completion);

 private:
  friend class Http2Session;

  // True when the caller may touch the stream at once: it is on the loop's thread and nothing that
  // was said earlier still waits in the mailbox.
  bool MayActNow() const {
    return Mailbox::OfThisThread() == peer_->mailbox.get() &&
           in_mailbox_.load(std::memory_order_acquire) == 0;
  }
  void Hand(Completion::Kind kind, Message message, RpcStatus status);
  void Apply(Completion::Kind kind, Message message, RpcStatus status);

  // Set before the service sees the call, constant after.
  MetadataBlock metadata_;
  int64_t deadline_ns_ = INT64_MAX;
  int64_t received_ns_ = 0;

  std::atomic<bool> cancelled_{false};
  std::atomic<bool> over_{false};  // the stream is closed: nothing has an effect any more
  std::atomic<uint32_t> in_mailbox_{0};
  std::atomic<size_t> queued_bytes_{0};

  // Loop thread only.
  Http2Session* session_;  // null once the stream is closed
  const int32_t stream_id_;
  std::optional<uint64_t> body_bytes_left_;  // of what content-length promised
  bool half_closed_ = false;                 // the peer sends no more
  bool response_started_ = false;            // HEADERS are submitted
  bool finishing_ = false;                   // the service or we ended the call
  bool trailers_submitted_ = false;
  bool deferred_ = false;  // nghttp2 waits for nghttp2_session_resume_data
  bool gzip_answer_ = false;
  bool pulling_now_ = false;  // inside MessageSource::Pull
  const Method* method_;
  RequestMessages requests_;
  MessageDecoder decoder_;
  SendQueue queue_;
  RpcStatus status_;
  std::unique_ptr<CallHandler> handler_;
  std::unique_ptr<RpcTrace> trace_;  // the observer's
  EventLoop::TimerId deadline_timer_ = 0;
  // The session's list of open calls, and what keeps this one alive in it.
  NativeCall* next_ = nullptr;
  NativeCall* previous_ = nullptr;
  std::shared_ptr<NativeCall> self_;

  std::shared_ptr<const PeerInfo> peer_;
};

}  // namespace quorate::transport
