// The rocksdb backend on a disk that forgets what was not synced, runs full and fails: a file
// system below the library that counts what it writes.
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>

#include "backends/kv/kv_test_util.h"
#include "backends/kv/marker.h"
#include "backends/kv/rocksdb_backend.h"
#include "base/test_seed.h"

namespace quorate::kv {
namespace {

using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

class FaultFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  FaultFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultFileSystem"; }

  // Settings; the library works on threads of its own.
  std::atomic<int64_t> bytes_until_power_loss{INT64_MAX};
  std::atomic<int64_t> bytes_until_full{INT64_MAX};
  std::atomic<bool> syncs_fail{false};
  std::atomic<bool> power_lost{false};

  // The power is back: files have what was synced of them, and some what came after.
  void Forget(Random& random) {
    std::lock_guard lock(mutex_);
    for (const auto& [path, size] : synced_) {
      if (!std::filesystem::exists(path)) continue;
      const uint64_t written = std::filesystem::file_size(path);
      if (written <= size) continue;
      const uint64_t more = random.OneIn(3) ? random.Below(written - size + 1) : 0;
      std::filesystem::resize_file(path, size + more);
    }
  }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<FSWritableFile>* file, IODebugContext* debug) override;
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    if (power_lost) return IOStatus::IOError("the power is gone");
    std::lock_guard lock(mutex_);
    const IOStatus status = target()->RenameFile(from, to, options, debug);
    if (status.ok() && synced_.contains(from)) {
      synced_[to] = synced_[from];
      synced_.erase(from);
    }
    return status;
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions& options,
                      IODebugContext* debug) override {
    if (power_lost) return IOStatus::IOError("the power is gone");
    return target()->DeleteFile(path, options, debug);
  }

  IOStatus BeforeWrite(size_t bytes) {
    const auto size = static_cast<int64_t>(bytes);
    if (bytes_until_power_loss.fetch_sub(size) < size) power_lost = true;
    if (power_lost) return IOStatus::IOError("the power is gone");
    if (bytes_until_full.fetch_sub(size) < size)
      return IOStatus::NoSpace("no space left on device");
    return IOStatus::OK();
  }
  IOStatus BeforeSync() const {
    if (power_lost) return IOStatus::IOError("the power is gone");
    return syncs_fail ? IOStatus::IOError("the sync failed") : IOStatus::OK();
  }
  void Synced(const std::string& path, uint64_t bytes) {
    std::lock_guard lock(mutex_);
    synced_[path] = bytes;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, uint64_t> synced_;
};

class FaultFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultFile(std::unique_ptr<FSWritableFile> file, FaultFileSystem* system, std::string path)
      : FSWritableFileOwnerWrapper(std::move(file)), system_(system), path_(std::move(path)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    IOStatus status = system_->BeforeWrite(data.size());
    if (status.ok()) status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) bytes_ += data.size();
    return status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    IOStatus status = system_->BeforeSync();
    if (status.ok()) status = FSWritableFileOwnerWrapper::Sync(options, debug);
    if (status.ok()) system_->Synced(path_, bytes_);
    return status;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }

 private:
  FaultFileSystem* const system_;
  const std::string path_;
  uint64_t bytes_ = 0;
};

IOStatus FaultFileSystem::NewWritableFile(const std::string& path,
                                          const rocksdb::FileOptions& options,
                                          std::unique_ptr<FSWritableFile>* file,
                                          IODebugContext* debug) {
  if (power_lost) return IOStatus::IOError("the power is gone");
  std::unique_ptr<FSWritableFile> real;
  const IOStatus status = target()->NewWritableFile(path, options, &real, debug);
  if (!status.ok()) return status;
  Synced(path, 0);
  *file = std::make_unique<FaultFile>(std::move(real), this, path);
  return status;
}

// One life after the other of a backend on such a disk, and what it must still know.
class Lives {
 public:
  explicit Lives(uint64_t seed) : random_(seed), source_(random_), states_(1) {
    options_.dir = folder_.path() + "/kv";
    options_.cache_bytes = 1 << 20;
    options_.memtable_bytes = 64 << 10;  // several wait to be written at a time
    REQUIRE_OK(ClaimFolder(PosixFileEnv(), options_.dir, "rocksdb"));
  }

