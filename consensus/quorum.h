// What a majority says: of one set of voters, or of both halves of a joint configuration (Raft §6:
// while two configurations are in force, each has to agree by itself). Pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "base/ids.h"
#include "consensus/conf_change.h"

namespace quorate::consensus {

// The highest value that a majority of `voters` has reached. No voters object to nothing.
inline uint64_t MajorityReached(const std::vector<MemberId>& voters,
                                absl::FunctionRef<uint64_t(MemberId)> reached) {
  if (voters.empty()) return std::numeric_limits<uint64_t>::max();
  absl::InlinedVector<uint64_t, 9> values;
  for (const MemberId voter : voters) values.push_back(reached(voter));
  std::sort(values.begin(), values.end(), std::greater<>());
  return values[voters.size() / 2];
}

inline uint64_t QuorumReached(const ConfState& conf,
                              absl::FunctionRef<uint64_t(MemberId)> reached) {
  return std::min(MajorityReached(conf.voters, reached),
                  MajorityReached(conf.voters_outgoing, reached));
}

inline bool QuorumAgrees(const ConfState& conf, absl::FunctionRef<bool(MemberId)> agrees) {
  return QuorumReached(conf, [&](MemberId id) -> uint64_t { return agrees(id) ? 1 : 0; }) != 0;
}

enum class VoteResult : uint8_t { kPending, kWon, kLost };

// `votes` holds the answers so far; those of others than voters do not count.
inline VoteResult CountVotes(const ConfState& conf, const std::map<MemberId, bool>& votes) {
  const auto granted = [&](MemberId id) {
    const auto found = votes.find(id);
    return found != votes.end() && found->second;
  };
  const auto not_refused = [&](MemberId id) {
    const auto found = votes.find(id);
    return found == votes.end() || found->second;
  };
  if (QuorumAgrees(conf, granted)) return VoteResult::kWon;
  return QuorumAgrees(conf, not_refused) ? VoteResult::kPending : VoteResult::kLost;
}

}  // namespace quorate::consensus
