#include "transport/peer/peer_message.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/test_seed.h"
#include "transport/collected_bytes.h"
#include "transport/peer/stream_codec.h"

namespace quorate::transport {
namespace {

std::string Encoded(const PeerMessage& message) {
  OutputBuffer out;
  EncodeMessage(message, &out);
  const std::string bytes = CollectedBytes(&out);
  CHECK(bytes.size() == EncodedMessageBytes(message));
  return bytes;
}

raftpb::Message Parsed(const std::string& bytes) {
  raftpb::Message parsed;
  REQUIRE(parsed.ParseFromString(bytes));
  return parsed;
}

// Zero as often as not, which the wire leaves out.
uint64_t Number(Random* random) {
  return random->OneIn(2) ? 0 : random->Next() >> random->Below(64);
}

PeerMessage AnyMessage(Random* random) {
  PeerMessage message;
  message.type = static_cast<raftpb::MessageType>(1 + random->Below(raftpb::MessageType_MAX));
  message.to = MemberId(Number(random));
  message.from = MemberId(1 + Number(random) / 2);
  message.term = Term(Number(random));
  message.log_term = Term(Number(random));
  message.index = LogIndex(Number(random));
  for (uint64_t i = random->Below(4); i > 0; --i) {
    // Small payloads are copied into the frame, large ones referred to.
    const uint64_t bytes = random->OneIn(3) ? 5000 : random->Below(50);
    message.entries.push_back({Term(Number(random)), LogIndex(Number(random)),
                               static_cast<EntryType>(random->Below(3)),
                               Bytes::FromString(std::string(bytes, 'x'))});
  }
  message.commit = LogIndex(Number(random));
  if (random->OneIn(4)) {
    message.snapshot.emplace();
    message.snapshot->mutable_metadata()->set_index(1 + random->Below(1000));
    message.snapshot->mutable_metadata()->set_term(random->Below(1000));
    message.snapshot->mutable_metadata()->mutable_conf_state()->add_voters(random->Next());
  }
  message.reject = random->OneIn(2);
  message.reject_hint = LogIndex(Number(random));
  message.context = Bytes::FromString(std::string(random->Below(20), 'c'));
  return message;
}

// The same message by the protobuf library, every field set: how etcd before 3.7 writes it.
raftpb::Message WithAllFields(const PeerMessage& message) {
  raftpb::Message all;
  all.set_type(message.type);
  all.set_to(message.to.value());
  all.set_from(message.from.value());
  all.set_term(message.term.value());
  all.set_logterm(message.log_term.value());
  all.set_index(message.index.value());
  for (const Entry& entry : message.entries) {
    raftpb::Entry* const out = all.add_entries();
    out->set_type(static_cast<raftpb::EntryType>(entry.type));
    out->set_term(entry.term.value());
    out->set_index(entry.index.value());
    out->set_data(std::string(entry.data.view()));
  }
  all.set_commit(message.commit.value());
  raftpb::Snapshot* const snapshot = all.mutable_snapshot();
  if (message.snapshot.has_value()) {
    *snapshot = *message.snapshot;
  } else {
    snapshot->mutable_metadata()->mutable_conf_state()->set_auto_leave(false);
    snapshot->mutable_metadata()->set_index(0);
    snapshot->mutable_metadata()->set_term(0);
  }
  all.set_reject(message.reject);
  all.set_rejecthint(message.reject_hint.value());
  if (!message.context.empty()) all.set_context(std::string(message.context.view()));
  return all;
}

void CheckSame(const PeerMessage& a, const PeerMessage& b) {
  // Equal fields have equal bytes: there is one way to write each.
  CHECK(Encoded(a) == Encoded(b));
}

TEST_CASE("the bytes of a message are those that the protobuf library would write") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  Random random(seed);
  for (int i = 0; i < 2000; ++i) {
    const PeerMessage message = AnyMessage(&random);
    const std::string bytes = Encoded(message);
    // The library keeps the order of fields and leaves out what was not set.
    CHECK(Parsed(bytes).SerializeAsString() == bytes);
    const absl::StatusOr<PeerMessage> back = DecodeMessage(Bytes::Copy(bytes));
    REQUIRE(back.ok());
    CheckSame(*back, message);
    const std::string with_zeros = WithAllFields(message).SerializeAsString();
    const absl::StatusOr<PeerMessage> of_old = DecodeMessage(Bytes::Copy(with_zeros));
    REQUIRE(of_old.ok());
    CheckSame(*of_old, message);
  }
}

TEST_CASE("payloads refer to the bytes that came, and unknown fields are passed over") {
  PeerMessage message;
  message.type = raftpb::MsgApp;
  message.from = MemberId(1);
  message.entries.push_back({Term(1), LogIndex(1), EntryType::kNormal, Bytes::Static("payload")});
  const Bytes bytes =
      Bytes::FromString(Encoded(message) + std::string("\xa0\x06\x05\xaa\x06\x01z", 7));
  const absl::StatusOr<PeerMessage> back = DecodeMessage(bytes);
  REQUIRE(back.ok());
  CheckSame(*back, message);
  const Bytes& data = back->entries.at(0).data;
  CHECK(data.data() >= bytes.data());
  CHECK(data.data() + data.size() <= bytes.data() + bytes.size());
}

TEST_CASE("bytes cut short or changed are refused or read as something, and never overrun") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  Random random(seed);
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = Encoded(AnyMessage(&random));
    if (random.OneIn(2)) bytes.resize(random.Below(bytes.size() + 1));
    if (!bytes.empty()) bytes[random.Below(bytes.size())] = static_cast<char>(random.Next());
    raftpb::Message parsed;
    const absl::StatusOr<PeerMessage> back = DecodeMessage(Bytes::Copy(bytes));
    // Where the library sees no message there is none; but it looks into `responses` (tag 0x72),
    // which are passed over here.
    if (bytes.find('\x72') != std::string::npos) continue;
    if (!parsed.ParseFromString(bytes)) CHECK(!back.ok());
    static_cast<void>(DecodeEntry(Bytes::Copy(bytes)));
  }
}

