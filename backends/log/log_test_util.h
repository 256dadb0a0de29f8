// What the tests of the log share: a trivial model of a log, a source of random steps, and a file
// environment whose power goes at a chosen operation.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/log/log_store.h"
#include "base/fault_file_env.h"
#include "base/random.h"
#include "base/status_util.h"
#include "base/text.h"

#define REQUIRE_OK(expression)                    \
  do {                                            \
    const absl::Status status_ = (expression);    \
    INFO(std::string(ToStd(status_.ToString()))); \
    REQUIRE(status_.ok());                        \
  } while (false)

namespace quorate::log {

inline constexpr LogIdentity kTestIdentity{MemberId(0xa1), ClusterId(0xc1)};

inline Entry MakeEntry(uint64_t index, uint64_t term, std::string payload) {
  return {Term(term), LogIndex(index), EntryType::kNormal, Bytes::FromString(std::move(payload))};
}

inline bool SameEntry(const Entry& a, const Entry& b) {
  return a.term == b.term && a.index == b.index && a.type == b.type &&
         a.data.view() == b.data.view();
}

// A snapshot that took the place of all entries.
struct LogReset {
  LogIndex index;
  Term term;
};
using LogRecord = std::variant<Entry, HardState, LogReset>;

// A log that forgets nothing: entries from 1 on, also those that were cut off in front. Those that
// only a snapshot had are blanks.
struct LogModel {
  std::vector<Entry> entries;
  HardState hard_state;

  uint64_t last() const { return entries.size(); }
  void Put(const Entry& entry) {
    entries.resize(entry.index.value() - 1);
    entries.push_back(entry);
  }
  void Reset(const LogReset& reset) {
    const uint64_t index = reset.index.value();
    entries.resize(index - 1, MakeEntry(0, 0, ""));
    entries.push_back(MakeEntry(index, reset.term.value(), ""));
    if (hard_state.term < reset.term) hard_state = {reset.term, MemberId(0), reset.index};
    hard_state.commit = reset.index;
  }
  void Apply(const LogRecord& record) {
    if (const auto* entry = std::get_if<Entry>(&record)) {
      Put(*entry);
    } else if (const auto* reset = std::get_if<LogReset>(&record)) {
      Reset(*reset);
    } else {
      hard_state = std::get<HardState>(record);
    }
  }
};

// The first difference between a store and the model, "" when there is none.
inline std::string Difference(const LogStore& store, const LogModel& model) {
  if (store.last_index().value() != model.last()) {
    return StrCat("last index ", store.last_index().value(), " and not ", model.last());
  }
  if (store.hard_state() != model.hard_state) {
    return StrCat("commit ", store.hard_state().commit.value(), " and not ",
                  model.hard_state.commit.value(), ", or another term or vote");
  }
  const LogIndex first = store.first_index();
  if (first.value() == 0 || first > store.last_index().Next()) return "impossible first index";
  uint64_t next = first.value();
  std::string difference;
  const absl::Status read = store.Read(first, store.last_index(), [&](const Entry& entry) {
    if (entry.index.value() != next || !SameEntry(entry, model.entries[next - 1])) {
      difference = StrCat("entry ", next, " differs");
    }
    ++next;
    return difference.empty();
  });
  if (!read.ok()) return std::string(ToStd(read.ToString()));
  if (!difference.empty()) return difference;
  if (next != model.last() + 1) return StrCat("only ", next - 1, " entries were read");
  for (uint64_t i = first.value() - 1; i <= model.last(); ++i) {
    const Term term = i == 0 ? Term(0) : model.entries[i - 1].term;
    if (store.TermAt(LogIndex(i)) != term) return StrCat("the term at ", i, " differs");
  }
  if (store.TermAt(LogIndex(model.last() + 1))) return "a term beyond the last entry";
  if (first.value() >= 2 && store.TermAt(LogIndex(first.value() - 2))) return "a term too far back";
  return difference;
}

// One append: entries, and perhaps a hard state.
struct LogBatch {
  std::vector<Entry> entries;
  std::optional<HardState> hard_state;

  absl::Status AppendTo(LogStore& store) const {
    return store.Append(entries, hard_state ? &*hard_state : nullptr);
  }
  std::vector<LogRecord> Records() const {
    std::vector<LogRecord> records(entries.begin(), entries.end());
    if (hard_state) records.emplace_back(*hard_state);
    return records;
  }
};

// Draws batches as a raft would write them: terms rise, conflicts reach back to the commit.
class BatchSource {
 public:
  explicit BatchSource(Random& random) : random_(random) {}

