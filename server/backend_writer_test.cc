// The backend writer: writes go on while space is given back, and an end cuts it short.
#include "server/backend_writer.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/status_util.h"

namespace quorate::server {
namespace {

// Notes what it is asked to do; a reclaim takes three steps.
class NotingBackend final : public kv::KvBackend {
 public:
  const kv::KvTraits& traits() const override { return traits_; }
  absl::Status Write(std::span<const kv::WriteOp>) override { return Note("write"); }
  absl::Status Sync() override { return Note("sync"); }
  absl::StatusOr<kv::ReclaimProgress> ReclaimStep() override {
    QR_RETURN_IF_ERROR(Note("step"));
    QR_RETURN_IF_ERROR(step_fails);
    steps_ = (steps_ + 1) % 3;
    return steps_ == 0 ? kv::ReclaimProgress::kDone : kv::ReclaimProgress::kMore;
  }
  absl::Status Read(
      kv::Table, std::span<const std::string_view>,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)>) const override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> NewSnapshot() const override {
    return absl::UnavailableError("nothing to see");
  }
  kv::KvSizes Sizes() const override { return {}; }

  std::vector<std::string> notes;
  absl::Status step_fails;

 private:
  absl::Status Note(std::string what) {
    notes.push_back(std::move(what));
    return absl::OkStatus();
  }

  const kv::KvTraits traits_{.name = "noting"};
  int steps_ = 0;
};

class Chunk final : public engine::FlushChunk {
 public:
  explicit Chunk(uint64_t sequence) : sequence_(sequence) {}
  std::span<const kv::WriteOp> ops() const override { return ops_; }
  uint64_t sequence() const override { return sequence_; }
  LogIndex applied_index() const override { return LogIndex(sequence_); }
  uint64_t bytes() const override { return 1; }

 private:
  const uint64_t sequence_;
  const std::array<kv::WriteOp, 1> ops_{
      kv::WriteOp{kv::WriteOp::Kind::kPut, kv::Table::kMeta, "k", "v"}};
};

class Fixture {
 public:
  Fixture()
      : writer(std::make_unique<BackendWriter>(
            BackendWriter::Options(), &backend, &clock,
            BackendWriter::Events{[this](uint64_t sequence) { flushed.push_back(sequence); },
                                  [](LogIndex) {}},
            LogIndex(0))) {}
  void Submit(uint64_t sequence) { writer->Submit(std::make_shared<Chunk>(sequence)); }
  void Reclaim() {
    writer->Reclaim([this](absl::Status status) { ended.push_back(std::move(status)); });
  }

  NotingBackend backend;
  ManualClock clock;
  std::vector<uint64_t> flushed;
  std::vector<absl::Status> ended;
  std::unique_ptr<BackendWriter> writer;
};

using Notes = std::vector<std::string>;

TEST_CASE("writes go on between the steps of a reclaim", "[backend-writer]") {
  Fixture f;
  f.Submit(1);
  f.Reclaim();
  REQUIRE(f.writer->Poll());
  CHECK(f.backend.notes == Notes{"write", "sync", "step"});
  CHECK(f.ended.empty());
  f.Submit(2);
  REQUIRE(f.writer->Poll());
  CHECK(f.flushed == std::vector<uint64_t>{1, 2});
  CHECK(f.ended.empty());
  REQUIRE(f.writer->Poll());
  CHECK(f.backend.notes == Notes{"write", "sync", "step", "write", "step", "step"});
  REQUIRE(f.ended.size() == 1);
  CHECK(f.ended[0].ok());
  CHECK_FALSE(f.writer->Poll());
}

TEST_CASE("each reclaim that is asked for is a whole one", "[backend-writer]") {
  Fixture f;
  f.Reclaim();
  f.Reclaim();
  while (f.writer->Poll()) continue;
  CHECK(f.ended.size() == 2);
  CHECK(f.backend.notes == Notes(6, "step"));
}

TEST_CASE("a reclaim that fails stops the writer, but for want of room", "[backend-writer]") {
  Fixture f;
  std::vector<absl::Status> failures;
  f.writer->OnFailure(
      [&](std::string_view, const absl::Status& status) { failures.push_back(status); });
  f.backend.step_fails = absl::ResourceExhaustedError("full");
  f.Reclaim();
  REQUIRE(f.writer->Poll());
  REQUIRE(f.ended.size() == 1);
  CHECK(absl::IsResourceExhausted(f.ended[0]));
  CHECK(failures.empty());
  f.Submit(1);
  REQUIRE(f.writer->Poll());
  CHECK(f.flushed == std::vector<uint64_t>{1});

  f.backend.step_fails = absl::UnavailableError("sync failed");
  f.Reclaim();
  REQUIRE(f.writer->Poll());
  REQUIRE(f.ended.size() == 2);
  CHECK(absl::IsUnavailable(f.ended[1]));
  CHECK(failures == std::vector<absl::Status>{f.ended[1]});
  f.Submit(2);
  f.writer->Poll();
  CHECK(f.flushed == std::vector<uint64_t>{1});
}

TEST_CASE("the end of the writer does not wait for a reclaim", "[backend-writer]") {
  Fixture f;
  f.Submit(1);
  f.Reclaim();
  f.Reclaim();
  REQUIRE(f.writer->Poll());
  f.writer.reset();
  REQUIRE(f.ended.size() == 2);
  CHECK(absl::IsCancelled(f.ended[0]));
  CHECK(absl::IsCancelled(f.ended[1]));
  CHECK(f.backend.notes == Notes{"write", "sync", "step"});
}

TEST_CASE("the writer's thread finishes writes and reclaims by itself", "[backend-writer]") {
  Fixture f;
  std::atomic<int> ended = 0;
  f.writer->Start();
  f.Submit(1);
  for (int i = 0; i < 2; ++i) {
    f.writer->Reclaim([&](absl::Status status) {
      CHECK(status.ok());
      ++ended;
      ended.notify_one();
    });
  }
  for (int seen = ended; seen < 2; seen = ended) ended.wait(seen);
  f.Submit(2);
  f.writer.reset();
  CHECK(f.flushed == std::vector<uint64_t>{1, 2});
}

}  // namespace
}  // namespace quorate::server