  void Begin() {
    system = std::make_shared<FaultFileSystem>();
    env_ = rocksdb::NewCompositeEnv(system);
    auto opened = OpenRocksdbBackend(options_, env_.get());
    REQUIRE_OK(opened.status());
    backend = std::move(*opened);
    Model found = ReadModel(*backend);
    const uint64_t number = BatchSource::NumberOf(found);
    REQUIRE(number >= synced_);
    REQUIRE(number < states_.size());
    REQUIRE(found == states_[number]);
    states_.resize(number + 1);
  }

  // Until something fails or `batches` are written.
  absl::Status Work(uint64_t batches) {
    absl::Status status;
    for (uint64_t i = 0; i < batches && status.ok(); ++i) {
      std::vector<OwnedOp> ops = source_.Next(60);
      ops.back() = PutOp(Table::kMeta, "number", std::to_string(states_.size()));
      states_.push_back(states_.back());
      for (const OwnedOp& op : ops) states_.back().Apply(op);
      status = WriteOps(*backend, ops);
      if (!status.ok() || !random_.OneIn(25)) continue;
      status = backend->Sync();
      if (status.ok()) synced_ = states_.size() - 1;
    }
    return status;
  }

  void End() {
    backend.reset();
    system->Forget(random_);
  }
  Random& random() { return random_; }

  std::shared_ptr<FaultFileSystem> system;

 private:
  TempDir folder_;
  KvOptions options_;
  Random random_;
  BatchSource source_;
  std::vector<Model> states_;
  uint64_t synced_ = 0;
  std::unique_ptr<rocksdb::Env> env_;

 public:
  std::unique_ptr<KvBackend> backend;  // last: it works on threads that use the others
};

TEST_CASE("rocksdb: after a power loss with memtables unwritten it is at a whole batch",
          "[rocksdb][crash]") {
  Lives lives(TestSeed() + 60);
  for (int life = 0; life < 4; ++life) {
    lives.Begin();
    lives.system->bytes_until_power_loss = static_cast<int64_t>(lives.random().Below(600'000));
    const absl::Status status = lives.Work(400);
    REQUIRE((status.ok() || lives.system->power_lost));
    lives.system->power_lost = true;  // what the closing would write is lost, too
    lives.End();
  }
  lives.Begin();
}

TEST_CASE("rocksdb: a full disk is told as that, is final, and loses nothing synced",
          "[rocksdb][crash]") {
  Lives lives(TestSeed() + 61);
  for (int life = 0; life < 2; ++life) {
    lives.Begin();
    lives.system->bytes_until_full = 300'000;
    const absl::Status status = lives.Work(2000);
    INFO(status.ToString());
    REQUIRE(absl::IsResourceExhausted(status));
    CHECK(std::string(status.message()).find("pace") != std::string::npos);
    lives.system->bytes_until_full = INT64_MAX;
    CHECK(lives.backend->Sync() == status);
    CHECK(lives.Work(1) == status);
    lives.End();
  }
  lives.Begin();
}

TEST_CASE("rocksdb: a failed sync is final, and what it left is not counted as durable",
          "[rocksdb][crash]") {
  Lives lives(TestSeed() + 62);
  for (int life = 0; life < 2; ++life) {
    lives.Begin();
    REQUIRE_OK(lives.Work(20));
    lives.system->syncs_fail = true;
    REQUIRE(!lives.Work(2000).ok());
    lives.system->syncs_fail = false;
    CHECK(!lives.backend->Sync().ok());
    CHECK(!lives.Work(1).ok());
    lives.End();
  }
  lives.Begin();
}

TEST_CASE("rocksdb: a compaction that finds the disk full is told as that", "[rocksdb][crash]") {
  Lives lives(TestSeed() + 63);
  lives.Begin();
  REQUIRE_OK(lives.Work(200));
  REQUIRE_OK(lives.backend->Sync());
  lives.system->bytes_until_full = 1000;
  CHECK(absl::IsResourceExhausted(ReclaimAll(*lives.backend)));
  lives.system->bytes_until_full = INT64_MAX;
  lives.End();
  lives.Begin();
}

}  // namespace
}  // namespace quorate::kv
