// The memory backend on a disk that forgets what was not synced, runs full, fails and rots.
#include "backends/kv/checkpoint_format.h"
#include "backends/kv/cut_off_env.h"
#include "backends/kv/kv_test_util.h"
#include "backends/kv/memory_backend.h"
#include "base/fault_file_env.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr MemoryTuning kEager = {.garbage_bytes_min = 4096,
                                 .slice_bytes_min = 512,
                                 .slice_bytes_max = 4096,
                                 .slice_per_written_byte = 2};

absl::StatusOr<std::unique_ptr<KvBackend>> Open(FaultFileEnv* env,
                                                const MemoryTuning& tuning = kEager) {
  KvOptions options;
  options.dir = "/data/kv";
  options.env = env;
  absl::Status status = env->MakeDirs(options.dir);
  if (!status.ok()) return status;
  return OpenMemoryBackend(options, tuning);
}

std::unique_ptr<KvBackend> Reopen(FaultFileEnv* env, const MemoryTuning& tuning = kEager) {
  auto backend = Open(env, tuning);
  REQUIRE_OK(backend.status());
  return std::move(*backend);
}

// Batches with their history, so that any state found on disk can be told and judged.
class History {
 public:
  explicit History(Random& random) : source_(random) {}

  absl::Status Write(KvBackend& backend) {
    // After a crash the batches that were lost are other ones than before.
    const std::vector<OwnedOp> ops = source_.Next(30);
    states_.push_back(states_.back());
    for (const OwnedOp& op : ops) states_.back().Apply(op);
    states_.back().table(Table::kMeta)["number"] = std::to_string(states_.size() - 1);
    std::vector<OwnedOp> renumbered = ops;
    renumbered.back() = PutOp(Table::kMeta, "number", std::to_string(states_.size() - 1));
    return WriteOps(backend, renumbered);
  }
  void Synced() { synced_ = states_.size() - 1; }

  // The state must be one of the history, not older than the last sync; history goes on from it.
  void CheckAndForgetLater(const KvBackend& backend) {
    Model found = ReadModel(backend);
    const uint64_t number = BatchSource::NumberOf(found);
    REQUIRE(number >= synced_);
    REQUIRE(number < states_.size());
    REQUIRE(found == states_[number]);
    states_.resize(number + 1);
  }
  uint64_t size() const { return states_.size() - 1; }

 private:
  BatchSource source_;
  std::vector<Model> states_ = std::vector<Model>(1);
  uint64_t synced_ = 0;
};

TEST_CASE("after a power loss the memory backend is at a whole batch, none before the last sync",
          "[memory][crash]") {
  Random random(TestSeed() + 10);
  for (int life = 0; life < 60; ++life) {
    FaultFileEnv env;
    History history(random);
    for (int crash = 0; crash < 4; ++crash) {
      auto backend = Reopen(&env);
      history.CheckAndForgetLater(*backend);
      const uint64_t batches = random.Below(40);
      for (uint64_t i = 0; i < batches; ++i) {
        REQUIRE_OK(history.Write(*backend));
        if (random.OneIn(6)) {
          REQUIRE_OK(backend->Sync());
          history.Synced();
        }
        if (random.OneIn(30)) REQUIRE_OK(ReclaimAll(*backend));
      }
      env.Crash(random);
    }
    auto backend = Reopen(&env);
    history.CheckAndForgetLater(*backend);
  }
}

TEST_CASE("a power loss at every single write, sync and rename", "[memory][crash]") {
  const uint64_t seed = TestSeed() + 11;
  bool reached_end = false;
  for (uint64_t cut = 0; !reached_end; ++cut) {
    REQUIRE(cut < 3000);
    Random random(seed);  // the same history each time
    FaultFileEnv disk;
    CutOffEnv env(&disk);
    History history(random);
    KvOptions options;
    options.dir = "/data/kv";
    options.env = &env;
    REQUIRE_OK(disk.MakeDirs(options.dir));
    env.CutAfter(cut);
    absl::Status status;
    {
      auto backend = OpenMemoryBackend(options, kEager);
      status = backend.status();
      for (int i = 0; status.ok() && i < 60; ++i) {
        status = history.Write(**backend);
        if (status.ok() && i % 7 == 6) {
          status = (*backend)->Sync();
          if (status.ok()) history.Synced();
        }
        if (status.ok() && i % 25 == 24) status = ReclaimAll(**backend);
      }
    }
    reached_end = status.ok();
    Random fate(seed + cut);
    disk.Crash(fate);
    auto backend = Reopen(&disk);
    history.CheckAndForgetLater(*backend);
    REQUIRE_OK(history.Write(*backend));
    REQUIRE_OK(backend->Sync());
  }
}

