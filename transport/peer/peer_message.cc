#include "transport/peer/peer_message.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"

namespace quorate::transport {
namespace {

// Field numbers of proto/raftpb.proto.
enum EntryField : uint32_t { kEntryType = 1, kEntryTerm = 2, kEntryIndex = 3, kEntryData = 4 };
enum MessageField : uint32_t {
  kType = 1,
  kTo = 2,
  kFrom = 3,
  kTerm = 4,
  kLogTerm = 5,
  kIndex = 6,
  kEntries = 7,
  kCommit = 8,
  kSnapshot = 9,
  kReject = 10,
  kRejectHint = 11,
  kContext = 12,
};
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

constexpr int kVarintBytesMax = 10;
constexpr int kShortVarintBytesMax = 5;  // of a tag or a length, as the protobuf library has it

// --- writing. All field numbers are below 16, so a tag is one byte.

size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

class Small {
 public:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_[size_++] = static_cast<char>(value | 0x80);
    text_[size_++] = static_cast<char>(value);
  }
  void Tag(uint32_t field, WireType type) { text_[size_++] = static_cast<char>(field << 3 | type); }
  void Number(uint32_t field, uint64_t value) {
    if (value == 0) return;
    Tag(field, kVarint);
    Varint(value);
  }
  std::string_view view() const { return {text_, size_}; }

 private:
  char text_[8 * (1 + kVarintBytesMax)];  // the most that is written between two runs of bytes
  size_t size_ = 0;
};

size_t NumberBytes(uint64_t value) { return value == 0 ? 0 : 1 + VarintBytes(value); }
size_t RunBytes(size_t size) { return 1 + VarintBytes(size) + size; }

// --- reading

class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}

  bool done() const { return rest_.empty(); }

  bool Varint(uint64_t* value, int bytes_max = kVarintBytesMax) {
    *value = 0;
    for (int i = 0; i < bytes_max && !rest_.empty(); ++i) {
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if (byte < 0x80) return true;
    }
    return false;
  }
  // Field number and wire type of what follows.
  bool Tag(uint32_t* field, uint32_t* wire_type) {
    uint64_t tag = 0;
    if (!Varint(&tag, kShortVarintBytesMax) || tag > std::numeric_limits<uint32_t>::max())
      return false;
    *field = static_cast<uint32_t>(tag >> 3);
    *wire_type = static_cast<uint32_t>(tag & 7);
    return *field != 0;
  }
  bool Run(std::string_view* bytes) {
    uint64_t size = 0;
    if (!Varint(&size, kShortVarintBytesMax) || size > rest_.size()) return false;
    *bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  bool Skip(uint32_t wire_type) {
    uint64_t value = 0;
    std::string_view bytes;
    switch (wire_type) {
      case kVarint:
        return Varint(&value);
      case kLengthDelimited:
        return Run(&bytes);
      case kFixed64:
        return Drop(8);
      case kFixed32:
        return Drop(4);
      default:
        return false;
    }
  }

 private:
  bool Drop(size_t count) {
    if (count > rest_.size()) return false;
    rest_.remove_prefix(count);
    return true;
  }
  std::string_view rest_;
};

Bytes SliceOf(const Bytes& whole, std::string_view part) {
  if (part.empty()) return Bytes();
  return whole.Slice(static_cast<size_t>(part.data() - whole.data()), part.size());
}

bool ReadEntry(const Bytes& whole, std::string_view part, Entry* entry) {
  Reader reader(part);
  while (!reader.done()) {
    uint32_t field = 0;
    uint32_t wire_type = 0;
    uint64_t number = 0;
    if (!reader.Tag(&field, &wire_type)) return false;
    if (field == kEntryData && wire_type == kLengthDelimited) {
      std::string_view data;
      if (!reader.Run(&data)) return false;
      entry->data = SliceOf(whole, data);
    } else if (field >= kEntryType && field <= kEntryIndex && wire_type == kVarint) {
      if (!reader.Varint(&number)) return false;
      if (field == kEntryTerm) entry->term = Term(number);
      if (field == kEntryIndex) entry->index = LogIndex(number);
      if (field == kEntryType) {
        if (number > static_cast<uint64_t>(EntryType::kConfChangeV2)) return false;
        entry->type = static_cast<EntryType>(number);
      }
    } else if (!reader.Skip(wire_type)) {
      return false;
    }
  }
  return true;
}

bool SetNumber(uint32_t field, uint64_t number, PeerMessage* message) {
  switch (field) {
    case kType:
      if (number > std::numeric_limits<int>::max() ||
          !raftpb::MessageType_IsValid(static_cast<int>(number))) {
        return false;
      }
      message->type = static_cast<raftpb::MessageType>(number);
      return true;
    case kTo:
      message->to = MemberId(number);
      return true;
    case kFrom:
      message->from = MemberId(number);
      return true;
    case kTerm:
      message->term = Term(number);
      return true;
    case kLogTerm:
      message->log_term = Term(number);
      return true;
    case kIndex:
      message->index = LogIndex(number);
      return true;
    case kCommit:
      message->commit = LogIndex(number);
      return true;
    case kReject:
      message->reject = number != 0;
      return true;
    case kRejectHint:
      message->reject_hint = LogIndex(number);
      return true;
    default:
      return true;  // of a later etcd, or never sent
  }
}

