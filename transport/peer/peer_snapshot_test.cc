#include <catch2/catch.hpp>
#include <future>
#include <string>

#include "transport/peer/peer_links.h"
#include "transport/peer/peer_test_member.h"

namespace quorate::transport {
namespace {

constexpr MemberId kOne{1};
constexpr MemberId kTwo{2};
using Heard = TestMember::Heard;

// Gives `pieces` times `piece`, then an error or the end.
class TestSource final : public SnapshotSource {
 public:
  TestSource(int pieces, std::string piece, absl::Status end = absl::OkStatus())
      : pieces_(pieces), piece_(Bytes::FromString(std::move(piece))), end_(std::move(end)) {}
  absl::StatusOr<Bytes> Next() override {
    if (pieces_-- > 0) return piece_;
    if (!end_.ok()) return end_;
    return Bytes();
  }

 private:
  int pieces_;
  const Bytes piece_;
  const absl::Status end_;
};

PeerMessage SnapshotMessage(MemberId from, MemberId to, uint64_t index) {
  PeerMessage message = TestMessage(raftpb::MsgSnap, from, to, 0);
  message.snapshot.emplace();
  message.snapshot->mutable_metadata()->set_index(index);
  message.snapshot->mutable_metadata()->set_term(7);
  message.snapshot->mutable_metadata()->mutable_conf_state()->add_voters(from.value());
  return message;
}

std::future<absl::Status> Send(TestMember* from, MemberId to, uint64_t index,
                               std::unique_ptr<SnapshotSource> source) {
  auto done = std::make_shared<std::promise<absl::Status>>();
  // A deep copy: the thread sanitizer does not see how Abseil counts who shares a status.
  from->links().SendSnapshot(SnapshotMessage(from->id(), to, index), std::move(source),
                             [done](const absl::Status& status) {
                               done->set_value(absl::Status(status.code(), status.message()));
                             });
  return done->get_future();
}

std::string Repeated(int pieces, const std::string& piece) {
  std::string all;
  for (int i = 0; i < pieces; ++i) all += piece;
  return all;
}

TEST_CASE("a snapshot arrives whole, then its message, then the sender is told") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  const std::string piece = std::string(100'000, 's') + "end of a piece";
  constexpr int kPieces = 300;
  auto done = Send(&one, kTwo, 42, std::make_unique<TestSource>(kPieces, piece));
  REQUIRE(done.get() == absl::OkStatus());
  const Heard heard = two.heard();
  REQUIRE(heard.snapshots.size() == 1);
  CHECK(heard.snapshots.front() == Repeated(kPieces, piece));
  REQUIRE(heard.messages.size() == 1);
  CHECK(heard.messages.front().second.type == raftpb::MsgSnap);
  CHECK(heard.messages.front().second.snapshot->metadata().index() == 42);
  CHECK(heard.messages.front().second.snapshot->metadata().conf_state().voters(0) == kOne.value());
  CHECK(heard.snapshots_given_up == 0);
}

TEST_CASE("an empty state is a snapshot too") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  CHECK(Send(&one, kTwo, 1, std::make_unique<TestSource>(0, "")).get() == absl::OkStatus());
  CHECK(two.heard().snapshots == std::vector<std::string>{""});
}

TEST_CASE("a receiver that cannot store the state says so early, and the next attempt succeeds") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  two.FailSnapshots("no space left on device");
  // More than all buffers between the two hold: it can only end by the refusal.
  auto refused =
      Send(&one, kTwo, 5, std::make_unique<TestSource>(10'000, std::string(100'000, 's')));
  const absl::Status status = refused.get();
  CHECK(!status.ok());
  CHECK_THAT(std::string(status.message()), Catch::Contains("no space left on device"));
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.snapshots_given_up == 1; }));
  CHECK(two.heard().messages.empty());
  two.FailSnapshots("");
  CHECK(Send(&one, kTwo, 6, std::make_unique<TestSource>(3, "abc")).get() == absl::OkStatus());
  CHECK(two.heard().snapshots == std::vector<std::string>{"abcabcabc"});
}

TEST_CASE("a source that breaks leaves nothing behind at the receiver") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  auto broken = Send(&one, kTwo, 5,
                     std::make_unique<TestSource>(50, std::string(100'000, 's'),
                                                  absl::DataLossError("checksum of page 7")));
  CHECK(broken.get() == absl::DataLossError("checksum of page 7"));
  REQUIRE(two.WaitFor(
      [](const Heard& heard) { return heard.snapshots_begun == heard.snapshots_given_up; }));
  CHECK(two.heard().messages.empty());
  CHECK(two.heard().snapshots.empty());
}

TEST_CASE("a receiver whose disk is slow holds up the transfer, and messages go on beside it") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  REQUIRE(one.WaitStreams(kTwo));
  two.HoldSnapshots();
  const std::string piece(1'000'000, 's');
  auto done = Send(&one, kTwo, 5, std::make_unique<TestSource>(40, piece));
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.snapshots_begun == 1; }));
  for (uint64_t i = 1; i <= 50; ++i) {
    one.links().Send(kTwo, {TestMessage(raftpb::MsgHeartbeat, kOne, kTwo, i)});
    REQUIRE(two.WaitFor([i](const Heard& heard) { return heard.messages.size() == i; }));
  }
  // Only one at a time.
  CHECK(absl::IsUnavailable(Send(&one, kTwo, 6, std::make_unique<TestSource>(1, "x")).get()));
  two.ReleaseSnapshots();
  CHECK(done.get() == absl::OkStatus());
  CHECK(two.heard().snapshots.front().size() == 40 * piece.size());
}

TEST_CASE("a receiver that dies in the middle fails the transfer; begun again it succeeds") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  two.HoldSnapshots();
  auto cut = Send(&one, kTwo, 5, std::make_unique<TestSource>(100, std::string(1'000'000, 's')));
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.snapshots_begun == 1; }));
  two.ReleaseSnapshots();
  two.Restart();
  CHECK(!cut.get().ok());
  Introduce({&one, &two});
  CHECK(Send(&one, kTwo, 6, std::make_unique<TestSource>(3, "abc")).get() == absl::OkStatus());
  CHECK(two.heard().snapshots.back() == "abcabcabc");
}

TEST_CASE("a sender that stops reports its snapshot as cancelled") {
  TestMember one(kOne);
  TestMember two(kTwo);
  Introduce({&one, &two});
  two.HoldSnapshots();
  auto cut = Send(&one, kTwo, 5, std::make_unique<TestSource>(100, std::string(1'000'000, 's')));
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.snapshots_begun == 1; }));
  one.Stop();
  CHECK(absl::IsCancelled(cut.get()));
  two.ReleaseSnapshots();
  REQUIRE(two.WaitFor([](const Heard& heard) { return heard.snapshots_given_up == 1; }));
  CHECK(two.heard().messages.empty());
  CHECK(!Send(&two, MemberId(9), 5, std::make_unique<TestSource>(1, "x")).get().ok());
}

}  // namespace
}  // namespace quorate::transport
