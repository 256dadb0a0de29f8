// Peer: everything about one other member: its queue, the streams that it dialled to us (we write)
// and that we dialled to it (we read), the pipeline for the time without streams, one snapshot
// under way, and whether it is reachable. Network thread only, but for the queue and the counters.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "transport/peer/dial_connection.h"
#include "transport/peer/peer_identity.h"
#include "transport/peer/peer_links.h"
#include "transport/peer/peer_queue.h"
#include "transport/peer/stream_codec.h"

namespace quorate::transport {

// What the parts of PeerLinks share.
struct LinkContext {
  const PeerLinksOptions* options;
  PeerIdentity identity;
  EventLoop* loop;
  EventLoop* snapshot_loop;
  std::shared_ptr<Mailbox> mailbox;  // of `loop`, for posts from elsewhere
  DialContext dial;
  PeerEvents* events;
};

// The writing end of a stream: the session on which the peer's GET came.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  // There is something in the queue.
  virtual void WriteSoon() = 0;
  // Another stream has taken this one's place, or the peer is gone.
  virtual void Cut() = 0;
};

class StreamReader;
class Pipeline;
class SnapshotSender;
class Prober;

class Peer {
 public:
  // kRemote: not a member that we know of, but it has called; it is only answered, by POST.
  enum class Role : uint8_t { kMember, kRemote };
  Peer(const LinkContext* context, MemberId id, Role role, std::vector<PeerUrl> urls);
  ~Peer();  // after Stop

  MemberId id() const { return id_; }
  Role role() const { return role_; }
  PeerQueue* queue() { return &queue_; }  // any thread
  PeerStats stats() const;                // any thread
  int64_t active_since_ns() const { return active_since_ns_.load(std::memory_order_relaxed); }
  void CountDropped(size_t messages) { Add(&sent_failures_, messages); }  // any thread

  // --- network thread
  void Start();
  void Stop();
  void SetUrls(std::vector<PeerUrl> urls);
  // Something was pushed or dropped.
  void OnQueued();
  void SendSnapshot(PeerMessage message, std::unique_ptr<SnapshotSource> source,
                    std::function<void(absl::Status)> done);

  void Attach(StreamKind kind, StreamWriter* writer);
  void Detach(StreamKind kind, StreamWriter* writer);
  // Messages for a stream of this kind, as chunks of a body, until *out holds `bytes_max`.
  void PullStream(StreamKind kind, StreamEncoder* encoder, OutputBuffer* out, size_t bytes_max);

  // What the peer says, from any of the ways. Messages to another member are dropped; `from` is not
  // compared, since a forwarded MsgTransferLeader names the member that shall lead.
  void Deliver(std::vector<PeerMessage> messages, size_t bytes);

  // --- for the parts
  const LinkContext& context() const { return *context_; }
  PeerUrl url() const { return urls_[picked_url_]; }
  // The next attempt goes elsewhere; unless another part has said so already.
  void UrlFailed(const PeerUrl& url) {
    if (url == urls_[picked_url_]) picked_url_ = (picked_url_ + 1) % urls_.size();
  }
  void Activate();
  void Deactivate(std::string_view what, std::string_view reason);
  // All that waits is dropped and the peer reported.
  void DropQueue();
  void ReportUnreachable();
  void CountSent(size_t bytes) { Add(&sent_bytes_, bytes); }
  void OnStreamRead(int change) { streams_read_ += static_cast<uint32_t>(change); }
  void CountReceiveFailure() { Add(&received_failures_, 1); }
  // How an answer to a POST went: whether the peer took it. Handles removal and the rest.
  bool OnPostAnswer(std::string_view what, int status, std::string_view body);

 private:
  static void Add(std::atomic<uint64_t>* counter, uint64_t delta) {
    counter->fetch_add(delta, std::memory_order_relaxed);
  }
  StreamWriter*& writer(StreamKind kind) { return writers_[static_cast<size_t>(kind)]; }

  const LinkContext* const context_;
  const MemberId id_;
  const Role role_;
  std::vector<PeerUrl> urls_;
  size_t picked_url_ = 0;
  PeerQueue queue_;
  std::array<StreamWriter*, 2> writers_{};  // by StreamKind
  std::vector<std::unique_ptr<StreamReader>> readers_;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<SnapshotSender> snapshot_;
  std::unique_ptr<Prober> prober_;
  OutputBuffer scratch_;
  bool stopped_ = false;
  bool unreachable_reported_ = false;  // in this turn
  bool failure_logged_ = false;        // since it was last active

  std::atomic<int64_t> active_since_ns_{0};
  std::atomic<uint32_t> streams_written_{0};
  std::atomic<uint32_t> streams_read_{0};
  std::atomic<uint64_t> disconnects_{0};
  std::atomic<uint64_t> sent_bytes_{0};
  std::atomic<uint64_t> received_bytes_{0};
  std::atomic<uint64_t> sent_failures_{0};
  std::atomic<uint64_t> received_failures_{0};
};

// Moves *chunk to *out as one chunk of a chunked body.
void AppendChunk(OutputBuffer* chunk, OutputBuffer* out);

// The head of a request to a peer, up to the blank line. `body`: "" for none, or the fields that
// describe it ("Content-Length: 12\r\n").
std::string PeerRequestHead(std::string_view method, std::string_view path, const PeerUrl& url,
                            const HeaderList& headers, std::string_view body_fields);

}  // namespace quorate::transport