// --- streams

PeerMessage Append(uint64_t term, uint64_t index, size_t entries) {
  PeerMessage message;
  message.type = raftpb::MsgApp;
  message.from = MemberId(1);
  message.to = MemberId(2);
  message.term = message.log_term = Term(term);
  message.index = LogIndex(index);
  message.commit = LogIndex(index);
  for (size_t i = 0; i < entries; ++i) {
    message.entries.push_back(
        {Term(term), LogIndex(index + 1 + i), EntryType::kNormal, Bytes::Static("data")});
  }
  return message;
}

std::string Stream(StreamKind kind, const std::vector<PeerMessage>& messages) {
  StreamEncoder encoder(kind);
  OutputBuffer out;
  for (const PeerMessage& message : messages) encoder.Encode(message, &out);
  return CollectedBytes(&out);
}

TEST_CASE("the two streams are framed as etcd frames them") {
  using std::string_literals::operator""s;
  CHECK(Stream(StreamKind::kMessage, {LinkHeartbeat()}) == "\0\0\0\0\0\0\0\2\x08\x08"s);
  CHECK(Stream(StreamKind::kAppend, {LinkHeartbeat()}) == "\0"s);
  const std::string bytes =
      Stream(StreamKind::kAppend, {Append(3, 10, 1), Append(3, 11, 2), Append(3, 13, 0)});
  const std::string whole = Encoded(Append(3, 10, 1));
  std::string expected = "\2\0\0\0\0\0\0\0"s + static_cast<char>(whole.size()) + whole;
  expected += "\1\0\0\0\0\0\0\0\2"s;
  expected += "\0\0\0\0\0\0\0\x0a\x10\x03\x18\x0c\x22\x04"s + "data";
  expected += "\0\0\0\0\0\0\0\x0a\x10\x03\x18\x0d\x22\x04"s + "data";
  expected += "\0\0\0\0\0\0\0\x0b"s;
  expected += "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0d"s;
  CHECK(bytes == expected);
}

TEST_CASE("a stream of appends survives every way of cutting it into pieces") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  Random random(seed);
  std::vector<PeerMessage> messages;
  uint64_t index = 10;
  for (int i = 0; i < 200; ++i) {
    if (random.OneIn(10)) index += 5;  // a gap or another term: told in full
    if (random.OneIn(10)) messages.push_back(LinkHeartbeat());
    const size_t entries = random.Below(4);
    messages.push_back(Append(3 + random.Below(2), index, entries));
    index += entries;
  }
  for (const StreamKind kind : {StreamKind::kAppend, StreamKind::kMessage}) {
    const std::string bytes = Stream(kind, messages);
    for (int round = 0; round < 20; ++round) {
      StreamDecoder decoder(kind, {MemberId(1), MemberId(2)}, 1 << 20);
      std::vector<PeerMessage> received;
      for (size_t at = 0; at < bytes.size();) {
        const size_t size = round == 0 ? 1 : 1 + random.Below(200);
        REQUIRE(decoder.Feed(std::string_view(bytes).substr(at, size), &received).ok());
        at += size;
      }
      size_t next = 0;
      for (const PeerMessage& message : messages) {
        if (IsLinkHeartbeat(message)) continue;
        REQUIRE(next < received.size());
        CheckSame(received[next++], message);
      }
      CHECK(next == received.size());
    }
  }
}

TEST_CASE("a stream that makes no sense is an error and takes no memory on trust") {
  using std::string_literals::operator""s;
  std::vector<PeerMessage> received;
  const auto feed = [&received](StreamKind kind, const std::string& bytes) {
    StreamDecoder decoder(kind, {MemberId(1), MemberId(2)}, 1 << 20);
    return decoder.Feed(bytes, &received);
  };
  CHECK(!feed(StreamKind::kAppend, "\7").ok());
  CHECK(!feed(StreamKind::kMessage, "\xff\xff\xff\xff\xff\xff\xff\xff").ok());
  CHECK(!feed(StreamKind::kAppend, "\2\xff\0\0\0\0\0\0\0"s).ok());
  CHECK(!feed(StreamKind::kMessage, "\0\0\0\0\0\0\0\3abc"s).ok());
  // As many entries as there can be numbers, each as large as it may be: refused long before.
  std::string endless = "\1\xff\xff\xff\xff\xff\xff\xff\xff"s;
  const std::string entry = "\0\0\0\0\0\1\0\0"s + "\x22\xfc\xff\x03" + std::string(65532, 'e');
  for (int i = 0; i < 20; ++i) endless += entry;
  CHECK(!feed(StreamKind::kAppend, endless).ok());
  CHECK(received.empty());
}

}  // namespace
}  // namespace quorate::transport
