// One suite over every log store. The in-memory one is the reference: what it does is what a log
// means.
#include <atomic>
#include <thread>

#include "backends/log/log_test_util.h"
#include "base/check.h"
#include "base/temp_dir.h"
#include "base/test_seed.h"

namespace quorate::log {
namespace {

// A store under test, and what it needs to live.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual std::string name() const = 0;
  virtual bool durable() const { return true; }
  virtual std::unique_ptr<LogStore> Create() = 0;
  // Closes `log` and opens what it left.
  virtual std::unique_ptr<LogStore> Reopen(std::unique_ptr<LogStore> log) = 0;
};

class MemorySubject final : public Subject {
 public:
  std::string name() const override { return "memory"; }
  bool durable() const override { return false; }
  std::unique_ptr<LogStore> Create() override { return CreateMemoryLog(kTestIdentity); }
  std::unique_ptr<LogStore> Reopen(std::unique_ptr<LogStore> log) override { return log; }
};

class SegmentedSubject final : public Subject {
 public:
  SegmentedSubject(LogSync sync, uint64_t segment_bytes) {
    options_.dir = folder_.path() + "/log";
    options_.env = PosixFileEnv();
    options_.sync = sync;
    options_.segment_bytes = segment_bytes;
  }
  std::string name() const override { return StrCat("segmented, ", options_.segment_bytes); }
  std::unique_ptr<LogStore> Create() override {
    auto log = CreateSegmentedLog(options_, kTestIdentity);
    REQUIRE_OK(log.status());
    return *std::move(log);
  }
  std::unique_ptr<LogStore> Reopen(std::unique_ptr<LogStore> log) override {
    log.reset();
    auto opened = OpenSegmentedLog(options_);
    REQUIRE_OK(opened.status());
    return *std::move(opened);
  }

 private:
  TempDir folder_;
  LogOptions options_;
};

void ForEachStore(absl::FunctionRef<void(Subject&)> test) {
  std::vector<std::unique_ptr<Subject>> table;
  table.push_back(std::make_unique<MemorySubject>());
  table.push_back(std::make_unique<SegmentedSubject>(LogSync::kFdatasync, 8192));
  table.push_back(std::make_unique<SegmentedSubject>(LogSync::kDsync, 8192));
  table.push_back(std::make_unique<SegmentedSubject>(LogSync::kNone, 8192));
  table.push_back(std::make_unique<SegmentedSubject>(LogSync::kFdatasync, 1 << 20));
  for (const std::unique_ptr<Subject>& subject : table) {
    INFO(subject->name());
    test(*subject);
  }
}

std::vector<uint64_t> IndexesRead(const LogStore& log, uint64_t first, uint64_t last,
                                  uint64_t count_max = UINT64_MAX) {
  std::vector<uint64_t> seen;
  REQUIRE_OK(log.Read(LogIndex(first), LogIndex(last), [&](const Entry& entry) {
    seen.push_back(entry.index.value());
    return seen.size() < count_max;
  }));
  return seen;
}

TEST_CASE("a new log is empty and knows whose it is", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Reopen(subject.Create());
    REQUIRE(log->identity() == kTestIdentity);
    REQUIRE(log->first_index() == LogIndex(1));
    REQUIRE(log->last_index() == LogIndex(0));
    REQUIRE(log->TermAt(LogIndex(0)) == Term(0));
    REQUIRE_FALSE(log->TermAt(LogIndex(1)));
    REQUIRE(log->hard_state() == HardState{});
    REQUIRE(Difference(*log, {}) == "");
  });
}

TEST_CASE("a new leader's entries replace those they conflict with", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    const std::vector<Entry> old = {MakeEntry(1, 1, "a"), MakeEntry(2, 1, "b"),
                                    MakeEntry(3, 2, "c"), MakeEntry(4, 2, "d")};
    REQUIRE_OK(log->Append(old, nullptr));
    const std::vector<Entry> fresh = {MakeEntry(3, 3, "x")};
    const HardState state{Term(3), MemberId(7), LogIndex(2)};
    REQUIRE_OK(log->Append(fresh, &state));
    REQUIRE_OK(log->Sync());
    log = subject.Reopen(std::move(log));
    LogModel expected;
    for (const Entry& entry : {old[0], old[1], fresh[0]}) expected.Put(entry);
    expected.hard_state = state;
    REQUIRE(Difference(*log, expected) == "");
    REQUIRE_FALSE(log->TermAt(LogIndex(4)));
  });
}

