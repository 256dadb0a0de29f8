#include "tests/sim/check/lease_check.h"

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/text.h"

namespace quorate::sim {
namespace {

struct Life {
  int64_t granted_ns = INT64_MIN;  // seen in the log
  int64_t ended_ns = INT64_MAX;
  bool ended_by_client = false;
  // Each time a client was told how long the lease would live at least: asked at, TTL.
  std::vector<std::pair<int64_t, int64_t>> promises;
};

using Lives = std::map<int64_t, Life>;

Lives LivesOf(const Truth& truth, const History& history) {
  Lives lives;
  for (uint64_t index = 1; index <= truth.last_index(); ++index) {
    const Truth::Committed& entry = truth.entry(index);
    if (entry.answer.error_code != 0) continue;
    if (entry.request.has_lease_grant()) {
      lives[entry.request.lease_grant().id()].granted_ns = entry.seen_ns;
    }
    if (entry.request.has_lease_revoke()) {
      lives[entry.request.lease_revoke().id()].ended_ns = entry.seen_ns;
    }
  }
  for (const Operation& operation : history.operations) {
    const auto& request = operation.request;
    if (request.has_lease_revoke() && operation.invoked_ns != 0) {
      // Asked for is enough: a revoke whose answer got lost may be the one in the log.
      lives[request.lease_revoke().id()].ended_by_client = true;
    }
    if (request.has_lease_grant() && operation.outcome == Operation::Outcome::kDone) {
      lives[request.lease_grant().id()].promises.emplace_back(operation.invoked_ns,
                                                              request.lease_grant().ttl());
    }
  }
  for (const Renewal& renewal : history.renewals) {
    if (renewal.ttl_seconds > 0) {
      lives[renewal.lease].promises.emplace_back(renewal.invoked_ns, renewal.ttl_seconds);
    }
  }
  return lives;
}

int64_t LeastLifeNs(int64_t ttl_seconds, int64_t clock_gain_ppm) {
  // One millisecond for rounding of the clock's arithmetic.
  return ttl_seconds * kNanosPerSecond / (1'000'000 + clock_gain_ppm) * 1'000'000 - kNanosPerMilli;
}

// A client that is told 0 gives its lease up: it must be gone indeed.
void CheckToldGone(const Lives& lives, const History& history, Violations* violations) {
  for (const Renewal& renewal : history.renewals) {
    const auto life = lives.find(renewal.lease);
    if (renewal.ttl_seconds > 0 || life == lives.end()) continue;
    if (life->second.granted_ns < renewal.invoked_ns &&
        life->second.ended_ns > renewal.returned_ns) {
      violations->push_back(StrCat("lease ", renewal.lease, " was told to be gone at ",
                                   renewal.returned_ns, " ns and was there"));
    }
  }
}

}  // namespace

Violations CheckLeases(const Truth& truth, const History& history, const LeaseRules& rules) {
  Violations violations;
  const Lives lives = LivesOf(truth, history);
  CheckToldGone(lives, history, &violations);
  for (const auto& [id, life] : lives) {
    for (const auto& [asked_ns, ttl_seconds] : life.promises) {
      if (life.ended_by_client || asked_ns > life.ended_ns) continue;
      const int64_t until_ns = asked_ns + LeastLifeNs(ttl_seconds, rules.clock_gain_ppm);
      if (life.ended_ns < until_ns) {
        violations.push_back(StrCat("lease ", id, " of ", ttl_seconds, " s, promised at ", asked_ns,
                                    " ns, ended ", until_ns - life.ended_ns, " ns early, at ",
                                    life.ended_ns, " ns"));
      }
    }
    int64_t newest_ns = life.granted_ns;
    for (const auto& [asked_ns, ttl_seconds] : life.promises) {
      newest_ns = std::max(newest_ns, asked_ns);
    }
    if (life.granted_ns != INT64_MIN && life.ended_ns == INT64_MAX &&
        newest_ns < rules.gone_if_before_ns) {
      violations.push_back(
          StrCat("lease ", id, ", last wanted at ", newest_ns, " ns, never expired"));
    }
  }
  return violations;
}

}  // namespace quorate::sim