TEST_CASE("an inverted bit is found and named, or it hit nothing that had been synced",
          "[memory][damage]") {
  Random random(TestSeed() + 12);
  FaultFileEnv env;
  History history(random);
  {
    auto backend = Reopen(&env);
    for (int i = 0; i < 60; ++i) {
      if (i == 30) REQUIRE_OK(ReclaimAll(*backend));
      if (i == 30) {
        backend.reset();
        backend = Reopen(&env, MemoryTuning());  // so that no rewrite is half done at the end
      }
      REQUIRE_OK(history.Write(*backend));
      if (i % 5 == 4) REQUIRE_OK(backend->Sync());
    }
    REQUIRE_OK(backend->Sync());
    history.Synced();
  }
  const auto names = env.List("/data/kv");
  REQUIRE_OK(names.status());
  size_t found = 0;
  for (const std::string& name : *names) {
    const std::string path = StrCat("/data/kv/", name);
    const auto content = ReadFileToString(&env, path);
    REQUIRE_OK(content.status());
    // Every byte of the small files, a sample of the large ones, all bytes near their ends.
    for (size_t offset = 0; offset < content->size();) {
      const int bit = static_cast<int>(random.Below(8));
      INFO(name << " offset " << offset << " bit " << bit << " of " << content->size());
      REQUIRE_OK(env.FlipBit(path, offset, bit));
      auto backend = Open(&env);
      if (backend.ok()) {
        // Only the last mark may be hit without anything being lost.
        REQUIRE(name.ends_with(".ckpt"));
        REQUIRE(offset + kFrameHeaderBytes >= content->size());
        history.CheckAndForgetLater(**backend);
        backend->reset();
        auto file = env.Open(path, WriteMode::kBuffered);
        REQUIRE_OK(file.status());
        const std::string_view piece = *content;
        REQUIRE_OK((*file)->WriteAt(0, std::span(&piece, 1)));
      } else {
        const std::string text(backend.status().message());
        INFO(text);
        REQUIRE(
            (absl::IsDataLoss(backend.status()) || absl::IsFailedPrecondition(backend.status())));
        REQUIRE(text.find(path) != std::string::npos);
        REQUIRE(text.find("offset ") != std::string::npos);
        ++found;
        REQUIRE_OK(env.FlipBit(path, offset, bit));
      }
      const bool near_end = offset + 2 * kFrameHeaderBytes > content->size();
      offset += content->size() < 400 || near_end ? 1 : 1 + random.Below(content->size() / 200);
    }
  }
  CHECK(found > 300);
  auto backend = Reopen(&env);
  history.CheckAndForgetLater(*backend);
}

TEST_CASE("a file that is missing or too short is damage", "[memory][damage]") {
  Random random(TestSeed() + 13);
  const std::string victim = GENERATE("MANIFEST", "base", "delta", "shorter");
  FaultFileEnv env;
  History history(random);
  {
    auto backend = Reopen(&env, MemoryTuning());  // one base and one delta
    for (int i = 0; i < 20; ++i) REQUIRE_OK(history.Write(*backend));
    REQUIRE_OK(ReclaimAll(*backend));
    for (int i = 0; i < 20; ++i) REQUIRE_OK(history.Write(*backend));
    REQUIRE_OK(backend->Sync());
  }
  const auto names = env.List("/data/kv");
  REQUIRE_OK(names.status());
  std::string damaged;
  for (const std::string& name : *names) {
    const std::string path = StrCat("/data/kv/", name);
    if (name.starts_with(victim)) {
      REQUIRE_OK(env.Remove(path));
      damaged = path;
    } else if (victim == "shorter" && name.starts_with("base")) {
      auto file = env.Open(path, WriteMode::kBuffered);
      REQUIRE_OK(file.status());
      REQUIRE_OK((*file)->Truncate(kFileHeadBytes));
      damaged = path;
    }
  }
  const auto backend = Open(&env);
  CHECK(absl::IsDataLoss(backend.status()));
  CHECK(std::string(backend.status().message()).find(damaged) != std::string::npos);
}

