// The segmented log on a disk that forgets what was not synced, with the power going at every
// single operation: what was synced is there, nothing else is invented, and work goes on.
#include "backends/log/log_test_util.h"
#include "base/test_seed.h"

namespace quorate::log {
namespace {

constexpr char kDir[] = "/data/log";

LogOptions SmallSegments(FileEnv* env, LogSync sync) {
  LogOptions options;
  options.dir = kDir;
  options.env = env;
  options.segment_bytes = 7000;
  options.sync = sync;
  return options;
}

// What was written, so that any state found on disk can be told and judged.
class History {
 public:
  const LogModel& now() const { return now_; }
  void Wrote(const LogBatch& batch) {
    for (const auto& record : batch.Records()) {
      now_.Apply(record);
      unsynced_.push_back(record);
    }
  }
  void Wrote(const LogReset& reset) {
    now_.Reset(reset);
    unsynced_.emplace_back(reset);
  }
  void Synced() {
    synced_ = now_;
    unsynced_.clear();
  }
  const LogModel& synced() const { return synced_; }

  // The log must be as after the last sync and any number of whole records more.
  void CheckAndGoOnFrom(const LogStore& store) {
    LogModel model = synced_;
    std::string difference = Difference(store, model);
    for (const auto& record : unsynced_) {
      if (difference.empty()) break;
      model.Apply(record);
      difference = Difference(store, model);
    }
    INFO("first index " << store.first_index().value() << ", last " << store.last_index().value()
                        << ", synced up to " << synced_.last());
    REQUIRE(difference == "");
    synced_ = now_ = model;
    unsynced_.clear();
  }

