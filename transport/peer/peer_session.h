// PeerSession: HTTP/1.1 on one connection that another member (or anybody) opened to the peer port:
// rafthttp's endpoints, everything else handed to the server's handler. Requests are read as they
// come, one at a time; a GET of a stream turns the connection into that stream. Loop thread only;
// the handler may answer from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/http1_parser.h"
#include "transport/http1_response.h"
#include "transport/native_call.h"
#include "transport/peer/peer.h"
#include "transport/peer/snapshot_receiver.h"
#include "transport/protocol.h"

namespace quorate::transport {

// What a session asks of the links.
class PeerDirectory {
 public:
  virtual ~PeerDirectory() = default;
  virtual const LinkContext& context() const = 0;
  virtual Peer* Find(MemberId id) = 0;  // members and remotes; null when unknown
  virtual bool IsRemoved(MemberId id) const = 0;
  // Remembers an unknown caller by its X-PeerURLs, to be able to answer.
  virtual void AddRemote(MemberId id, std::string_view urls) = 0;
  virtual const HttpHandler& http() const = 0;
};

class PeerSession final : public Protocol, public StreamWriter {
 public:
  PeerSession(PeerDirectory* directory, ProtocolHost* host, std::shared_ptr<const PeerInfo> info);
  ~PeerSession() override = default;

  Verdict Receive(std::string_view bytes) override;
  void Pull(OutputBuffer* out, size_t bytes_max) override;
  bool Finished() const override;
  bool Overloaded() const override;
  void StartDrain() override {}
  void OnPeerClosed() override;
  void OnLost() override;

  void WriteSoon() override { host_->FlushSoon(); }
  void Cut() override;

 private:
  // Read ahead behind a request that is not answered yet.
  static constexpr size_t kInputBytesMax = 256 * 1024;
  enum class Route : uint8_t { kDiscard, kMessage, kSnapshot, kStream, kHandler };

  const LinkContext& context() const { return directory_->context(); }
  void Process();
  void OnHead();
  void OnBody(std::string_view piece);
  void OnRequest();

  void OnStreamHead(const HttpRequest& head);
  void StartStream(StreamKind kind, Peer* peer);
  // 405, 412: the checks that POSTs share. True when the request is refused.
  bool RefusePost(const HttpRequest& head);
  void OnMessageRequest();
  void OnSnapshotProgress();
  void OnSnapshotStored(const absl::Status& status);
  void HandOut();
  // Gives a message to the peer it came from, or straight on when that is unknown.
  void Deliver(PeerMessage message, size_t bytes);

  void Answer(HttpResponse response);
  void AnswerText(int status, std::string_view text);
  void CheckStream();
  void CheckSnapshot();
  void ArmIdleTimer();
  void ConfirmAddressOfPeer();

  PeerDirectory* const directory_;
  ProtocolHost* const host_;
  const std::shared_ptr<const PeerInfo> info_;
  Http1Parser parser_ = Http1Parser::Streamed(Http1Parser::Kind::kRequests);
  std::string input_;
  std::string out_;
  bool processing_ = false;
  bool waiting_ = false;  // for an answer that is made elsewhere
  bool answered_ = false;
  bool head_only_ = false;  // the request is a HEAD
  bool closing_ = false;    // when out_ has left
  bool peer_closed_ = false;
  Route route_ = Route::kDiscard;
  std::string body_;
  std::unique_ptr<SnapshotReceiver> snapshot_;

  // As a stream.
  Peer* peer_ = nullptr;
  StreamKind kind_ = StreamKind::kMessage;
  std::optional<StreamEncoder> encoder_;
  bool heartbeat_due_ = false;
  uint64_t pulled_bytes_ = 0;
  uint64_t sent_bytes_seen_ = 0;
  int64_t moved_ns_ = 0;
  EventLoop::TimerId timer_ = 0;  // idle connection, later the stream's
  int64_t received_ns_;

  // What late answers find this session by; emptied when the connection goes.
  std::shared_ptr<PeerSession*> self_;
};

}  // namespace quorate::transport