TEST_CASE("one append may hold several leaders' entries", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    const std::vector<Entry> entries = {MakeEntry(1, 1, "a"), MakeEntry(2, 1, "b"),
                                        MakeEntry(3, 1, "c"), MakeEntry(2, 2, "x"),
                                        MakeEntry(3, 2, "y")};
    REQUIRE_OK(log->Append(entries, nullptr));
    REQUIRE_OK(log->Sync());
    log = subject.Reopen(std::move(log));
    LogModel expected;
    for (const Entry& entry : entries) expected.Put(entry);
    REQUIRE(Difference(*log, expected) == "");
  });
}

TEST_CASE("reads are exact, stop when told, and name the range they cannot serve", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    std::vector<Entry> entries;
    for (uint64_t i = 1; i <= 200; ++i) entries.push_back(MakeEntry(i, 1, std::string(i * 3, 'x')));
    REQUIRE_OK(log->Append(entries, nullptr));
    REQUIRE(IndexesRead(*log, 7, 9) == std::vector<uint64_t>{7, 8, 9});
    REQUIRE(IndexesRead(*log, 200, 200) == std::vector<uint64_t>{200});
    REQUIRE(IndexesRead(*log, 1, 200).size() == 200);
    REQUIRE(IndexesRead(*log, 5, 200, 2) == std::vector<uint64_t>{5, 6});
    REQUIRE(IndexesRead(*log, 5, 4).empty());
    size_t visited = 0;
    const auto count = [&](const Entry&) { return ++visited != 0; };
    for (const auto& [first, last] :
         {std::pair<uint64_t, uint64_t>{199, 201}, {0, 3}, {201, 201}}) {
      const absl::Status refused = log->Read(LogIndex(first), LogIndex(last), count);
      REQUIRE(absl::IsOutOfRange(refused));
      REQUIRE(refused.message().find("[1, 200]") != absl::string_view::npos);
    }
    REQUIRE(visited == 0);
  });
}

TEST_CASE("what is cut off in front cannot be read, the rest can", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    LogModel expected;
    for (uint64_t i = 1; i <= 100; ++i) {
      const Entry entry = MakeEntry(i, 1 + i / 30, std::string(400, 'p'));
      expected.Put(entry);
      REQUIRE_OK(log->Append({&entry, 1}, nullptr));
    }
    expected.hard_state = {Term(4), MemberId(0), LogIndex(100)};
    REQUIRE_OK(log->Append({}, &expected.hard_state));
    REQUIRE_OK(log->Sync());
    REQUIRE_OK(log->TruncatePrefix(LogIndex(80)));
    const LogIndex first = log->first_index();
    REQUIRE(first <= LogIndex(81));
    REQUIRE(Difference(*log, expected) == "");
    if (first > LogIndex(1)) {
      const auto any = [](const Entry&) { return true; };
      REQUIRE(absl::IsOutOfRange(log->Read(first.Prev(), LogIndex(100), any)));
    }
    log = subject.Reopen(std::move(log));
    REQUIRE(log->first_index() == first);
    REQUIRE(Difference(*log, expected) == "");
    // All of it: nothing is left, or what is left is right; the log goes on behind it.
    REQUIRE_OK(log->TruncatePrefix(LogIndex(100)));
    const Entry next = MakeEntry(101, 5, "next");
    expected.Put(next);
    REQUIRE_OK(log->Append({&next, 1}, nullptr));
    REQUIRE_OK(log->Sync());
    log = subject.Reopen(std::move(log));
    REQUIRE(Difference(*log, expected) == "");
  });
}

