// AutoCompactor: when the history is compacted without anybody asking (--auto-compaction-mode and
// --auto-compaction-retention), by etcd's rules. Every member watches, the leader alone compacts,
// so that a new leader knows at once how far back the retention reaches. A value: time and state
// come in, the revision to compact to comes out. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/errors.h"

namespace quorate::server {

struct AutoCompaction {
  // kPeriodic keeps what is younger than `retention` nanoseconds; kRevision the last `retention`
  // revisions. 0 = nothing is compacted.
  enum class Mode { kPeriodic, kRevision };
  Mode mode = Mode::kPeriodic;
  int64_t retention = 0;
};

// A whole number is hours or revisions, anything else a Go duration (in the mode of revisions its
// nanoseconds, as etcd has it). kInvalidArgument for what is neither.
absl::StatusOr<AutoCompaction> ParseAutoCompaction(std::string_view mode,
                                                   std::string_view retention);

class AutoCompactor {
 public:
  enum class Role { kLeads, kFollows };

  explicit AutoCompactor(const AutoCompaction& options);

  // To be asked at each tick. A revision = compact to it, then say Done; until then nothing more is
  // asked for.
  std::optional<int64_t> Look(int64_t now_ns, int64_t revision, Role role);
  // `error` is what the compaction was answered with: to be compacted already is as good.
  void Done(const engine::Error& error);

 private:
  struct Asked {
    int64_t revision;
    std::optional<engine::Error> outcome;
  };

  void TakeOutcome(int64_t now_ns);
  std::optional<int64_t> Wanted(int64_t now_ns, int64_t revision);
  void Sample(int64_t now_ns, int64_t revision);

  const AutoCompaction options_;
  const int64_t look_interval_ns_;
  const size_t samples_max_;
  bool begun_ = false;
  int64_t next_look_ns_ = 0;
  int64_t last_done_ns_ = 0;
  int64_t last_revision_ = 0;
  int64_t wait_ns_;              // since last_done_ns_, until the next one
  std::deque<int64_t> samples_;  // kPeriodic: the front is the revision of a retention ago
  std::optional<Asked> asked_;
};

}  // namespace quorate::server
