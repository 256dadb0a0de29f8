// PeerLinks: what a member says to and hears from the other members, in etcd's rafthttp (HTTP/1.1
// on the peer URLs): two long-lived GET streams each way per pair, dialled by the receiver; POST
// /raft where there is no stream yet; POST /raft/snapshot with the state behind the message; GET
// /raft/probing. All other requests to the peer port go to one HttpHandler of the server.
//
// One network thread for all peers; one more, asleep most of the time, on which snapshots are read
// and written. Queues are bounded per peer; when one is full the message is dropped and the peer
// reported unreachable, as raft expects. So Send never blocks, and a slow or dead peer costs the
// others nothing.
//
// Sources: etcd's rafthttp (headers, status codes, texts, time limits). Differences: name look-ups,
// a bound in bytes, a share of each queue that appends cannot take, and no more than 32 unknown
// senders are remembered.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/ids.h"
#include "transport/peer/peer_message.h"
#include "transport/server.h"

namespace quorate::transport {

// State to send behind a MsgSnap. Used on the snapshot thread, one call at a time.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  // The next bytes, best 64 KiB to 1 MiB; empty = the end. May block on a disk.
  virtual absl::StatusOr<Bytes> Next() = 0;
};

// Takes the state behind a MsgSnap. Used on the snapshot thread, one call at a time; an error ends
// the transfer with 500 and its text. Destroyed without Finish when the transfer breaks: what was
// kept until then is worthless, the sender starts again.
class SnapshotSink {
 public:
  virtual ~SnapshotSink() = default;
  virtual absl::Status Append(Bytes piece) = 0;
  // Everything has come: make it durable. When this succeeds the MsgSnap follows as an ordinary
  // message (PeerEvents::OnMessages), and the sender is answered after that.
  virtual absl::Status Finish() = 0;
};

// What the links report. All on the network thread: only enqueue.
class PeerEvents {
 public:
  virtual ~PeerEvents() = default;
  // In the order of one stream; the two streams of a peer have no order between them. `from` was
  // checked to be a member (or, by POST, not a removed one).
  virtual void OnMessages(MemberId from, std::vector<PeerMessage> messages) = 0;
  // Messages to this peer were dropped (raft: MsgUnreachable). At most once per peer and turn.
  virtual void OnUnreachable(MemberId peer) = 0;
  // A snapshot begins; null refuses it (500).
  virtual std::unique_ptr<SnapshotSink> OnSnapshot(MemberId from, const PeerMessage& header) = 0;
  // A peer says that this member was removed from the cluster. May come several times.
  virtual void OnRemoved(MemberId by) = 0;
  // A peer answered GET /raft/probing, every few seconds.
  virtual void OnRoundTrip(MemberId /*peer*/, int64_t /*took_ns*/) {}
};

struct PeerLinksOptions {
  MemberId self;
  ClusterId cluster;
  std::string server_version = "3.7.1";
  std::string min_cluster_version = "3.0.0";
  std::vector<std::string> advertise_urls;  // X-PeerURLs
  std::vector<ListenAddress> listen;        // HTTP/1.1 only, whatever `serve` says
  // Of the listen addresses that are not plain, and of peers whose URL is https.
  std::shared_ptr<TlsContext> tls_listen;
  std::shared_ptr<TlsContext> tls_dial;
  // Per peer. A message that alone is larger passes when the queue is empty. Appends and forwarded
  // proposals may fill three quarters, the rest belongs to heartbeats, votes and answers.
  size_t queue_messages_max = 4096;
  size_t queue_bytes_max = 64 << 20;
  uint64_t message_bytes_max = 512 << 20;  // of one incoming message or entry
  uint64_t http_body_bytes_max = 2 << 20;  // of requests that go to `http`
  int64_t dial_retry_min_ns = 100 * kNanosPerMilli;
  int64_t dial_retry_max_ns = 1000 * kNanosPerMilli;  // doubled from the least until here
  // A connection on which nothing moves for so long, though something should, is cut. Streams carry
  // a heartbeat three times as often.
  int64_t io_timeout_ns = 5 * kNanosPerSecond;
  int64_t probe_interval_ns = 4 * kNanosPerSecond;
  const Clock* clock = nullptr;
};

// Of one peer, since it was added.
struct PeerStats {
  MemberId id;
  bool active = false;
  int64_t active_since_ns = 0;   // monotonic; 0 = not active
  uint32_t streams_written = 0;  // dialled by the peer and open: 0, 1 or 2
  uint32_t streams_read = 0;     // dialled by us
  uint64_t disconnects = 0;      // active -> not active
  uint64_t sent_bytes = 0;       // of messages, as encoded
  uint64_t received_bytes = 0;
  uint64_t sent_failures = 0;  // messages dropped or not taken
  uint64_t received_failures = 0;
};

class PeerLinks {
 public:
  // `events` outlives the links. `http` gets the requests that are not for the links (/members,
  // /version, /leases ...) on the network thread, and answers as for a ServerTransport.
  PeerLinks(const PeerLinksOptions& options, PeerEvents* events, HttpHandler http);
  ~PeerLinks();  // Stop

  // Binds the listen addresses. Errors as ServerTransport::Bind.
  absl::Status Bind();
  std::vector<uint16_t> ports() const;  // after Bind, per address
  void Start();
  // Cuts all connections and joins the threads. No event is reported after it; `done` functions of
  // snapshots under way have been called (kCancelled).
  void Stop();

  // --- any thread, before or after Start
  // URLs as "http://10.0.0.1:2380"; kInvalidArgument names a bad one. Adding a known peer updates
  // its URLs.
  absl::Status AddPeer(MemberId id, const std::vector<std::string>& urls);
  absl::Status UpdatePeer(MemberId id, const std::vector<std::string>& urls);
  // The member is gone for good: its connections end, later ones are answered with 410 or 403.
  // Also for ids that never were peers (members_removed at start).
  void RemovePeer(MemberId id);

  // Messages to one peer, in order. Never blocks. MsgSnap goes by SendSnapshot. Unknown ids: the
  // messages are dropped, unless that member has called us and left its URLs.
  void Send(MemberId to, std::vector<PeerMessage> messages);
  // `message` is a MsgSnap with `to` set. `done` is called once, on the network thread: OK when the
  // peer has stored the state and taken the message. One at a time per peer: kUnavailable at once
  // while another is under way. Not after Stop.
  void SendSnapshot(PeerMessage message, std::unique_ptr<SnapshotSource> source,
                    std::function<void(absl::Status)> done);

  // Monotonic time since when a peer has been reachable without a failure; 0 = it is not.
  int64_t ActiveSinceNs(MemberId id) const;
  std::vector<PeerStats> stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorate::transport