  LogBatch Next(const LogModel& now) {
    LogBatch batch;
    const uint64_t commit = now.hard_state.commit.value();
    uint64_t last = now.last();
    uint64_t term = std::max<uint64_t>(last == 0 ? 1 : now.entries.back().term.value(),
                                       now.hard_state.term.value());
    bool new_term = random_.OneIn(8);
    if (random_.OneIn(6) && last > commit) {
      last = commit + random_.Below(last - commit);
      new_term = true;
    }
    if (new_term) ++term;
    const uint64_t count = random_.OneIn(10) ? 0 : 1 + random_.Below(6);
    for (uint64_t i = 0; i < count; ++i) batch.entries.push_back(Draw(++last, term));
    if (count == 0) last = now.last();
    if (new_term || count == 0 || random_.OneIn(2)) {
      batch.hard_state = HardState{Term(term), MemberId(random_.Below(3)),
                                   LogIndex(commit + random_.Below(last - commit + 1))};
    }
    return batch;
  }

 private:
  Entry Draw(uint64_t index, uint64_t term) {
    size_t size = random_.Below(300);
    if (random_.OneIn(10)) size = 0;
    if (random_.OneIn(20)) size = 3000 + random_.Below(9000);  // also beyond a whole segment
    std::string payload(size, '\0');
    for (char& byte : payload) byte = static_cast<char>(random_.Below(4));
    Entry entry = MakeEntry(index, term, std::move(payload));
    if (random_.OneIn(5)) entry.type = EntryType::kConfChangeV2;
    return entry;
  }

  Random& random_;
};

// A snapshot that raft could install: not older than the commit, perhaps far ahead of the log.
inline LogReset DrawReset(Random& random, const LogModel& now) {
  const uint64_t last_term = now.entries.empty() ? 1 : now.entries.back().term.value();
  const uint64_t index = std::max<uint64_t>(1, now.hard_state.commit.value() + random.Below(30));
  return {LogIndex(index),
          Term(std::max(last_term, now.hard_state.term.value()) + random.Below(2))};
}

// Passes everything on until `operations` changes were made; from then on all fails.
class FuseFileEnv final : public FileEnv {
 public:
  FuseFileEnv(FileEnv* base, uint64_t operations) : base_(base), left_(operations) {}
  bool blown() const { return blown_; }

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, WriteMode mode) override {
    return Wrap(base_->Open(path, mode));
  }
  absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path, WriteMode mode) override {
    QR_RETURN_IF_ERROR(Burn());
    return Wrap(base_->Create(path, mode));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    QR_RETURN_IF_ERROR(Burn());
    return base_->Rename(from, to);
  }
  absl::Status Remove(const std::string& path) override {
    QR_RETURN_IF_ERROR(Burn());
    return base_->Remove(path);
  }
  absl::Status MakeDirs(const std::string& path) override { return base_->MakeDirs(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override {
    return base_->List(dir);
  }
  bool Exists(const std::string& path) override { return base_->Exists(path); }
  absl::Status SyncDir(const std::string& dir) override {
    QR_RETURN_IF_ERROR(Burn());
    return base_->SyncDir(dir);
  }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return base_->Lock(path);
  }

 private:
  class FuseFile final : public File {
   public:
    FuseFile(FuseFileEnv* env, std::unique_ptr<File> file) : env_(env), file_(std::move(file)) {}
    absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
      QR_RETURN_IF_ERROR(env_->Burn());
      return file_->WriteAt(offset, pieces);
    }
    absl::StatusOr<size_t> ReadAt(uint64_t offset, size_t size, char* out) const override {
      return file_->ReadAt(offset, size, out);
    }
    absl::Status Sync() override {
      QR_RETURN_IF_ERROR(env_->Burn());
      return file_->Sync();
    }
    absl::Status Preallocate(uint64_t size) override {
      QR_RETURN_IF_ERROR(env_->Burn());
      return file_->Preallocate(size);
    }
    absl::Status Truncate(uint64_t size) override {
      QR_RETURN_IF_ERROR(env_->Burn());
      return file_->Truncate(size);
    }
    absl::StatusOr<uint64_t> Size() const override { return file_->Size(); }
    const std::string& path() const override { return file_->path(); }

   private:
    FuseFileEnv* const env_;
    const std::unique_ptr<File> file_;
  };

  absl::Status Burn() {
    if (left_ == 0) {
      blown_ = true;
      return absl::UnavailableError("the power is gone");
    }
    --left_;
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<File>> Wrap(absl::StatusOr<std::unique_ptr<File>> file) {
    QR_RETURN_IF_ERROR(file.status());
    return std::unique_ptr<File>(std::make_unique<FuseFile>(this, *std::move(file)));
  }

  FileEnv* const base_;
  uint64_t left_;
  bool blown_ = false;
};

}  // namespace quorate::log
