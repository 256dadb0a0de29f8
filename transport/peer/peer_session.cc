#include "transport/peer/peer_session.h"

#include <ctime>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "transport/peer/address_check.h"

namespace quorate::transport {
namespace {

constexpr std::string_view kRaftPath = "/raft";
constexpr std::string_view kProbingPath = "/raft/probing";
constexpr std::string_view kSnapshotPath = "/raft/snapshot";
constexpr std::string_view kStreamPrefix = "/raft/stream";
// A connection that sends nothing for so long, with no answer due.
constexpr int64_t kIdleTimeoutNs = 300 * kNanosPerSecond;
// Heartbeats of a link per io timeout.
constexpr int64_t kHeartbeatsPerTimeout = 3;

// "2006-01-02T15:04:05.999999999Z"
std::string Rfc3339(int64_t wall_ns) {
  const time_t seconds = static_cast<time_t>(wall_ns / kNanosPerSecond);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  const size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string fraction = std::to_string(kNanosPerSecond + wall_ns % kNanosPerSecond).substr(1);
  return std::string(text, size) + "." + fraction + "Z";
}

}  // namespace

PeerSession::PeerSession(PeerDirectory* directory, ProtocolHost* host,
                         std::shared_ptr<const PeerInfo> info)
    : directory_(directory),
      host_(host),
      info_(std::move(info)),
      received_ns_(directory->context().loop->NowNs()),
      self_(std::make_shared<PeerSession*>(this)) {
  ArmIdleTimer();
  if (!info_->certificate.has_value()) return;
  if (!info_->certificate->unconfirmed_names.empty()) ConfirmAddressOfPeer();
}

// Until it is known, what the peer says waits as behind a request that is not answered.
void PeerSession::ConfirmAddressOfPeer() {
  waiting_ = true;
  std::weak_ptr<PeerSession*> session = self_;
  ConfirmAddressLater(*info_->certificate, info_->mailbox, [session](const absl::Status& status) {
    const auto alive = session.lock();
    if (alive == nullptr) return;
    PeerSession* const self = *alive;
    self->waiting_ = false;
    if (status.ok()) return self->Process();
    LogWarn("rejected connection on peer endpoint", {{"remote-addr", self->info_->name},
                                                     {"server-name", ""},
                                                     {"error", std::string(status.message())}});
    self->host_->AbortSoon();
  });
}

void PeerSession::ArmIdleTimer() {
  EventLoop* const loop = context().loop;
  timer_ = loop->RunAt(received_ns_ + kIdleTimeoutNs, [this, loop] {
    if (waiting_) received_ns_ = loop->NowNs();
    if (loop->NowNs() - received_ns_ >= kIdleTimeoutNs) return host_->AbortSoon();
    ArmIdleTimer();
  });
}

Protocol::Verdict PeerSession::Receive(std::string_view bytes) {
  received_ns_ = context().loop->NowNs();
  if (closing_ || encoder_.has_value()) return Verdict::kContinue;
  input_.append(bytes);
  Process();
  return Verdict::kContinue;
}

void PeerSession::Process() {
  // An answer given from inside comes back here; the loop below goes on with it.
  if (processing_) return;
  processing_ = true;
  std::string_view rest = input_;
  bool more = true;
  while (more && !waiting_ && !closing_ && !encoder_.has_value() &&
         (snapshot_ == nullptr || !snapshot_->full())) {
    switch (parser_.Next(&rest)) {
      case Http1Parser::Result::kNeedMore:
        more = false;
        break;
      case Http1Parser::Result::kContinue:
        break;
      case Http1Parser::Result::kHead:
        OnHead();
        break;
      case Http1Parser::Result::kBody:
        OnBody(parser_.body());
        CheckSnapshot();
        break;
      case Http1Parser::Result::kRequest:
        OnRequest();
        break;
      case Http1Parser::Result::kError:
        AnswerText(parser_.error_status(), HttpReason(parser_.error_status()));
        closing_ = true;
        break;
    }
  }
  if (closing_ || encoder_.has_value()) rest = {};
  input_.erase(0, input_.size() - rest.size());
  processing_ = false;
  if (peer_closed_ && !waiting_) closing_ = true;
  host_->FlushSoon();
}

void PeerSession::OnHead() {
  const HttpRequest& head = parser_.request();
  answered_ = false;
  head_only_ = head.method == "HEAD";
  route_ = Route::kDiscard;
  body_.clear();
  if (head.path == kProbingPath) {
    HttpResponse response;
    response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
    response.body =
        "{\"OK\":true,\"Now\":\"" + Rfc3339(context().options->clock->WallNs()) + "\"}\n";
    Answer(std::move(response));
  } else if (head.path.rfind(std::string(kStreamPrefix) + "/", 0) == 0 ||
             head.path == kStreamPrefix) {
    OnStreamHead(head);
  } else if (head.path == kRaftPath) {
    if (!RefusePost(head)) route_ = Route::kMessage;
  } else if (head.path == kSnapshotPath) {
    if (!RefusePost(head)) {
      route_ = Route::kSnapshot;
      snapshot_ = std::make_unique<SnapshotReceiver>(&context(), [this] { OnSnapshotProgress(); });
    }
  } else {
    route_ = Route::kHandler;
  }
  if (parser_.expects_continue() && !answered_) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
}

void PeerSession::OnBody(std::string_view piece) {
  switch (route_) {
    case Route::kDiscard:
    case Route::kStream:
      return;
    case Route::kSnapshot:
      return snapshot_->Append(piece);
    case Route::kMessage:
    case Route::kHandler: {
      body_.append(piece);
      const uint64_t bytes_max = route_ == Route::kMessage ? context().options->message_bytes_max
                                                           : context().options->http_body_bytes_max;
      if (body_.size() <= bytes_max) return;
      AnswerText(413, HttpReason(413));
      closing_ = true;
      return;
    }
  }
}

void PeerSession::OnRequest() {
  switch (route_) {
    case Route::kDiscard:
    case Route::kStream:
      return;
    case Route::kMessage:
      return OnMessageRequest();
    case Route::kSnapshot:
      waiting_ = true;
      return snapshot_->Finish([this](const absl::Status& status) { OnSnapshotStored(status); });
    case Route::kHandler:
      return HandOut();
  }
}

// --- streams

void PeerSession::OnStreamHead(const HttpRequest& head) {
  if (head.method != "GET") {
    HttpResponse refusal = PlainTextResponse(405, "Method Not Allowed");
    refusal.headers.emplace_back("Allow", "GET");
    return Answer(std::move(refusal));
  }
  if (const auto refusal = CheckIdentity(head.headers, context().identity)) {
    LogWarn("refused a peer's stream",
            {{"remote-peer-id", FindHeader(head.headers, "x-server-from")},
             {"remote-address", info_->name},
             {"error", refusal->text}});
    return AnswerText(refusal->status, refusal->text);
  }
  const size_t slash = head.path.rfind('/');
  const std::string_view folder = std::string_view(head.path).substr(0, slash);
  const bool message = folder == "/raft/stream/message";
  if (!message && folder != "/raft/stream/msgapp") return AnswerText(404, "invalid path");
  const auto id = ParseHexId(std::string_view(head.path).substr(slash + 1));
  if (!id.has_value()) return AnswerText(404, "invalid from");
  const MemberId from(*id);
  if (directory_->IsRemoved(from)) return AnswerText(410, "removed member");
  Peer* const peer = directory_->Find(from);
  if (peer == nullptr || peer->role() == Peer::Role::kRemote) {
    directory_->AddRemote(from, FindHeader(head.headers, "x-peerurls"));
    return AnswerText(404, "error sender not found");
  }
  if (FindHeader(head.headers, "x-raft-to") != HexId(context().identity.self.value())) {
    return AnswerText(412, "to field mismatch");
  }
  StartStream(message ? StreamKind::kMessage : StreamKind::kAppend, peer);
}

void PeerSession::StartStream(StreamKind kind, Peer* peer) {
  route_ = Route::kStream;
  answered_ = true;
  out_ += "HTTP/1.1 200 OK\r\nX-Server-Version: " + context().identity.server_version +
          "\r\nX-Etcd-Cluster-ID: " + HexId(context().identity.cluster.value()) +
          "\r\nDate: " + HttpDate(context().options->clock->WallNs()) +
          "\r\nTransfer-Encoding: chunked\r\n\r\n";
  kind_ = kind;
  context().loop->CancelTimer(timer_);
  encoder_.emplace(kind);
  moved_ns_ = context().loop->NowNs();
  CheckStream();
  peer_ = peer;
  peer_->Attach(kind, this);
}

// Every third of the io timeout: keeps the link alive, and cuts it when nothing moves any more.
void PeerSession::CheckStream() {
  const int64_t now_ns = context().loop->NowNs();
  const uint64_t sent_bytes = host_->sent_bytes();
  if (sent_bytes != sent_bytes_seen_ || sent_bytes == pulled_bytes_) {
    sent_bytes_seen_ = sent_bytes;
    moved_ns_ = now_ns;
  }
  if (now_ns - moved_ns_ >= context().options->io_timeout_ns) return host_->AbortSoon();
  heartbeat_due_ = true;
  host_->FlushSoon();
  timer_ = context().loop->RunAt(now_ns + context().options->io_timeout_ns / kHeartbeatsPerTimeout,
                                 [this] { CheckStream(); });
}

void PeerSession::Cut() {
  peer_ = nullptr;
  host_->AbortSoon();
}

// --- POST

bool PeerSession::RefusePost(const HttpRequest& head) {
  if (head.method != "POST") {
    HttpResponse refusal = PlainTextResponse(405, "Method Not Allowed");
    refusal.headers.emplace_back("Allow", "POST");
    Answer(std::move(refusal));
    return true;
  }
  if (const auto refusal = CheckIdentity(head.headers, context().identity)) {
    AnswerText(refusal->status, refusal->text);
    return true;
  }
  const auto from = ParseHexId(FindHeader(head.headers, "x-server-from"));
  if (!from.has_value()) return false;
  if (directory_->IsRemoved(MemberId(*from))) {
    AnswerText(403, "cannot process message from removed member");
    return true;
  }
  if (directory_->Find(MemberId(*from)) == nullptr) {
    directory_->AddRemote(MemberId(*from), FindHeader(head.headers, "x-peerurls"));
  }
  return false;
}

void PeerSession::OnMessageRequest() {
  const size_t bytes = body_.size();
  absl::StatusOr<PeerMessage> message =
      DecodeMessage(Bytes::FromString(std::exchange(body_, std::string())));
  if (!message.ok()) return AnswerText(400, "error unmarshalling raft message");
  if (directory_->IsRemoved(message->from)) {
    return AnswerText(403, "cannot process message from removed member");
  }
  Deliver(*std::move(message), bytes);
  HttpResponse taken;
  taken.status = 204;
  Answer(std::move(taken));
}

void PeerSession::Deliver(PeerMessage message, size_t bytes) {
  const MemberId from = message.from;
  std::vector<PeerMessage> messages;
  messages.push_back(std::move(message));
  if (Peer* const peer = directory_->Find(from); peer != nullptr) {
    return peer->Deliver(std::move(messages), bytes);
  }
  if (messages.front().to != context().identity.self) return;
  context().events->OnMessages(from, std::move(messages));
}

void PeerSession::OnSnapshotProgress() {
  CheckSnapshot();
  Process();
}

// A transfer that can only fail is refused now, not after its last gigabyte.
void PeerSession::CheckSnapshot() {
  if (snapshot_ == nullptr || waiting_ || snapshot_->status().ok()) return;
  closing_ = true;
  OnSnapshotStored(snapshot_->status());
}

void PeerSession::OnSnapshotStored(const absl::Status& status) {
  waiting_ = false;
  route_ = Route::kDiscard;
  const std::unique_ptr<SnapshotReceiver> snapshot = std::move(snapshot_);
  if (!snapshot->have_message()) {
    AnswerText(400, "failed to decode raft message (" + std::string(status.message()) + ")");
  } else if (absl::IsFailedPrecondition(status)) {
    AnswerText(400, std::string(status.message()));
  } else if (!status.ok()) {
    AnswerText(500, "failed to save KV snapshot (" + std::string(status.message()) + ")");
  } else {
    Deliver(snapshot->message(), snapshot->bytes());
    HttpResponse taken;
    taken.status = 204;
    Answer(std::move(taken));
  }
  Process();
}

// --- everything else

void PeerSession::HandOut() {
  waiting_ = true;
  parser_.request().body = std::move(body_);
  std::weak_ptr<PeerSession*> session = self_;
  const auto answer = [](PeerSession* self, HttpResponse response) {
    self->waiting_ = false;
    self->Answer(std::move(response));
    self->Process();
  };
  directory_->http()(std::move(parser_.request()),
                     [session, answer, mailbox = info_->mailbox](HttpResponse response) {
                       if (Mailbox::OfThisThread() == mailbox.get()) {
                         if (const auto alive = session.lock()) answer(*alive, std::move(response));
                         return;
                       }
                       auto held = std::make_shared<HttpResponse>(std::move(response));
                       mailbox->RunOnLoop([session, answer, held] {
                         if (const auto alive = session.lock()) answer(*alive, std::move(*held));
                       });
                     });
}

void PeerSession::AnswerText(int status, std::string_view text) {
  Answer(PlainTextResponse(status, text));
}

void PeerSession::Answer(HttpResponse response) {
  answered_ = true;
  if (route_ != Route::kHandler) {
    response.headers.emplace_back("X-Server-Version", context().identity.server_version);
    response.headers.emplace_back("X-Etcd-Cluster-ID", HexId(context().identity.cluster.value()));
  }
  if (!parser_.keep_alive()) closing_ = true;
  AppendHttp1Response(response, head_only_ ? BodyUse::kLeftOut : BodyUse::kSent,
                      closing_ ? AfterAnswer::kClose : AfterAnswer::kKeepAlive,
                      context().options->clock->WallNs(), &out_);
  host_->FlushSoon();
}

// --- Protocol

void PeerSession::Pull(OutputBuffer* out, size_t bytes_max) {
  const size_t before = out->size();
  if (!out_.empty()) out->Append(Bytes::FromString(std::exchange(out_, std::string())));
  if (encoder_.has_value() && peer_ != nullptr) {
    peer_->PullStream(kind_, &*encoder_, out, bytes_max);
    if (std::exchange(heartbeat_due_, false)) {
      OutputBuffer heartbeat;
      encoder_->Encode(LinkHeartbeat(), &heartbeat);
      AppendChunk(&heartbeat, out);
    }
  }
  pulled_bytes_ += out->size() - before;
}

bool PeerSession::Finished() const { return closing_ && out_.empty() && !encoder_.has_value(); }

bool PeerSession::Overloaded() const {
  return input_.size() > kInputBytesMax || (snapshot_ != nullptr && snapshot_->full());
}

void PeerSession::OnPeerClosed() {
  peer_closed_ = true;
  // Nobody reads the stream any more.
  if (encoder_.has_value()) return host_->AbortSoon();
  if (!waiting_) closing_ = true;
}

void PeerSession::OnLost() {
  self_.reset();
  snapshot_.reset();
  context().loop->CancelTimer(timer_);
  if (peer_ != nullptr) std::exchange(peer_, nullptr)->Detach(kind_, this);
}

}  // namespace quorate::transport
