#include "server/corruption_rules.h"

#include <catch2/catch.hpp>

namespace quorate::server {
namespace {

constexpr MemberId kLeader(1), kA(2), kB(3), kC(4);

HashAt At(int64_t revision, int64_t compact_revision, uint32_t hash) {
  return {revision, compact_revision, revision, hash};
}

TEST_CASE("a start: the same history with another hash is refused, all else is let pass") {
  const HashAt own = At(10, 4, 77);
  CHECK(JudgeStart(own, {}).empty());
  CHECK(JudgeStart(own, {{kA, At(10, 4, 77), ""}, {kB, std::nullopt, "down"}}).empty());
  CHECK(JudgeStart(own, {{kA, At(10, 6, 78), ""}}).empty());  // compacted differently: no word
  const std::string refused = JudgeStart(own, {{kA, At(10, 4, 77), ""}, {kB, At(10, 4, 78), ""}});
  CHECK(refused.find("found data inconsistency with peers") == 0);
  CHECK(refused.find("hash 78") != std::string::npos);
}

TEST_CASE("periodic: a follower with the leader's compaction and another hash is corrupt") {
  const HashAt own = At(10, 4, 77);
  CHECK(JudgePeriodic(kLeader, own, {{kA, own, ""}, {kB, std::nullopt, "behind"}}, own)
            .corrupt.empty());
  CHECK(JudgePeriodic(kLeader, own, {{kA, At(10, 3, 5), ""}}, own).corrupt.empty());
  const Judgement judgement =
      JudgePeriodic(kLeader, own, {{kA, own, ""}, {kB, At(10, 4, 78), ""}}, own);
  CHECK(judgement.corrupt == std::vector<MemberId>{kB});
}

TEST_CASE("periodic: a follower that is ahead of the leader in revision or compaction is corrupt") {
  const HashAt own = At(10, 4, 77);
  HashAt ahead = own;
  ahead.current_revision = 11;
  CHECK(JudgePeriodic(kLeader, own, {{kA, ahead, ""}}, own).corrupt == std::vector<MemberId>{kA});
  HashAt later = own;
  later.current_revision = 11;  // the leader has it as well by now
  CHECK(JudgePeriodic(kLeader, own, {{kA, ahead, ""}}, later).corrupt.empty());
  CHECK(JudgePeriodic(kLeader, own, {{kA, At(10, 5, 1), ""}}, own).corrupt ==
        std::vector<MemberId>{kA});
}

TEST_CASE("periodic: one member is accused at a time, the leader first when its own hash changed") {
  const HashAt own = At(10, 4, 77);
  const Judgement judgement =
      JudgePeriodic(kLeader, own, {{kA, At(10, 4, 1), ""}, {kB, At(10, 4, 2), ""}}, At(10, 4, 99));
  CHECK(judgement.corrupt == std::vector<MemberId>{kLeader});
  CHECK(judgement.reasons.size() == 3);
}

TEST_CASE("compaction: who differs from a majority is corrupt, the leader too") {
  const HashAt own = At(10, 4, 77);
  const HashAt other = At(10, 4, 78);
  CHECK(JudgeCompaction(kLeader, own, {{kA, own, ""}, {kB, other, ""}}).corrupt ==
        std::vector<MemberId>{kB});
  CHECK(JudgeCompaction(kLeader, own, {{kA, other, ""}, {kB, other, ""}}).corrupt ==
        std::vector<MemberId>{kLeader});
}

TEST_CASE("compaction: without a majority nobody can say who it is, and the cluster is accused") {
  const HashAt own = At(10, 4, 77);
  const HashAt other = At(10, 4, 78);
  CHECK(JudgeCompaction(kLeader, own, {{kA, other, ""}}).corrupt ==
        std::vector<MemberId>{MemberId(0)});
  CHECK(JudgeCompaction(kLeader, own, {{kA, own, ""}, {kB, other, ""}, {kC, other, ""}}).corrupt ==
        std::vector<MemberId>{MemberId(0)});
  // Those that cannot be asked count for the quorum.
  CHECK(JudgeCompaction(kLeader, own, {{kA, other, ""}, {kB, std::nullopt, ""}}).corrupt ==
        std::vector<MemberId>{MemberId(0)});
}

TEST_CASE("compaction: equal hashes of a part of the cluster decide nothing") {
  const HashAt own = At(10, 4, 77);
  const CompactionJudgement all = JudgeCompaction(kLeader, own, {{kA, own, ""}, {kB, own, ""}});
  CHECK((all.conclusive && all.all_equal && all.corrupt.empty()));
  const CompactionJudgement part =
      JudgeCompaction(kLeader, own, {{kA, own, ""}, {kB, At(10, 3, 1), ""}});
  CHECK((!part.conclusive && part.all_equal && part.corrupt.empty()));
}

}  // namespace
}  // namespace quorate::server