bool SetRun(uint32_t field, const Bytes& whole, std::string_view run, PeerMessage* message) {
  switch (field) {
    case kEntries:
      message->entries.emplace_back();
      return ReadEntry(whole, run, &message->entries.back());
    case kContext:
      message->context = SliceOf(whole, run);
      return true;
    case kSnapshot: {
      raftpb::Snapshot snapshot;
      if (run.size() > std::numeric_limits<int>::max() ||
          !snapshot.ParseFromArray(run.data(), static_cast<int>(run.size()))) {
        return false;
      }
      // Before 3.7 every message carries one, empty.
      if (snapshot.metadata().index() != 0) message->snapshot = std::move(snapshot);
      return true;
    }
    default:
      return true;
  }
}

}  // namespace

size_t EncodedEntryBytes(const Entry& entry) {
  return NumberBytes(static_cast<uint64_t>(entry.type)) + NumberBytes(entry.term.value()) +
         NumberBytes(entry.index.value()) + (entry.data.empty() ? 0 : RunBytes(entry.data.size()));
}

void EncodeEntry(const Entry& entry, OutputBuffer* out) {
  Small head;
  head.Number(kEntryType, static_cast<uint64_t>(entry.type));
  head.Number(kEntryTerm, entry.term.value());
  head.Number(kEntryIndex, entry.index.value());
  if (!entry.data.empty()) {
    head.Tag(kEntryData, kLengthDelimited);
    head.Varint(entry.data.size());
  }
  out->Append(head.view());
  out->Append(entry.data);
}

size_t EncodedMessageBytes(const PeerMessage& message) {
  size_t bytes = 1 + VarintBytes(static_cast<uint64_t>(message.type)) +
                 NumberBytes(message.to.value()) + NumberBytes(message.from.value()) +
                 NumberBytes(message.term.value()) + NumberBytes(message.log_term.value()) +
                 NumberBytes(message.index.value()) + NumberBytes(message.commit.value()) +
                 NumberBytes(message.reject ? 1 : 0) + NumberBytes(message.reject_hint.value());
  for (const Entry& entry : message.entries) bytes += RunBytes(EncodedEntryBytes(entry));
  if (message.snapshot.has_value()) bytes += RunBytes(message.snapshot->ByteSizeLong());
  if (!message.context.empty()) bytes += RunBytes(message.context.size());
  return bytes;
}

void EncodeMessage(const PeerMessage& message, OutputBuffer* out) {
  Small head;
  head.Tag(kType, kVarint);
  head.Varint(static_cast<uint64_t>(message.type));
  head.Number(kTo, message.to.value());
  head.Number(kFrom, message.from.value());
  head.Number(kTerm, message.term.value());
  head.Number(kLogTerm, message.log_term.value());
  head.Number(kIndex, message.index.value());
  out->Append(head.view());
  for (const Entry& entry : message.entries) {
    Small prefix;
    prefix.Tag(kEntries, kLengthDelimited);
    prefix.Varint(EncodedEntryBytes(entry));
    out->Append(prefix.view());
    EncodeEntry(entry, out);
  }
  Small middle;
  middle.Number(kCommit, message.commit.value());
  if (message.snapshot.has_value()) {
    const std::string snapshot = message.snapshot->SerializeAsString();
    middle.Tag(kSnapshot, kLengthDelimited);
    middle.Varint(snapshot.size());
    out->Append(middle.view());
    out->Append(snapshot);
    middle = Small();
  }
  middle.Number(kReject, message.reject ? 1 : 0);
  middle.Number(kRejectHint, message.reject_hint.value());
  if (!message.context.empty()) {
    middle.Tag(kContext, kLengthDelimited);
    middle.Varint(message.context.size());
  }
  out->Append(middle.view());
  out->Append(message.context);
}

absl::StatusOr<Entry> DecodeEntry(const Bytes& bytes) {
  Entry entry;
  if (!ReadEntry(bytes, bytes.view(), &entry)) {
    return absl::InvalidArgumentError("these bytes are no raft entry");
  }
  return entry;
}

absl::StatusOr<PeerMessage> DecodeMessage(const Bytes& bytes) {
  PeerMessage message;
  message.type = raftpb::MsgHup;  // what absence means
  Reader reader(bytes.view());
  while (!reader.done()) {
    uint32_t field = 0;
    uint32_t wire_type = 0;
    uint64_t number = 0;
    std::string_view run;
    bool good = reader.Tag(&field, &wire_type);
    switch (wire_type) {
      case kVarint:
        good = good && reader.Varint(&number) && SetNumber(field, number, &message);
        break;
      case kLengthDelimited:
        good = good && reader.Run(&run) && SetRun(field, bytes, run, &message);
        break;
      default:
        good = good && reader.Skip(wire_type);
    }
    if (!good) return absl::InvalidArgumentError("these bytes are no raft message");
  }
  return message;
}

}  // namespace quorate::transport
