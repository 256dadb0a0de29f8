// The lessor beside a model that keeps everything in plain maps and looks at all of it each time.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/random.h"
#include "engine/lease/lessor.h"

namespace quorate::engine {
namespace {

constexpr int64_t kSecond = kNanosPerSecond;

struct ModelLease {
  int64_t ttl = 0, remaining = 0;
  int64_t deadline_ns = 0;
  bool in_flight = false;
  std::set<std::string> keys;
};

class Lockstep {
 public:
  explicit Lockstep(uint64_t seed) : random_(seed), lessor_(kOptions) {}

  void Step() {
    now_ns_ += random_.Between(0, 400) * kNanosPerMilli;
    lessor_.SetNow(now_ns_);
    const LeaseId id(random_.Between(-12, 12));
    const bool exists = model_.count(id) > 0;
    switch (random_.Below(13)) {
      case 0:
      case 1:
      case 2:
        return Grant(id, exists);
      case 3:
        if (exists) Revoke(id);
        return;
      case 4:
      case 5:
        if (exists) Attach(id);
        return;
      case 6:
        return Detach(id);
      case 7:
      case 8:
        return Renew(id, exists);
      case 9:
      case 10:
        return TakeExpired();
      case 11:
        if (exists && random_.OneIn(2)) return Checkpoint(id);
        return Fail(id);
      default:
        if (random_.OneIn(8)) ChangeLeader();
    }
  }

  void Compare() {
    REQUIRE(lessor_.size() == model_.size());
    std::vector<std::pair<int64_t, LeaseId>> order;
    for (const auto& [id, lease] : model_) {
      order.emplace_back(primary_ ? lease.deadline_ns : 0, id);
      const auto ttl = lessor_.GetTimeToLive(id, now_ns_, Lessor::Keys::kInclude);
      REQUIRE(ttl.granted_ttl_seconds == lease.ttl);
      REQUIRE(ttl.ttl_seconds == Left(lease));
      REQUIRE(ttl.keys == std::vector<std::string>(lease.keys.begin(), lease.keys.end()));
      REQUIRE(lessor_.ExpiredNotRevoked(id, now_ns_) == Expired(lease));
    }
    std::sort(order.begin(), order.end());
    std::vector<LeaseId> ids;
    for (const auto& entry : order) ids.push_back(entry.second);
    REQUIRE(lessor_.List() == ids);
  }

  uint64_t expired() const { return lessor_.counters().expired; }

 private:
  static constexpr Lessor::Options kOptions{.revokes_in_flight_max = 3};

  bool Expired(const ModelLease& lease) const { return primary_ && lease.deadline_ns <= now_ns_; }
  int64_t Left(const ModelLease& lease) const {
    if (!primary_) return lease.ttl;
    return std::max<int64_t>(0, lease.deadline_ns - now_ns_) / kSecond;
  }

  void Grant(LeaseId id, bool exists) {
    const int64_t ttl = random_.Between(-1, 9);
    if (id == LeaseId(0)) return;
    REQUIRE(lessor_.CheckGrant(id, ttl).ok() == !exists);
    if (exists) return;
    ModelLease& lease = model_[id];
    lease.ttl = std::max<int64_t>(ttl, 2);
    lease.deadline_ns = now_ns_ + lease.ttl * kSecond;
    REQUIRE(lessor_.Grant(id, ttl).ttl_seconds == lease.ttl);
  }

  void Revoke(LeaseId id) {
    const ModelLease lease = model_[id];
    model_.erase(id);
    REQUIRE(lessor_.Revoke(id) == std::vector<std::string>(lease.keys.begin(), lease.keys.end()));
  }

  std::string Key() { return std::string(1, static_cast<char>('a' + random_.Below(8))); }

  void Attach(LeaseId id) {
    const std::string key = Key();
    model_[id].keys.insert(key);
    lessor_.Attach(id, key);
  }

  void Detach(LeaseId id) {
    const std::string key = Key();
    if (model_.count(id) > 0) model_[id].keys.erase(key);
    lessor_.Detach(id, key);
  }

  void Renew(LeaseId id, bool exists) {
    if (!primary_) return;
    int64_t expected = 0;
    if (exists && !Expired(model_[id])) {
      expected = model_[id].ttl;
      model_[id].deadline_ns = now_ns_ + expected * kSecond;
    }
    REQUIRE(lessor_.Renew(id, now_ns_) == expected);
  }

  void TakeExpired() {
    size_t in_flight = 0;
    std::vector<int64_t> due;
    for (const auto& [id, lease] : model_) {
      if (lease.in_flight) ++in_flight;
      if (Expired(lease) && !lease.in_flight) due.push_back(lease.deadline_ns);
    }
    std::sort(due.begin(), due.end());
    due.resize(std::min(due.size(), kOptions.revokes_in_flight_max - in_flight));
    std::vector<int64_t> taken;
    for (const LeaseId id : lessor_.TakeExpired(now_ns_)) {
      REQUIRE(model_.count(id) == 1);
      REQUIRE_FALSE(model_[id].in_flight);
      model_[id].in_flight = true;
      taken.push_back(model_[id].deadline_ns);
    }
    REQUIRE(taken == due);
  }

  void Fail(LeaseId id) {
    if (model_.count(id) > 0) model_[id].in_flight = false;
    lessor_.RevokeFailed(id);
  }

  void Checkpoint(LeaseId id) {
    model_[id].remaining = random_.Between(0, model_[id].ttl);
    lessor_.Checkpoint(id, model_[id].remaining);
  }

  void ChangeLeader() {
    primary_ = !primary_;
    for (auto& [id, lease] : model_) {
      lease.in_flight = false;
      lease.deadline_ns =
          now_ns_ + (lease.remaining > 0 ? lease.remaining : lease.ttl) * kSecond + kSecond;
    }
    if (primary_) {
      lessor_.Promote(now_ns_, kSecond);
    } else {
      lessor_.Demote();
    }
  }

  Random random_;
  Lessor lessor_;
  std::map<LeaseId, ModelLease> model_;
  bool primary_ = false;
  int64_t now_ns_ = kSecond;
};

TEST_CASE("lessor: random histories equal the model") {
  const char* from_env = std::getenv("QUORATE_SEED");
  const uint64_t base = from_env != nullptr ? std::strtoull(from_env, nullptr, 10) : 20'250'101;
  uint64_t expired = 0;
  for (uint64_t seed = base; seed < base + 20; ++seed) {
    INFO("QUORATE_SEED=" << seed);
    Lockstep lockstep(seed);
    for (int step = 0; step < 1000; ++step) {
      lockstep.Step();
      lockstep.Compare();
    }
    expired += lockstep.expired();
  }
  REQUIRE(expired > 0);  // the histories did reach what they are for
}

}  // namespace
}  // namespace quorate::engine
