// Micro benchmarks of the backends: batches of 1000 records of a 17-byte key and a 300-byte value
// in key order (what the server writes), point reads, scans, opening.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/check.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr size_t kBatchRecords = 1000;
constexpr size_t kKeyBytes = 17;
constexpr size_t kValueBytes = 300;

class Bench {
 public:
  explicit Bench(std::string name) : name_(std::move(name)), random_(1) {
    options_.dir = folder_.path() + "/kv";
    values_.resize(1 << 20);
    for (char& c : values_) c = static_cast<char>(random_.Next());
    Open();
  }

  static std::string Key(uint64_t number) {
    std::string key(kKeyBytes, '\0');
    for (int i = 0; i < 8; ++i) key[7 - i] = static_cast<char>(number >> (8 * i));
    key[8] = '_';
    return key;
  }

  void Open() {
    auto opened = OpenKvBackend(name_, options_);
    QR_CHECK_MSG(opened.ok(), opened.status().ToString());
    backend_ = std::move(*opened);
  }
  void Close() { backend_.reset(); }

  void WriteBatchOfNew() {
    keys_.clear();
    batch_.clear();
    for (size_t i = 0; i < kBatchRecords; ++i) keys_.push_back(Key(next_++));
    for (const std::string& key : keys_) {
      const size_t at = random_.Below(values_.size() - kValueBytes);
      const std::string_view value = std::string_view(values_).substr(at, kValueBytes);
      batch_.push_back({WriteOp::Kind::kPut, Table::kKey, key, value});
    }
    batch_.push_back({WriteOp::Kind::kPut, Table::kMeta, "consistent_index", keys_.back()});
    QR_CHECK(backend_->Write(batch_).ok());
  }
  void Fill(uint64_t records) {
    while (next_ < records) WriteBatchOfNew();
    QR_CHECK(backend_->Sync().ok());
  }

  void DeleteEverySecond() {
    for (uint64_t at = 0; at < next_; at += 2 * kBatchRecords) {
      keys_.clear();
      batch_.clear();
      for (uint64_t i = at; i < at + 2 * kBatchRecords; i += 2) keys_.push_back(Key(i));
      for (const std::string& key : keys_) {
        batch_.push_back({WriteOp::Kind::kDelete, Table::kKey, key, {}});
      }
      QR_CHECK(backend_->Write(batch_).ok());
    }
    QR_CHECK(backend_->Sync().ok());
  }

  KvBackend& backend() { return *backend_; }
  Random& random() { return random_; }
  uint64_t records() const { return next_; }

 private:
  TempDir folder_;
  const std::string name_;
  KvOptions options_;
  Random random_;
  std::string values_;
  std::unique_ptr<KvBackend> backend_;
  uint64_t next_ = 0;
  std::vector<std::string> keys_;
  WriteBatch batch_;
};

void SetRate(benchmark::State& state, uint64_t records) {
  state.SetItemsProcessed(static_cast<int64_t>(records));
  state.SetBytesProcessed(static_cast<int64_t>(records * (kKeyBytes + kValueBytes)));
}

// What this process has given to the disk so far.
uint64_t BytesToDisk() {
  std::ifstream io("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (io >> name >> value) {
    if (name == "write_bytes:") return value;
  }
  return 0;
}

// With a sync every 100 batches, as a busy server would.
void BM_Write(benchmark::State& state, const std::string& name) {
  Bench bench(name);
  uint64_t batches = 0;
  const uint64_t before = BytesToDisk();
  for (auto _ : state) {
    bench.WriteBatchOfNew();
    if (++batches % 100 == 0) QR_CHECK(bench.backend().Sync().ok());
  }
  QR_CHECK(bench.backend().Sync().ok());
  state.counters["written/payload"] =
      static_cast<double>(BytesToDisk() - before) /
      static_cast<double>(bench.records() * (kKeyBytes + kValueBytes));
  SetRate(state, batches * kBatchRecords);
  state.counters["disk/payload"] = static_cast<double>(bench.backend().Sizes().on_disk) /
                                   static_cast<double>(bench.records() * (kKeyBytes + kValueBytes));
}