 private:
  LogModel now_;
  LogModel synced_;
  std::vector<LogRecord> unsynced_;
};

// Writes, syncs and cuts as `random` says, until the power goes or it is enough.
absl::Status Work(LogStore& store, Random& random, uint64_t batches, History* history) {
  BatchSource source(random);
  for (uint64_t i = 0; i < batches; ++i) {
    const LogBatch batch = source.Next(history->now());
    history->Wrote(batch);
    QR_RETURN_IF_ERROR(batch.AppendTo(store));
    if (!random.OneIn(3)) {
      QR_RETURN_IF_ERROR(store.Sync());
      history->Synced();
    }
    const uint64_t committed = history->synced().hard_state.commit.value();
    if (random.OneIn(5) && committed > 0) {
      QR_RETURN_IF_ERROR(store.TruncatePrefix(LogIndex(1 + random.Below(committed))));
    }
    if (random.OneIn(12)) {
      const LogReset reset = DrawReset(random, history->now());
      history->Wrote(reset);
      QR_RETURN_IF_ERROR(store.Reset(reset.index, reset.term, nullptr));
      history->Synced();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LogStore>> OpenOrCreate(const LogOptions& options) {
  absl::StatusOr<std::unique_ptr<LogStore>> log = OpenSegmentedLog(options);
  if (absl::IsNotFound(log.status())) return CreateSegmentedLog(options, kTestIdentity);
  return log;
}

void CrashAtEveryOperation(LogSync sync, uint64_t script_seed) {
  for (uint64_t operations = 0;; ++operations) {
    FaultFileEnv disk;
    History history;
    Random random(script_seed);
    FuseFileEnv fuse(&disk, operations);
    {
      auto log = OpenOrCreate(SmallSegments(&fuse, sync));
      if (log.ok()) {
        const absl::Status worked = Work(**log, random, 40, &history);
        REQUIRE((worked.ok() || fuse.blown()));
      }
    }
    Random fate(script_seed * 1000 + operations);
    disk.Crash(fate);
    INFO("script " << script_seed << ", power gone after " << operations << " operations");
    auto log = OpenOrCreate(SmallSegments(&disk, sync));
    REQUIRE_OK(log.status());
    REQUIRE((*log)->identity() == kTestIdentity);
    history.CheckAndGoOnFrom(**log);
    // It goes on as if nothing had been, and is whole when it is opened again.
    REQUIRE_OK(Work(**log, fate, 10, &history));
    REQUIRE_OK((*log)->Sync());
    history.Synced();
    log->reset();
    log = OpenSegmentedLog(SmallSegments(&disk, sync));
    REQUIRE_OK(log.status());
    history.CheckAndGoOnFrom(**log);
    if (!fuse.blown()) return;
  }
}

TEST_CASE("power loss at any operation loses nothing synced and invents nothing", "[log][crash]") {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < 6; ++i) CrashAtEveryOperation(LogSync::kFdatasync, seed + i);
}

TEST_CASE("the same holds when each write is synced by itself", "[log][crash]") {
  CrashAtEveryOperation(LogSync::kDsync, TestSeed() + 100);
}

TEST_CASE("many power losses in one life, also while the last one is repaired", "[log][crash]") {
  Random random(TestSeed() + 200);
  for (int round = 0; round < 30; ++round) {
    FaultFileEnv disk;
    History history;
    for (int crash = 0; crash < 25; ++crash) {
      FuseFileEnv fuse(&disk, random.Below(random.OneIn(3) ? 6 : 120));
      {
        auto log = OpenOrCreate(SmallSegments(&fuse, LogSync::kFdatasync));
        if (log.ok()) {
          history.CheckAndGoOnFrom(**log);
          const absl::Status worked = Work(**log, random, random.Below(40), &history);
          REQUIRE((worked.ok() || fuse.blown()));
        } else {
          INFO(std::string(ToStd(log.status().ToString())));
          REQUIRE(fuse.blown());
        }
      }
      disk.Crash(random);
    }
    auto log = OpenOrCreate(SmallSegments(&disk, LogSync::kFdatasync));
    REQUIRE_OK(log.status());
    history.CheckAndGoOnFrom(**log);
  }
}

// A sync that failed, then any number of lives of the process that find all of it in the memory of
// the system, and syncs that succeed without writing anything: then the power goes.
TEST_CASE("what a failed sync left in memory is not counted as durable", "[log][crash]") {
  Random random(TestSeed() + 400);
  for (int round = 0; round < 200; ++round) {
    FaultFileEnv disk;
    History history;
    const LogSync sync = random.OneIn(4) ? LogSync::kDsync : LogSync::kFdatasync;
    for (int life = 0; life < 4; ++life) {
      auto log = OpenOrCreate(SmallSegments(&disk, sync));
      REQUIRE_OK(log.status());
      history.CheckAndGoOnFrom(**log);
      history.Synced();  // it is taken for durable now
      disk.FailSyncs({.path_part = "/data/log", .skip = random.Below(12)});
      const absl::Status worked = Work(**log, random, 20, &history);
      disk.HealSyncs();
      // Final: no later call succeeds, though the disk is well again.
      if (!worked.ok()) REQUIRE_FALSE((*log)->Sync().ok());
    }
    disk.Crash(random);
    auto log = OpenOrCreate(SmallSegments(&disk, sync));
    REQUIRE_OK(log.status());
    history.CheckAndGoOnFrom(**log);
  }
}

TEST_CASE("without syncs power loss leaves whole entries, and the log opens", "[log][crash]") {
  Random random(TestSeed() + 300);
  for (int round = 0; round < 50; ++round) {
    FaultFileEnv disk;
    LogModel model;
    BatchSource source(random);
    LogOptions options = SmallSegments(&disk, LogSync::kNone);
    options.segment_bytes = 200'000;  // one segment: leaving one does sync it
    auto log = CreateSegmentedLog(options, kTestIdentity);
    REQUIRE_OK(log.status());
    std::vector<LogModel> states = {model};
    for (int i = 0; i < 15; ++i) {
      const LogBatch batch = source.Next(model);
      for (const auto& record : batch.Records()) {
        model.Apply(record);
        states.push_back(model);
      }
      REQUIRE_OK(batch.AppendTo(**log));
      REQUIRE_OK((*log)->Sync());
    }
    disk.Crash(random);
    log = OpenSegmentedLog(options);
    REQUIRE_OK(log.status());
    REQUIRE(std::any_of(states.begin(), states.end(),
                        [&](const LogModel& state) { return Difference(**log, state).empty(); }));
  }
}

}  // namespace
}  // namespace quorate::log
