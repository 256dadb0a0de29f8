#include "transport/peer/stream_codec.h"

#include <algorithm>
#include <array>
#include <utility>

namespace quorate::transport {
namespace {

enum FrameType : char { kLinkHeartbeat = 0, kContinuation = 1, kWhole = 2 };

constexpr size_t kNumberBytes = 8;
// A part that is larger grows with what has really come.
constexpr size_t kReserveBytesMax = 1 << 20;

void AppendNumber(uint64_t value, OutputBuffer* out) {
  std::array<char, kNumberBytes> text;
  for (size_t i = 0; i < text.size(); ++i) {
    text[text.size() - 1 - i] = static_cast<char>(value >> (8 * i));
  }
  out->Append(std::string_view(text.data(), text.size()));
}

uint64_t Number(const Bytes& part) {
  uint64_t value = 0;
  for (const char c : part.view()) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

absl::Status Broken(std::string_view what) {
  return absl::InvalidArgumentError("peer stream: " + std::string(what));
}

}  // namespace

std::string_view StreamName(StreamKind kind) {
  return kind == StreamKind::kMessage ? "message" : "msgapp";
}

PeerMessage LinkHeartbeat() { return PeerMessage(); }

bool IsLinkHeartbeat(const PeerMessage& message) {
  return message.type == raftpb::MsgHeartbeat && message.from == MemberId() &&
         message.to == MemberId();
}

void StreamEncoder::EncodeWhole(const PeerMessage& message, OutputBuffer* out) {
  AppendNumber(EncodedMessageBytes(message), out);
  EncodeMessage(message, out);
}

void StreamEncoder::Encode(const PeerMessage& message, OutputBuffer* out) {
  if (kind_ == StreamKind::kMessage) return EncodeWhole(message, out);
  if (IsLinkHeartbeat(message)) {
    const char type = kLinkHeartbeat;
    return out->Append(std::string_view(&type, 1));
  }
  if (message.index == index_ && message.log_term == term_ && message.term == term_) {
    const char type = kContinuation;
    out->Append(std::string_view(&type, 1));
    AppendNumber(message.entries.size(), out);
    for (const Entry& entry : message.entries) {
      AppendNumber(EncodedEntryBytes(entry), out);
      EncodeEntry(entry, out);
    }
    AppendNumber(message.commit.value(), out);
    index_ = LogIndex(index_.value() + message.entries.size());
    return;
  }
  const char type = kWhole;
  out->Append(std::string_view(&type, 1));
  EncodeWhole(message, out);
  term_ = message.term;
  index_ = message.entries.empty() ? message.index : message.entries.back().index;
}

void StreamDecoder::StartFrame() {
  if (kind_ == StreamKind::kMessage) return Expect(State::kMessageSize, kNumberBytes);
  Expect(State::kType, 1);
}

void StreamDecoder::Expect(State state, uint64_t bytes) {
  state_ = state;
  wanted_ = bytes;
}

absl::Status StreamDecoder::Feed(std::string_view data, std::vector<PeerMessage>* messages) {
  // A part of size zero needs no data to be whole.
  while (!data.empty() || wanted_ == 0) {
    const size_t taken = std::min<uint64_t>(wanted_ - partial_.size(), data.size());
    const std::string_view piece = data.substr(0, taken);
    data.remove_prefix(taken);
    Bytes part;
    if (partial_.empty() && taken == wanted_) {
      part = Bytes::Copy(piece);
    } else {
      if (partial_.empty()) partial_.reserve(std::min<uint64_t>(wanted_, kReserveBytesMax));
      partial_.append(piece);
      if (partial_.size() < wanted_) return absl::OkStatus();
      part = Bytes::FromString(std::exchange(partial_, std::string()));
    }
    if (const absl::Status status = OnPart(part, messages); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status StreamDecoder::OnPart(const Bytes& part, std::vector<PeerMessage>* messages) {
  switch (state_) {
    case State::kType:
      switch (part.view().front()) {
        case kLinkHeartbeat:
          StartFrame();
          return absl::OkStatus();
        case kContinuation:
          Expect(State::kCount, kNumberBytes);
          return absl::OkStatus();
        case kWhole:
          Expect(State::kMessageSize, kNumberBytes);
          return absl::OkStatus();
        default:
          return Broken("unknown type of a frame");
      }
    case State::kMessageSize:
      return OnSize(Number(part), State::kMessage);
    case State::kMessage:
      return OnMessage(part, messages);
    case State::kCount:
      append_ = PeerMessage();
      append_.type = raftpb::MsgApp;
      append_.from = ends_.from;
      append_.to = ends_.to;
      append_.term = append_.log_term = term_;
      append_.index = index_;
      entries_left_ = Number(part);
      append_bytes_ = 0;
      AfterEntry();
      return absl::OkStatus();
    case State::kEntrySize:
      return OnSize(Number(part), State::kEntry);
    case State::kEntry:
      return OnEntry(part);
    case State::kCommit:
      append_.commit = LogIndex(Number(part));
      messages->push_back(std::move(append_));
      StartFrame();
      return absl::OkStatus();
  }
  return Broken("unknown state");
}

absl::Status StreamDecoder::OnSize(uint64_t size, State next) {
  if (size > bytes_max_) return Broken("a frame of " + std::to_string(size) + " bytes");
  Expect(next, size);
  return absl::OkStatus();
}

absl::Status StreamDecoder::OnMessage(const Bytes& part, std::vector<PeerMessage>* messages) {
  absl::StatusOr<PeerMessage> message = DecodeMessage(part);
  if (!message.ok()) return message.status();
  StartFrame();
  if (IsLinkHeartbeat(*message)) return absl::OkStatus();
  if (kind_ == StreamKind::kAppend) {
    term_ = message->term;
    index_ = message->entries.empty() ? message->index : message->entries.back().index;
  }
  messages->push_back(*std::move(message));
  return absl::OkStatus();
}

absl::Status StreamDecoder::OnEntry(const Bytes& part) {
  absl::StatusOr<Entry> entry = DecodeEntry(part);
  if (!entry.ok()) return entry.status();
  append_bytes_ += part.size() + sizeof(Entry);
  if (append_bytes_ > bytes_max_) return Broken("an append of too many entries");
  append_.entries.push_back(*std::move(entry));
  index_ = index_.Next();
  --entries_left_;
  AfterEntry();
  return absl::OkStatus();
}

void StreamDecoder::AfterEntry() {
  if (entries_left_ > 0) return Expect(State::kEntrySize, kNumberBytes);
  Expect(State::kCommit, kNumberBytes);
}

}  // namespace quorate::transport