TEST_CASE("a snapshot takes the place of all entries", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    LogModel expected;
    for (uint64_t i = 1; i <= 100; ++i) {
      const Entry entry = MakeEntry(i, 2, std::string(400, 'p'));
      REQUIRE_OK(log->Append({&entry, 1}, nullptr));
      expected.Put(entry);
    }
    const HardState state{Term(3), MemberId(7), LogIndex(90)};
    REQUIRE_OK(log->Append({}, &state));
    expected.hard_state = state;
    // Ahead of the log; then within it; then with a hard state of its own.
    REQUIRE_OK(log->Reset(LogIndex(5000), Term(3), nullptr));
    expected.Reset({LogIndex(5000), Term(3)});
    log = subject.Reopen(std::move(log));
    REQUIRE(log->first_index() == LogIndex(5001));
    REQUIRE(log->last_index() == LogIndex(5000));
    REQUIRE(log->TermAt(LogIndex(5000)) == Term(3));
    REQUIRE_FALSE(log->TermAt(LogIndex(4999)));
    REQUIRE(log->identity() == kTestIdentity);
    REQUIRE(log->hard_state() == HardState{Term(3), MemberId(7), LogIndex(5000)});
    const auto any = [](const Entry&) { return true; };
    REQUIRE(absl::IsOutOfRange(log->Read(LogIndex(5000), LogIndex(5000), any)));
    for (uint64_t i = 5001; i <= 5100; ++i) {
      const Entry entry = MakeEntry(i, 3, std::string(400, 'q'));
      REQUIRE_OK(log->Append({&entry, 1}, nullptr));
      expected.Put(entry);
    }
    REQUIRE_OK(log->Sync());
    REQUIRE_OK(log->TruncatePrefix(LogIndex(5020)));
    REQUIRE(Difference(*log, expected) == "");
    log = subject.Reopen(std::move(log));
    REQUIRE(Difference(*log, expected) == "");
    REQUIRE_OK(log->Reset(LogIndex(5050), Term(4), nullptr));
    expected.Reset({LogIndex(5050), Term(4)});
    REQUIRE(log->first_index() == LogIndex(5051));
    // Nobody was voted for in the term that only the snapshot told of.
    REQUIRE(log->hard_state() == HardState{Term(4), MemberId(0), LogIndex(5050)});
    const HardState fresh{Term(6), MemberId(2), LogIndex(5050)};
    REQUIRE_OK(log->Reset(LogIndex(5060), Term(6), &fresh));
    expected.Reset({LogIndex(5060), Term(6)});
    expected.hard_state = {Term(6), MemberId(2), LogIndex(5060)};
    log = subject.Reopen(std::move(log));
    REQUIRE(Difference(*log, expected) == "");
    const Entry next = MakeEntry(5061, 6, "next");
    expected.Put(next);
    REQUIRE_OK(log->Append({&next, 1}, nullptr));
    REQUIRE_OK(log->Sync());
    log = subject.Reopen(std::move(log));
    REQUIRE(Difference(*log, expected) == "");
  });
}

TEST_CASE("any history leaves what a plain list of entries would hold", "[log]") {
  ForEachStore([](Subject& subject) {
    Random random(TestSeed());
    BatchSource source(random);
    LogModel model;
    auto log = subject.Create();
    uint64_t cut = 0;
    for (int step = 0; step < 400; ++step) {
      const LogBatch batch = source.Next(model);
      REQUIRE_OK(batch.AppendTo(*log));
      for (const auto& record : batch.Records()) model.Apply(record);
      if (random.OneIn(3)) REQUIRE_OK(log->Sync());
      const uint64_t commit = model.hard_state.commit.value();
      if (random.OneIn(10) && commit > 0) {
        cut = std::max(cut, 1 + random.Below(commit));
        REQUIRE_OK(log->Sync());
        REQUIRE_OK(log->TruncatePrefix(LogIndex(cut)));
      }
      if (random.OneIn(25)) log = subject.Reopen(std::move(log));
      if (random.OneIn(40)) {
        const LogReset reset = DrawReset(random, model);
        REQUIRE_OK(log->Reset(reset.index, reset.term, nullptr));
        model.Reset(reset);
        cut = reset.index.value();
      }
      INFO("step " << step);
      REQUIRE(log->first_index().value() <= cut + 1);
      if (step % 7 == 0) REQUIRE(Difference(*log, model) == "");
    }
    log = subject.Reopen(std::move(log));
    REQUIRE(Difference(*log, model) == "");
  });
}

