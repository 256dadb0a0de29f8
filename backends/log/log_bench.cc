// What a batch costs on the way to the disk. TMPDIR says on which disk.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "backends/log/log_store.h"
#include "base/check.h"
#include "base/temp_dir.h"

namespace quorate::log {
namespace {

constexpr LogIdentity kIdentity{MemberId(1), ClusterId(1)};
constexpr size_t kValueBytes = 256;

// Ever the same batch, with new indexes; the log is cut so that segments go round.
class Appender {
 public:
  Appender(LogSync sync, size_t batch) {
    LogOptions options;
    options.dir = folder_.path() + "/log";
    options.env = PosixFileEnv();
    options.sync = sync;
    log_ = CreateSegmentedLog(options, kIdentity).value();
    const Bytes payload = Bytes::FromString(std::string(kValueBytes, 'v'));
    entries_.assign(batch, Entry{Term(1), LogIndex(0), EntryType::kNormal, payload});
  }
  void Append() {
    for (Entry& entry : entries_) entry.index = LogIndex(++last_);
    const HardState state{Term(1), MemberId(1), LogIndex(last_ - entries_.size())};
    QR_CHECK(log_->Append(entries_, &state).ok());
    if (last_ % (1 << 16) < entries_.size()) {
      QR_CHECK(log_->TruncatePrefix(LogIndex(last_ - entries_.size())).ok());
    }
  }
  LogStore& log() { return *log_; }

 private:
  TempDir folder_;
  std::unique_ptr<LogStore> log_;
  std::vector<Entry> entries_;
  uint64_t last_ = 0;
};

void BM_AppendSync(benchmark::State& state) {
  Appender appender(LogSync::kFdatasync, static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    appender.Append();
    QR_CHECK(appender.log().Sync().ok());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_AppendSync)->Arg(1)->Arg(32)->Arg(1024)->UseRealTime();

void BM_AppendOnly(benchmark::State& state) {
  Appender appender(LogSync::kNone, static_cast<size_t>(state.range(0)));
  for (auto _ : state) appender.Append();
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_AppendOnly)->Arg(1)->Arg(32)->Arg(1024);

void BM_Read(benchmark::State& state) {
  Appender appender(LogSync::kNone, 1024);
  for (int i = 0; i < 32; ++i) appender.Append();
  const LogStore& log = appender.log();
  uint64_t entries = 0;
  for (auto _ : state) {
    QR_CHECK(
        log.Read(log.first_index(), log.last_index(), [&](const Entry&) { return ++entries != 0; })
            .ok());
  }
  state.SetItemsProcessed(static_cast<int64_t>(entries));
}
BENCHMARK(BM_Read);

void BM_TermAt(benchmark::State& state) {
  Appender appender(LogSync::kNone, 1024);
  for (int i = 0; i < 32; ++i) appender.Append();
  uint64_t index = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(appender.log().TermAt(LogIndex(1 + index++ % (32 * 1024))));
  }
}
BENCHMARK(BM_TermAt);

}  // namespace
}  // namespace quorate::log
