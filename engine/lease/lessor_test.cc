#include "engine/lease/lessor.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <map>

#include "base/clock.h"

namespace quorate::engine {
namespace {

constexpr int64_t kSecond = kNanosPerSecond;
using Ids = std::vector<LeaseId>;
using Keys = std::vector<std::string>;

Ids MakeIds(std::initializer_list<int64_t> values) {
  Ids ids;
  for (const int64_t value : values) ids.push_back(LeaseId(value));
  return ids;
}

int64_t TtlLeft(const Lessor& lessor, int64_t id, int64_t now_ns) {
  return lessor.GetTimeToLive(LeaseId(id), now_ns, Lessor::Keys::kLeaveOut).ttl_seconds;
}

TEST_CASE("lessor: grants raise small TTLs and refuse taken ids and absurd TTLs") {
  Lessor lessor(Lessor::Options{});
  for (const int64_t ttl : {int64_t{2}, int64_t{1}, int64_t{0}, int64_t{-5}}) {
    const LeaseId id(100 + ttl);
    REQUIRE(lessor.CheckGrant(id, ttl).ok());
    CHECK(lessor.Grant(id, ttl).ttl_seconds == 2);
  }
  CHECK(lessor.Grant(LeaseId(-7), 30).ttl_seconds == 30);
  CHECK(lessor.Grant(LeaseId(8), kLeaseTtlMaxSeconds).ttl_seconds == kLeaseTtlMaxSeconds);
  CHECK(lessor.CheckGrant(LeaseId(-7), 30).message == errors::kLeaseExist.message);
  CHECK(lessor.CheckGrant(LeaseId(9), kLeaseTtlMaxSeconds + 1).message ==
        errors::kLeaseTTLTooLarge.message);
  // Both at once: etcd looks at the TTL first.
  CHECK(lessor.CheckGrant(LeaseId(-7), kLeaseTtlMaxSeconds + 1).message ==
        errors::kLeaseTTLTooLarge.message);
  CHECK(lessor.size() == 6);
  CHECK(lessor.counters().granted == 6);
  CHECK(lessor.Find(LeaseId(-7))->ttl_seconds == 30);
  CHECK_FALSE(lessor.Find(LeaseId(9)).has_value());
}

TEST_CASE("lessor: keys come back in key order and a detached key does not") {
  Lessor lessor(Lessor::Options{});
  lessor.Grant(LeaseId(1), 10);
  for (const char* key : {"m", "b", "z", "a", "b"}) lessor.Attach(LeaseId(1), key);
  lessor.Detach(LeaseId(1), "m");
  lessor.Detach(LeaseId(1), "never attached");
  lessor.Detach(LeaseId(2), "unknown lease");
  const auto ttl = lessor.GetTimeToLive(LeaseId(1), 0, Lessor::Keys::kInclude);
  CHECK(ttl.keys == Keys{"a", "b", "z"});
  CHECK(lessor.GetTimeToLive(LeaseId(1), 0, Lessor::Keys::kLeaveOut).keys.empty());
  CHECK(lessor.Revoke(LeaseId(1)) == Keys{"a", "b", "z"});
  CHECK_FALSE(lessor.Exists(LeaseId(1)));
  CHECK(lessor.counters().revoked == 1);
  lessor.Detach(LeaseId(1), "a");  // the deletion of its keys follows the revoke
}

TEST_CASE("lessor: time to live is cut to whole seconds and -1 for unknown leases") {
  Lessor lessor(Lessor::Options{});
  lessor.Promote(5 * kSecond, 0);
  lessor.Grant(LeaseId(1), 10);
  CHECK(TtlLeft(lessor, 1, 5 * kSecond) == 10);
  CHECK(TtlLeft(lessor, 1, 5 * kSecond + 1) == 9);
  CHECK(TtlLeft(lessor, 1, 14 * kSecond + 1) == 0);
  CHECK(TtlLeft(lessor, 1, 99 * kSecond) == 0);  // expired, not yet revoked
  const auto unknown = lessor.GetTimeToLive(LeaseId(2), 0, Lessor::Keys::kInclude);
  CHECK(unknown.ttl_seconds == -1);
  CHECK(unknown.granted_ttl_seconds == 0);
}

TEST_CASE("lessor: grants count from the last tick, renewals from their own time") {
  Lessor lessor(Lessor::Options{});
  lessor.Promote(0, 0);
  lessor.SetNow(3 * kSecond);
  lessor.Grant(LeaseId(1), 10);
  CHECK(TtlLeft(lessor, 1, 3 * kSecond) == 10);
  CHECK(lessor.Renew(LeaseId(1), 8 * kSecond) == 10);
  CHECK(TtlLeft(lessor, 1, 8 * kSecond) == 10);
  CHECK_FALSE(lessor.ExpiredNotRevoked(LeaseId(1), 18 * kSecond - 1));
  CHECK(lessor.ExpiredNotRevoked(LeaseId(1), 18 * kSecond));
  CHECK(lessor.Renew(LeaseId(1), 18 * kSecond) == 0);
  CHECK(lessor.Renew(LeaseId(77), 0) == 0);
  CHECK(lessor.counters().renewed == 1);
}

TEST_CASE("lessor: expired leases are offered once, oldest first, 16 at a time") {
  Lessor lessor(Lessor::Options{});
  lessor.Promote(0, 0);
  for (int64_t i = 0; i < 20; ++i) lessor.Grant(LeaseId(100 + i), 30 - i);
  CHECK(lessor.TakeExpired(10 * kSecond).empty());
  const Ids first = lessor.TakeExpired(40 * kSecond);
  REQUIRE(first.size() == 16);
  CHECK(first.front() == LeaseId(119));
  CHECK(first.back() == LeaseId(104));
  CHECK(lessor.TakeExpired(40 * kSecond).empty());
  CHECK(lessor.ExpiredNotRevoked(LeaseId(119), 40 * kSecond));

  lessor.RevokeFailed(LeaseId(110));
  lessor.RevokeFailed(LeaseId(110));  // once is enough
  CHECK(lessor.TakeExpired(40 * kSecond) == MakeIds({110}));
  lessor.Revoke(LeaseId(119));
  CHECK(lessor.TakeExpired(40 * kSecond) == MakeIds({103}));
  CHECK(lessor.counters().expired == 1);
  // A client's own revoke of a lease that is not in flight frees no slot.
  lessor.Revoke(LeaseId(100));
  CHECK(lessor.TakeExpired(40 * kSecond).empty());
  CHECK(lessor.counters().expired == 1);
}

TEST_CASE("lessor: a scan interval starts at most 500 revokes") {
  Lessor lessor(Lessor::Options{});
  lessor.Promote(0, 0);
  for (int64_t i = 1; i <= 1200; ++i) lessor.Grant(LeaseId(i), 10);
  const auto drain = [&](int64_t now_ns) {
    size_t revoked = 0;
    for (Ids ids = lessor.TakeExpired(now_ns); !ids.empty(); ids = lessor.TakeExpired(now_ns)) {
      REQUIRE(ids.size() <= 16);
      for (const LeaseId id : ids) lessor.Revoke(id);
      revoked += ids.size();
    }
    return revoked;
  };
  CHECK(drain(10 * kSecond) == 500);
  CHECK(drain(10 * kSecond + kSecond / 2 - 1) == 0);
  CHECK(drain(10 * kSecond + kSecond / 2) == 500);
  CHECK(drain(11 * kSecond) == 200);
  CHECK(lessor.size() == 0);
  CHECK(lessor.counters().expired == 1200);
}

TEST_CASE("lessor: only the primary runs clocks") {
  Lessor lessor(Lessor::Options{});
  lessor.Grant(LeaseId(1), 5);
  CHECK_FALSE(lessor.primary());
  CHECK(lessor.TakeExpired(1000 * kSecond).empty());
  CHECK_FALSE(lessor.ExpiredNotRevoked(LeaseId(1), 1000 * kSecond));
  CHECK(TtlLeft(lessor, 1, 1000 * kSecond) == 5);
  CHECK(lessor.Renew(LeaseId(1), 1000 * kSecond) == 0);

  lessor.Promote(1000 * kSecond, kSecond);
  CHECK(lessor.primary());
  CHECK(TtlLeft(lessor, 1, 1000 * kSecond) == 6);
  CHECK(lessor.TakeExpired(1006 * kSecond) == MakeIds({1}));

  // A revoke that was under way when leadership was lost is not remembered.
  lessor.Demote();
  lessor.RevokeFailed(LeaseId(1));
  CHECK(lessor.TakeExpired(2000 * kSecond).empty());
  lessor.Promote(3000 * kSecond, 0);
  CHECK(TtlLeft(lessor, 1, 3000 * kSecond) == 5);
  CHECK(lessor.TakeExpired(3005 * kSecond) == MakeIds({1}));
}

TEST_CASE("lessor: restored leases start at the full or the checkpointed TTL") {
  Lessor lessor(Lessor::Options{});
  lessor.Restore({.id = LeaseId(1), .ttl_seconds = 30});
  lessor.Restore({.id = LeaseId(2), .ttl_seconds = 300, .remaining_ttl_seconds = 17});
  lessor.Attach(LeaseId(2), "k");
  lessor.Promote(0, kSecond);
  CHECK(TtlLeft(lessor, 1, 0) == 31);
  CHECK(TtlLeft(lessor, 2, 0) == 18);
  CHECK(lessor.GetTimeToLive(LeaseId(2), 0, Lessor::Keys::kInclude).granted_ttl_seconds == 300);
  CHECK(lessor.Renew(LeaseId(2), 0) == 300);
  CHECK(TtlLeft(lessor, 2, 0) == 300);

  lessor.Checkpoint(LeaseId(1), 12);
  lessor.Checkpoint(LeaseId(99), 12);  // unknown: nothing
  CHECK(TtlLeft(lessor, 1, 0) == 31);
  CHECK(lessor.Find(LeaseId(1))->remaining_ttl_seconds == 12);
  lessor.Promote(100 * kSecond, 0);
  CHECK(TtlLeft(lessor, 1, 100 * kSecond) == 12);
}

TEST_CASE("lessor: the list is ordered by expiry") {
  Lessor lessor(Lessor::Options{});
  lessor.Grant(LeaseId(5), 50);
  lessor.Grant(LeaseId(-3), 10);
  lessor.Grant(LeaseId(4), 30);
  CHECK(lessor.List() == MakeIds({-3, 4, 5}));  // no clock: by id
  lessor.Promote(0, 0);
  CHECK(lessor.List() == MakeIds({-3, 4, 5}));
  lessor.Renew(LeaseId(-3), 45 * kSecond - kSecond * 40);
  lessor.Renew(LeaseId(4), 29 * kSecond);
  CHECK(lessor.List() == MakeIds({-3, 5, 4}));
}

// How many deadlines fall into any one second after a promotion with `count` equal leases.
size_t BusiestSecond(size_t count, int64_t* last_second) {
  Lessor lessor(Lessor::Options{.expire_batch_max = 1u << 20, .revokes_in_flight_max = 1u << 20});
  for (size_t i = 1; i <= count; ++i) lessor.Grant(LeaseId(static_cast<int64_t>(i)), 10);
  lessor.Promote(0, 0);
  size_t busiest = 0;
  for (int64_t second = 0; lessor.size() > 0; ++second) {
    const Ids ids = lessor.TakeExpired(second * kSecond);
    for (const LeaseId id : ids) lessor.Revoke(id);
    busiest = std::max(busiest, ids.size());
    *last_second = second;
  }
  return busiest;
}

TEST_CASE("lessor: a promotion spreads expiries from 1000 leases on") {
  int64_t last_second = 0;
  CHECK(BusiestSecond(999, &last_second) == 999);
  CHECK(last_second == 10);
  CHECK(BusiestSecond(1000, &last_second) == 750);
  CHECK(last_second == 11);
  CHECK(BusiestSecond(7500, &last_second) == 750);
  CHECK(last_second == 19);
}

TEST_CASE("lessor: spreading never ends a lease early and moves only crowded ones") {
  Lessor lessor(Lessor::Options{});
  for (int64_t i = 1; i <= 2000; ++i) lessor.Grant(LeaseId(i), i <= 1000 ? 10 : 1000 + i);
  lessor.Promote(0, 0);
  for (int64_t i = 1; i <= 1000; ++i) REQUIRE(TtlLeft(lessor, i, 0) >= 10);
  for (int64_t i = 1001; i <= 2000; ++i) REQUIRE(TtlLeft(lessor, i, 0) == 1000 + i);
}

TEST_CASE("lessor: the longest TTL does not wrap around") {
  Lessor lessor(Lessor::Options{});
  lessor.Grant(LeaseId(1), kLeaseTtlMaxSeconds);
  const int64_t late_ns = std::numeric_limits<int64_t>::max() / 2;
  lessor.Promote(late_ns, kSecond);
  CHECK(lessor.TakeExpired(late_ns + 1000 * kSecond).empty());
  CHECK(lessor.Renew(LeaseId(1), late_ns) == kLeaseTtlMaxSeconds);
  CHECK_FALSE(lessor.ExpiredNotRevoked(LeaseId(1), late_ns + 1000 * kSecond));
}

}  // namespace
}  // namespace quorate::engine
