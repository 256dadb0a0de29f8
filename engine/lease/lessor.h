// Lessor: leases and the keys attached to them. The table of leases and attachments is replicated
// state, changed only by applied entries; deadlines are the leader's own and never decide anything
// by themselves: an expired lease leaves by a LeaseRevoke through the log.
//
// Rules: wire facts, semantics §6. Time enters by argument (monotonic ns). Replica thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "engine/errors.h"

namespace quorate::engine {

inline constexpr int64_t kLeaseTtlMaxSeconds = 9'000'000'000;

struct LeaseRecord {  // leasepb.Lease
  LeaseId id;
  int64_t ttl_seconds = 0;
  int64_t remaining_ttl_seconds = 0;  // 0 = not checkpointed
};

class Lessor {
 public:
  struct Options {
    int64_t ttl_min_seconds = 2;      // ceil(3 x election timeout / 2)
    uint32_t expire_batch_max = 500;  // started within one scan interval
    int64_t scan_interval_ns = 500'000'000;
    uint32_t revokes_in_flight_max = 16;
    // From this many leases on, a promotion spreads expiries to at most this rate.
    uint32_t spread_from_leases = 1000;
    uint32_t spread_per_second = 750;
  };
  explicit Lessor(const Options& options);
  ~Lessor();

  // --- replicated state (called while applying)
  // The TTL granted (raised to the minimum). kLeaseExist, kLeaseTTLTooLarge; id 0 is our mistake.
  Error CheckGrant(LeaseId id, int64_t ttl_seconds) const;
  LeaseRecord Grant(LeaseId id, int64_t ttl_seconds);
  bool Exists(LeaseId id) const;
  std::optional<LeaseRecord> Find(LeaseId id) const;
  // Removes the lease and answers its keys in key order; the caller deletes them in one revision.
  // CHECKs that the lease exists.
  std::vector<std::string> Revoke(LeaseId id);
  void Attach(LeaseId id, std::string_view key);  // CHECKs that the lease exists
  void Detach(LeaseId id, std::string_view key);  // unknown lease or key: nothing
  // Unknown lease: nothing. Counts at the next Promote.
  void Checkpoint(LeaseId id, int64_t remaining_ttl_seconds);

  // --- restart: leases from the table, attachments from KeyValue.lease of live keys
  void Restore(const LeaseRecord& lease);

  // --- leader's clock
  // Every lease starts again with its (remaining or granted) TTL plus `extend_ns`.
  void Promote(int64_t now_ns, int64_t extend_ns);
  void Demote();
  bool primary() const;
  void SetNow(int64_t now_ns);  // before each step; deadlines of new grants count from it
  // Leases whose deadline passed, oldest first, within the in-flight limit and the limit per scan
  // interval; each is answered once until RevokeFailed or Revoke. May be called at any time, best
  // on every tick and after every applied revoke. Empty when not primary.
  std::vector<LeaseId> TakeExpired(int64_t now_ns);
  void RevokeFailed(LeaseId id);
  // What a new leader should know: of leases granted for longer than the interval, with the time
  // that is left now; all of them once per interval, none in between. Empty when not primary.
  std::vector<LeaseRecord> TakeCheckpoints(int64_t now_ns, int64_t interval_ns);
  // The granted TTL, or 0 when unknown or already expired. Only the primary knows: ask primary()
  // first, a client that is told 0 gives its lease up. Not primary: 0, and nothing changes.
  int64_t Renew(LeaseId id, int64_t now_ns);
  // True between a passed deadline and its Revoke: KeepAlive waits for the revoke.
  bool ExpiredNotRevoked(LeaseId id, int64_t now_ns) const;

  struct TimeToLive {
    // Whole seconds left, 0 once expired; -1 = unknown lease. Not primary: the granted TTL.
    int64_t ttl_seconds = -1;
    int64_t granted_ttl_seconds = 0;
    std::vector<std::string> keys;  // in key order
  };
  enum class Keys { kLeaveOut, kInclude };
  TimeToLive GetTimeToLive(LeaseId id, int64_t now_ns, Keys keys) const;
  std::vector<LeaseId> List() const;  // ordered by expiry
  size_t size() const;

  struct Counters {
    uint64_t granted = 0, revoked = 0, renewed = 0, expired = 0;
  };
  const Counters& counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorate::engine
