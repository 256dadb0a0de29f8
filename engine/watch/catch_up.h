// Catch-up: a job reads one stretch of history for many watches at once and encodes what they
// match; the replica thread then hands it out. Watches that need the same stretch share a job.
//
// The worker touches only the job's own memory. prev_kv comes from the stretch itself where the
// key changed twice in it, else from the store when the job is back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "engine/watch/event_block.h"
#include "engine/watch/hub.h"
#include "engine/watch/match_index.h"
#include "engine/watch/watcher.h"

namespace quorate::engine {

// What one interval of a job collects.
struct JobTarget {
  int64_t first_main = 0;  // nothing below is needed
  bool want_prev_kv = false;
  std::vector<uint32_t> matched;  // indexes of CatchUpResult::records
};
using JobIndex = MatchIndex<JobTarget>;

class HistoryJob final : public CatchUpJob {
 public:
  struct Stretch {
    int64_t first_main = 0;
    int64_t last_main = 0;
    uint64_t bytes_max = 0;  // stop after the whole revision that reaches it
  };
  HistoryJob(uint64_t flight_id, const Stretch& stretch)
      : flight_id_(flight_id), stretch_(stretch), through_(stretch.first_main - 1) {}

  // Before Run, replica thread.
  JobIndex::Target* AddTarget(std::string_view begin, std::string_view end, int64_t first_main,
                              EventVariant variant);

  int64_t first_main() const override { return stretch_.first_main; }
  int64_t last_main() const override { return stretch_.last_main; }
  void Run(const HistoryReader& history) override;

  // After Run, replica thread.
  enum class Outcome { kNotRun, kDone, kFailed };
  Outcome outcome() const { return outcome_; }
  const absl::Status& status() const { return status_; }  // kFailed: what the history said
  uint64_t flight_id() const { return flight_id_; }
  int64_t through() const { return through_; }  // all revisions up to here were read
  int64_t MainOf(uint32_t record) const { return records_[record].main; }
  RecordKind KindOf(uint32_t record) const { return records_[record].kind; }
  const EventBlock& plain() const { return plain_; }
  // The same events with prev_kv, for the targets that asked. Error: records cannot be read.
  absl::Status BuildWithPrevious(const WatchStore& store, EventBlock* block) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Record {
    int64_t main = 0;
    RecordKind kind = RecordKind::kPut;
    bool want_prev_kv = false;
    bool creation = false;    // a put that had nothing before it
    int32_t earlier = kNone;  // the key's newest record of an earlier revision in this job
    uint64_t kv_begin = 0, kv_end = 0;  // in plain_.buffer; empty for tombstones
    uint64_t key_begin = 0, key_end = 0;
  };

  bool Visit(const RecordRef& ref, std::string_view kv);
  void Keep(const RecordRef& ref, std::string_view key, std::string_view kv, bool want_prev_kv,
            bool creation);
  EventParts PartsWithPrevious(uint32_t index, std::optional<std::string_view> from_store) const;
  std::string_view Text(uint64_t begin, uint64_t end) const {
    return plain_.buffer.view().substr(begin, end - begin);
  }

  const uint64_t flight_id_;
  const Stretch stretch_;
  int64_t through_;
  Outcome outcome_ = Outcome::kNotRun;
  absl::Status status_;
  JobIndex index_;
  std::vector<Record> records_;
  EventBlock plain_;

  // Only while it runs.
  std::string buffer_;
  uint64_t bytes_read_ = 0;
  int64_t reading_main_ = 0;
  absl::flat_hash_map<std::string, uint32_t> newest_;  // by key, for targets that want prev_kv
};

// Hub's side of a job under way.
struct Flight {
  struct Slot {
    Watcher* watcher = nullptr;  // null once it was cancelled
    JobIndex::Target* target = nullptr;
  };
  // An event published meanwhile that one of the watchers will want: so that a watcher that caught
  // up while others write is synced at once and need not run after the head.
  struct TailEvent {
    uint32_t slot;
    uint32_t batch;  // in tail_batches
    uint32_t event;
  };
  uint64_t id = 0;
  int64_t last_main = 0;
  bool collects_tail = false;  // the stretch ends at the revision published when it was made
  uint64_t tail_bytes = 0;
  std::vector<Slot> slots;
  std::vector<TailEvent> tail;  // in order of publication
  std::vector<EventBatchPtr> tail_batches;
};

}  // namespace quorate::engine