TEST_CASE("a failed sync or write is final", "[memory][crash]") {
  Random random(TestSeed() + 14);
  FaultFileEnv env;
  History history(random);
  auto backend = Reopen(&env, MemoryTuning());
  REQUIRE_OK(history.Write(*backend));
  REQUIRE_OK(backend->Sync());
  history.Synced();
  const Model before = ReadModel(*backend);
  SECTION("sync") {
    REQUIRE_OK(history.Write(*backend));
    env.FailSyncs({.path_part = "delta"});
    CHECK(absl::IsUnavailable(backend->Sync()));
    env.HealSyncs();
  }
  SECTION("full disk") {
    env.SetCapacityBytes(1);
    CHECK(absl::IsResourceExhausted(history.Write(*backend)));
    env.SetCapacityBytes(UINT64_MAX);
    // Nothing of the batch can be seen.
    CHECK(ReadModel(*backend) == before);
  }
  CHECK(!backend->Sync().ok());
  CHECK(!history.Write(*backend).ok());
  backend.reset();
  env.Crash(random);
  backend = Reopen(&env);
  history.CheckAndForgetLater(*backend);
}

// A sync that failed, then any number of lives of the process that find all of it in the memory of
// the system, and syncs that succeed without writing anything: then the power goes.
TEST_CASE("what a failed sync left in memory is not counted as durable", "[memory][crash]") {
  Random random(TestSeed() + 15);
  for (int round = 0; round < 150; ++round) {
    FaultFileEnv env;
    History history(random);
    for (int life = 0; life < 4; ++life) {
      auto backend = Reopen(&env);
      history.CheckAndForgetLater(*backend);
      history.Synced();  // it is taken for durable now
      env.FailSyncs({.path_part = "/data/kv", .skip = random.Below(10)});
      absl::Status status;
      for (int i = 0; i < 25 && status.ok(); ++i) {
        status = history.Write(*backend);
        if (!status.ok() || !random.OneIn(4)) continue;
        status = backend->Sync();
        if (status.ok()) history.Synced();
      }
      env.HealSyncs();
      // Final: no later call succeeds, though the disk is well again.
      if (!status.ok()) REQUIRE(!backend->Sync().ok());
    }
    env.Crash(random);
    history.CheckAndForgetLater(*Reopen(&env));
  }
}

TEST_CASE("a rewrite that finds the disk full is given up, and tried again later",
          "[memory][crash]") {
  FaultFileEnv env;
  auto backend = Reopen(&env);
  Model model;
  const auto write = [&](int number) {
    const OwnedOp op = PutOp(Table::kKey, StrCat("k", number % 10), std::string(300, 'v'));
    model.Apply(op);
    return WriteOps(*backend, {op});
  };
  for (int i = 0; i < 12; ++i) REQUIRE_OK(write(i));
  // Room for the batches, not for the content once more.
  env.SetCapacityBytes(backend->Sizes().on_disk + 6000);
  REQUIRE_OK(ReclaimAll(*backend));
  const uint64_t small = backend->Sizes().on_disk;
  env.SetCapacityBytes(small + 1000);
  REQUIRE_OK(ReclaimAll(*backend));
  CHECK(ReadModel(*backend) == model);
  REQUIRE_OK(write(3));
  env.SetCapacityBytes(UINT64_MAX);
  for (int i = 0; i < 200; ++i) REQUIRE_OK(write(i));
  CHECK(backend->Sizes().on_disk < 20'000);
  REQUIRE_OK(backend->Sync());
  backend.reset();
  backend = Reopen(&env);
  CHECK(ReadModel(*backend) == model);
}

TEST_CASE("a folder that is open cannot be opened again", "[memory]") {
  FaultFileEnv env;
  auto backend = Reopen(&env);
  CHECK(absl::IsUnavailable(Open(&env).status()));
  backend.reset();
  CHECK(Open(&env).ok());
}

TEST_CASE("bytes written stay near one to two times the payload", "[memory]") {
  FaultFileEnv env;
  auto backend = Reopen(&env);
  uint64_t payload = 0;
  const auto write = [&](int number) {
    const std::string key = BatchSource::Key(number);
    const std::string value(300, 'v');
    payload += key.size() + value.size();
    std::vector<OwnedOp> ops = {PutOp(Table::kKey, key, value)};
    if (number >= 1000) ops.push_back(DeleteOp(Table::kKey, BatchSource::Key(number - 1000)));
    payload += number >= 1000 ? key.size() : 0;
    REQUIRE_OK(WriteOps(*backend, ops));
    if (number % 1000 == 0) REQUIRE_OK(backend->Sync());
  };
  // A thousand live records, ten times replaced.
  for (int i = 0; i < 10'000; ++i) write(i);
  REQUIRE_OK(backend->Sync());
  CHECK(env.counts().bytes_written > payload);
  CHECK(env.counts().bytes_written < payload * 25 / 10);
  CHECK(backend->Sizes().on_disk < 1000 * 317 * 7 / 2);
}

}  // namespace
}  // namespace quorate::kv
