#include "transport/peer/peer.h"

#include <charconv>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/check.h"
#include "base/log.h"
#include "transport/peer/pipeline.h"
#include "transport/peer/prober.h"
#include "transport/peer/snapshot_sender.h"
#include "transport/peer/stream_reader.h"

namespace quorate::transport {
namespace {

constexpr int kNoContent = 204;
constexpr int kForbidden = 403;
constexpr int kGone = 410;

// A chunk of a streamed body is not made larger than this by putting messages together.
constexpr size_t kChunkBytes = 64 * 1024;

}  // namespace

std::string PeerRequestHead(std::string_view method, std::string_view path, const PeerUrl& url,
                            const HeaderList& headers, std::string_view body_fields) {
  std::string head;
  head.append(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: ");
  head.append(url.authority()).append("\r\n");
  for (const auto& [name, value] : headers) {
    head.append(name).append(": ").append(value).append("\r\n");
  }
  head.append(body_fields).append("\r\n");
  return head;
}

Peer::Peer(const LinkContext* context, MemberId id, Role role, std::vector<PeerUrl> urls)
    : context_(context),
      id_(id),
      role_(role),
      urls_(std::move(urls)),
      queue_(PeerQueue::Limits{context->options->queue_messages_max,
                               context->options->queue_bytes_max}),
      pipeline_(std::make_unique<Pipeline>(this)),
      snapshot_(std::make_unique<SnapshotSender>(this)) {
  QR_CHECK(!urls_.empty());
  if (role == Role::kRemote) return;
  readers_.push_back(std::make_unique<StreamReader>(this, StreamKind::kMessage));
  readers_.push_back(std::make_unique<StreamReader>(this, StreamKind::kAppend));
  prober_ = std::make_unique<Prober>(this);
}

Peer::~Peer() = default;

void Peer::Start() {
  for (const auto& reader : readers_) reader->Start();
  if (prober_ != nullptr) prober_->Start();
  OnQueued();
}

void Peer::Stop() {
  stopped_ = true;
  for (const auto& reader : readers_) reader->Stop();
  if (prober_ != nullptr) prober_->Stop();
  pipeline_->Stop();
  snapshot_->Stop();
  for (StreamWriter*& writer : writers_) {
    if (writer != nullptr) std::exchange(writer, nullptr)->Cut();
  }
  queue_.Clear();
  active_since_ns_ = 0;
}

void Peer::SetUrls(std::vector<PeerUrl> urls) {
  QR_CHECK(!urls.empty());
  if (stopped_) return;
  urls_ = std::move(urls);
  picked_url_ = 0;
  for (const auto& reader : readers_) reader->OnNewUrls();
}

void Peer::OnQueued() {
  if (stopped_) return;
  queue_.Collect();
  StreamWriter* const appends = writer(StreamKind::kAppend);
  StreamWriter* const others = writer(StreamKind::kMessage);
  if (appends != nullptr && !queue_.Empty(PeerQueue::Take::kAppendsOnly)) appends->WriteSoon();
  if (others != nullptr) {
    const auto take = appends != nullptr ? PeerQueue::Take::kAllButAppends : PeerQueue::Take::kAll;
    if (!queue_.Empty(take)) others->WriteSoon();
    return;
  }
  pipeline_->Pump(appends != nullptr ? PeerQueue::Take::kAllButAppends : PeerQueue::Take::kAll);
}

void Peer::SendSnapshot(PeerMessage message, std::unique_ptr<SnapshotSource> source,
                        std::function<void(absl::Status)> done) {
  if (stopped_ || snapshot_->busy()) {
    return done(absl::UnavailableError(stopped_ ? "the peer was removed"
                                                : "another snapshot is on its way to this peer"));
  }
  snapshot_->Send(message, std::move(source), std::move(done));
}

void Peer::Attach(StreamKind kind, StreamWriter* writer_of_kind) {
  StreamWriter* const before = std::exchange(writer(kind), writer_of_kind);
  if (before != nullptr) {
    before->Cut();
  } else {
    ++streams_written_;
  }
  Activate();
  // It lives, so our own attempts need not wait.
  for (const auto& reader : readers_) reader->RetryNow();
  OnQueued();
}

void Peer::Detach(StreamKind kind, StreamWriter* writer_of_kind) {
  if (stopped_ || writer(kind) != writer_of_kind) return;
  writer(kind) = nullptr;
  --streams_written_;
  Deactivate("stream " + std::string(StreamName(kind)), "the peer has hung up or takes no more");
  // What was written may or may not have arrived, and what waits may be old: raft says it anew.
  DropQueue();
}

void Peer::PullStream(StreamKind kind, StreamEncoder* encoder, OutputBuffer* out,
                      size_t bytes_max) {
  queue_.Collect();
  PeerQueue::Take take = PeerQueue::Take::kAppendsOnly;
  if (kind == StreamKind::kMessage) {
    take = writer(StreamKind::kAppend) != nullptr ? PeerQueue::Take::kAllButAppends
                                                  : PeerQueue::Take::kAll;
  }
  while (out->size() < bytes_max && !queue_.Empty(take)) {
    while (scratch_.size() < kChunkBytes && !queue_.Empty(take)) {
      encoder->Encode(queue_.Pop(take), &scratch_);
    }
    CountSent(scratch_.size());
    AppendChunk(&scratch_, out);
  }
}

void AppendChunk(OutputBuffer* chunk, OutputBuffer* out) {
  char text[16];
  const auto size = std::to_chars(text, text + sizeof(text), chunk->size(), 16);
  out->Append(std::string_view(text, static_cast<size_t>(size.ptr - text)));
  out->Append(std::string_view("\r\n"));
  out->Append(chunk);
  out->Append(std::string_view("\r\n"));
}

void Peer::Deliver(std::vector<PeerMessage> messages, size_t bytes) {
  Add(&received_bytes_, bytes);
  const size_t all = messages.size();
  std::erase_if(messages, [this](const PeerMessage& message) {
    return message.to != context_->identity.self;
  });
  if (messages.size() != all) {
    Add(&received_failures_, all - messages.size());
    LogWarn("dropped raft messages of a peer that are for another member",
            {{"remote-peer-id", HexId(id_.value())},
             {"messages", static_cast<uint64_t>(all - messages.size())}});
  }
  if (!messages.empty()) context_->events->OnMessages(id_, std::move(messages));
}

void Peer::Activate() {
  if (active_since_ns() != 0) return;
  active_since_ns_ = context_->loop->NowNs();
  failure_logged_ = false;
  LogInfo("peer became active", {{"peer-id", HexId(id_.value())}});
}

void Peer::Deactivate(std::string_view what, std::string_view reason) {
  const bool was_active = active_since_ns_.exchange(0) != 0;
  if (was_active) {
    Add(&disconnects_, 1);
    LogWarn("peer became inactive (message send to peer failed)",
            {{"peer-id", HexId(id_.value())}, {"what", what}, {"error", reason}});
  } else if (!std::exchange(failure_logged_, true)) {
    LogWarn("peer cannot be reached; trying again until it can",
            {{"peer-id", HexId(id_.value())}, {"what", what}, {"error", reason}});
  }
}

void Peer::DropQueue() {
  CountDropped(queue_.Clear());
  ReportUnreachable();
}

void Peer::ReportUnreachable() {
  if (unreachable_reported_ || stopped_) return;
  unreachable_reported_ = true;
  context_->events->OnUnreachable(id_);
  // Captured by value of what outlives the peer: peers are destroyed after their turn.
  context_->loop->AtEndOfTurn([this] { unreachable_reported_ = false; });
}

bool Peer::OnPostAnswer(std::string_view what, int status, std::string_view body) {
  if (status == kNoContent) return true;
  if (status == kForbidden || status == kGone) context_->events->OnRemoved(id_);
  Deactivate(what, "status " + std::to_string(status) + ": " +
                       std::string(absl::StripTrailingAsciiWhitespace(
                           absl::string_view(body.data(), body.size()))));
  return false;
}

PeerStats Peer::stats() const {
  PeerStats stats;
  stats.id = id_;
  stats.active_since_ns = active_since_ns();
  stats.active = stats.active_since_ns != 0;
  stats.streams_written = streams_written_.load(std::memory_order_relaxed);
  stats.streams_read = streams_read_.load(std::memory_order_relaxed);
  stats.disconnects = disconnects_.load(std::memory_order_relaxed);
  stats.sent_bytes = sent_bytes_.load(std::memory_order_relaxed);
  stats.received_bytes = received_bytes_.load(std::memory_order_relaxed);
  stats.sent_failures = sent_failures_.load(std::memory_order_relaxed);
  stats.received_failures = received_failures_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace quorate::transport