void BM_PointRead(benchmark::State& state, const std::string& name) {
  Bench bench(name);
  bench.Fill(200'000);
  size_t found = 0;
  for (auto _ : state) {
    const std::string key = Bench::Key(bench.random().Below(bench.records()));
    const std::string_view view = key;
    QR_CHECK(bench.backend()
                 .Read(Table::kKey, std::span(&view, 1),
                       [&](size_t, std::optional<std::string_view> value) {
                         found += value.has_value() ? 1 : 0;
                       })
                 .ok());
  }
  QR_CHECK(found == static_cast<uint64_t>(state.iterations()));
  SetRate(state, found);
}

void BM_Scan(benchmark::State& state, const std::string& name) {
  Bench bench(name);
  bench.Fill(200'000);
  uint64_t records = 0;
  for (auto _ : state) {
    auto snapshot = bench.backend().NewSnapshot();
    QR_CHECK(snapshot.ok());
    uint64_t bytes = 0;
    const absl::Status status =
        (*snapshot)->Scan(Table::kKey, {}, {}, [&](std::string_view key, std::string_view value) {
          bytes += key.size() + value.size();
          ++records;
          return true;
        });
    QR_CHECK(status.ok());
    QR_CHECK(bytes == bench.records() * (kKeyBytes + kValueBytes));
  }
  SetRate(state, records);
}

void BM_Open(benchmark::State& state, const std::string& name) {
  Bench bench(name);
  bench.Fill(200'000);
  bench.Close();
  for (auto _ : state) {
    bench.Open();
    bench.Close();
  }
  SetRate(state, state.iterations() * bench.records());
}

// Every third record of those that are there goes, in batches, as a compaction would delete.
void BM_Delete(benchmark::State& state, const std::string& name) {
  Bench bench(name);
  uint64_t removed = 0;
  for (auto _ : state) {
    state.PauseTiming();
    const uint64_t first = bench.records();
    bench.Fill(first + 30'000);
    state.ResumeTiming();
    for (uint64_t at = first; at < bench.records(); at += 3000) {
      std::vector<std::string> keys;
      for (uint64_t i = at; i < at + 3000; i += 3) keys.push_back(Bench::Key(i));
      WriteBatch batch;
      for (const std::string& key : keys) {
        batch.push_back({WriteOp::Kind::kDelete, Table::kKey, key, {}});
      }
      QR_CHECK(bench.backend().Write(batch).ok());
      removed += keys.size();
    }
  }
  SetRate(state, removed);
}

double Milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// The longest and the 99th percentile of a set of durations.
class Waits {
 public:
  template <class Function>
  void Time(Function&& function) {
    const auto start = std::chrono::steady_clock::now();
    function();
    waits_ms_.push_back(Milliseconds(std::chrono::steady_clock::now() - start));
  }
  void Report(benchmark::State& state, const std::string& name) {
    std::sort(waits_ms_.begin(), waits_ms_.end());
    state.counters[name + "_max_ms"] = waits_ms_.back();
    state.counters[name + "_p99_ms"] = waits_ms_[waits_ms_.size() * 99 / 100];
  }

 private:
  std::vector<double> waits_ms_;
};

// 1,000,000 old revisions go in batches of 1000, as a compaction deletes them, new ones come
// between; how long a Write takes at most, then a walk over what is left.
void BM_DeleteMillion(benchmark::State& state, const std::string& name) {
  constexpr uint64_t kRevisions = 1'000'000;
  Bench bench(name);
  bench.Fill(kRevisions + 50'000);
  for (auto _ : state) {
    Waits writes;
    for (uint64_t at = 0; at < kRevisions; at += kBatchRecords) {
      std::vector<std::string> keys;
      for (uint64_t i = at; i < at + kBatchRecords; ++i) keys.push_back(Bench::Key(i));
      WriteBatch batch;
      for (const std::string& key : keys) {
        batch.push_back({WriteOp::Kind::kDelete, Table::kKey, key, {}});
      }
      writes.Time([&] { QR_CHECK(bench.backend().Write(batch).ok()); });
      if (at % (10 * kBatchRecords) == 0) writes.Time([&] { bench.WriteBatchOfNew(); });
    }
    writes.Report(state, "write");
    Waits scan;
    scan.Time([&] {
      auto snapshot = bench.backend().NewSnapshot();
      QR_CHECK(snapshot.ok());
      QR_CHECK(
          (*snapshot)
              ->Scan(Table::kKey, {}, {}, [](std::string_view, std::string_view) { return false; })
              .ok());
    });
    scan.Report(state, "first_record");
  }
}

// 200 MB of which every second record is deleted; space is given back while new records come.
void BM_Reclaim(benchmark::State& state, const std::string& name) {
  Bench bench(name);
  bench.Fill(630'000);
  bench.DeleteEverySecond();
  for (auto _ : state) {
    Waits steps;
    Waits writes;
    bool done = false;
    while (!done) {
      steps.Time([&] {
        const auto progress = bench.backend().ReclaimStep();
        QR_CHECK(progress.ok());
        done = *progress == ReclaimProgress::kDone;
      });
      writes.Time([&] { bench.WriteBatchOfNew(); });
    }
    steps.Report(state, "step");
    writes.Report(state, "write");
  }
}

[[maybe_unused]] const bool registered = [] {
  using Function = void (*)(benchmark::State&, const std::string&);
  // These begin with a store of their own making: once is enough.
  const std::pair<const char*, Function> once[] = {{"DeleteMillion", BM_DeleteMillion},
                                                   {"Reclaim", BM_Reclaim}};
  for (const auto& [title, function] : once) {
    for (const KvBackendRow& row : KvBackendRegistry()) {
      const std::string name(row.traits.name);
      benchmark::RegisterBenchmark(
          StrCat(title, "/", name).c_str(),
          [function = function, name](benchmark::State& state) { function(state, name); })
          ->Unit(benchmark::kMillisecond)
          ->Iterations(1);
    }
  }
  const std::pair<const char*, Function> benches[] = {{"Write", BM_Write},
                                                      {"PointRead", BM_PointRead},
                                                      {"Scan", BM_Scan},
                                                      {"Delete", BM_Delete},
                                                      {"Open", BM_Open}};
  for (const auto& [title, function] : benches) {
    for (const KvBackendRow& row : KvBackendRegistry()) {
      const std::string name(row.traits.name);
      benchmark::RegisterBenchmark(
          StrCat(title, "/", name).c_str(),
          [function = function, name](benchmark::State& state) { function(state, name); })
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    }
  }
  return true;
}();

}  // namespace
}  // namespace quorate::kv