TEST_CASE("stats count what was done", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    const Entry entry = MakeEntry(1, 1, std::string(1000, 'x'));
    REQUIRE_OK(log->Append({&entry, 1}, nullptr));
    REQUIRE_OK(log->Sync());
    REQUIRE_OK(log->Sync());
    REQUIRE(log->stats().syncs == 2);
    REQUIRE(log->stats().bytes_appended >= 1000);
    REQUIRE(log->stats().bytes_appended <= 1100);
  });
}

// A peer that lags reads what it lacks in bounded pieces while the writer appends, replaces, cuts
// and starts anew. Each entry says what it is, so that a mixture would show.
TEST_CASE("readers see whole entries while the log is replaced and begun anew", "[log]") {
  ForEachStore([](Subject& subject) {
    auto log = subject.Create();
    std::atomic<bool> done = false;
    std::thread reader([&] {
      Random random(8);
      while (!done) {
        const uint64_t first = log->first_index().value();
        const uint64_t last = log->last_index().value();
        if (last < first) continue;
        const uint64_t from = first + random.Below(last - first + 1);
        uint64_t expected = from;
        uint64_t bytes = 0;
        const absl::Status read = log->Read(LogIndex(from), LogIndex(last), [&](const Entry& e) {
          QR_CHECK(e.index.value() == expected++);
          QR_CHECK(e.data.view() == StrCat(e.index.value(), " ", e.term.value()));
          bytes += e.data.size();
          return bytes < 400;
        });
        QR_CHECK_MSG(read.ok() || absl::IsOutOfRange(read), read.ToString());
      }
    });
    uint64_t last = 0;
    Random random(9);
    for (uint64_t term = 1; term <= 120; ++term) {
      for (int i = 0; i < 12; ++i) {
        ++last;
        const Entry entry = MakeEntry(last, term, StrCat(last, " ", term));
        QR_CHECK(log->Append({&entry, 1}, nullptr).ok());
      }
      if (term % 3 == 0) last = std::max(log->first_index().value(), last - random.Below(6)) - 1;
      if (term % 5 == 0) {
        QR_CHECK(log->Sync().ok());
        QR_CHECK(log->TruncatePrefix(LogIndex(last - std::min<uint64_t>(last, 40))).ok());
      }
      if (term % 17 == 0) {
        last += random.Below(40);
        QR_CHECK(log->Reset(LogIndex(last), Term(term), nullptr).ok());
      }
    }
    done = true;
    reader.join();
  });
}

TEST_CASE("readers see whole entries while the log grows and is cut", "[log]") {
  ForEachStore([](Subject& subject) {
    constexpr uint64_t kEntries = 3000;
    auto log = subject.Create();
    std::thread reader([&] {
      Random random(7);
      uint64_t last = 0;
      while (last < kEntries) {
        last = log->last_index().value();
        const uint64_t first = log->first_index().value();
        if (last < first) continue;
        const uint64_t from = first + random.Below(last - first + 1);
        uint64_t expected = from;
        bool wrong = false;
        const absl::Status read = log->Read(LogIndex(from), LogIndex(last), [&](const Entry& e) {
          wrong |=
              e.index.value() != expected++ || e.data.view() != std::to_string(e.index.value());
          return expected < from + 50;
        });
        QR_CHECK(read.ok() || absl::IsOutOfRange(read));
        QR_CHECK(!wrong);
        const std::optional<Term> term = log->TermAt(LogIndex(from));
        QR_CHECK(!term || *term == Term(1 + from / 100));
      }
    });
    for (uint64_t i = 1; i <= kEntries; ++i) {
      const Entry entry = MakeEntry(i, 1 + i / 100, std::to_string(i));
      QR_CHECK(log->Append({&entry, 1}, nullptr).ok());
      if (i % 50 == 0 && i > 200) QR_CHECK(log->TruncatePrefix(LogIndex(i - 200)).ok());
    }
    reader.join();
  });
}

}  // namespace
}  // namespace quorate::log
