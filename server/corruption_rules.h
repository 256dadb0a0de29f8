// Who is corrupt: etcd's rules for judging the hashes of a leader and of the other members. Values;
// server/corruption_monitor.h asks for the hashes and raises the alarms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"

namespace quorate::server {

// HashKV of one member at one revision.
struct HashAt {
  int64_t revision = 0;          // the hash's
  int64_t compact_revision = 0;  // when it was made
  int64_t current_revision = 0;  // the member's
  uint32_t hash = 0;
};

struct PeerHash {
  MemberId member;
  std::optional<HashAt> hash;
  std::string why_not;  // without one: what the member said, or that it could not be asked
};

struct Judgement {
  // Whom to raise CORRUPT for; member 0 = the cluster, since nobody can say who it is.
  std::vector<MemberId> corrupt;
  std::vector<std::string> reasons;  // to be logged
};

// A member that starts compares itself with the others at the revision of its disk. Not empty: it
// must not serve; why.
std::string JudgeStart(const HashAt& own, const std::vector<PeerHash>& peers);

// The periodic check. `before` was made before the peers were asked (at its revision), `after` when
// all that was committed by then was applied. At most one member is accused at a time.
Judgement JudgePeriodic(MemberId leader, const HashAt& before, const std::vector<PeerHash>& peers,
                        const HashAt& after);

// The hashes that all members kept of one compaction.
struct CompactionJudgement : Judgement {
  // All members were compared, or some accused: older compactions need no look.
  bool conclusive = false;
  bool all_equal = false;
};
CompactionJudgement JudgeCompaction(MemberId leader, const HashAt& own,
                                    const std::vector<PeerHash>& peers);

}  // namespace quorate::server
