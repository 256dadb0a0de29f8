#include "engine/lease/lessor.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "base/check.h"
#include "base/clock.h"
#include "engine/lease/deadline_heap.h"

namespace quorate::engine {
namespace {

int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kForeverNs : sum;
}

int64_t SecondsToNs(int64_t seconds) {
  int64_t ns = 0;
  return __builtin_mul_overflow(seconds, kNanosPerSecond, &ns) ? kForeverNs : ns;
}

// One lease. `deadline_ns` is the truth; the heap holds the same value, or kForeverNs while a
// revoke is under way, so that the lease is not offered twice.
struct Lease {
  LeaseId id;
  int64_t ttl_seconds = 0;
  int64_t remaining_ttl_seconds = 0;
  int64_t deadline_ns = kForeverNs;
  uint32_t heap_index = 0;
  bool revoke_in_flight = false;
  absl::btree_set<std::string, std::less<>> keys;  // ordered: Revoke and TimeToLive show it
};

}  // namespace

struct Lessor::Impl {
  explicit Impl(const Options& o) : options(o) {}

  Lease* Find(LeaseId id) const {
    const auto it = leases.find(id);
    return it == leases.end() ? nullptr : it->second.get();
  }

  Lease* Insert(const LeaseRecord& record) {
    QR_CHECK(record.id != LeaseId(0));
    auto [it, inserted] = leases.try_emplace(record.id, std::make_unique<Lease>());
    QR_CHECK(inserted);
    Lease* lease = it->second.get();
    lease->id = record.id;
    lease->ttl_seconds = std::max(record.ttl_seconds, options.ttl_min_seconds);
    lease->remaining_ttl_seconds = record.remaining_ttl_seconds;
    heap.Add(lease, kForeverNs);
    return lease;
  }

  void SetDeadline(Lease* lease, int64_t deadline_ns) {
    lease->deadline_ns = deadline_ns;
    heap.Move(lease, deadline_ns);
  }

  bool Expired(const Lease& lease, int64_t at_ns) const {
    return primary && (lease.revoke_in_flight || lease.deadline_ns <= at_ns);
  }

  void Spread(std::vector<DeadlineHeap<Lease>::Entry>* ascending) const;

  const Options options;
  absl::flat_hash_map<LeaseId, std::unique_ptr<Lease>> leases;  // looked up, never iterated
  DeadlineHeap<Lease> heap;                                     // every lease
  bool primary = false;
  int64_t now_ns = 0;
  uint32_t revokes_in_flight = 0;
  int64_t scan_start_ns = 0;
  uint32_t scan_taken = 0;
  int64_t checkpointed_ns = 0;
  Counters counters;
};

// Lease i may end at the earliest one second after lease i - rate: no second sees more than `rate`
// ends, bursts below that stay as they are, and the order is kept.
void Lessor::Impl::Spread(std::vector<DeadlineHeap<Lease>::Entry>* ascending) const {
  const size_t rate = options.spread_per_second;
  for (size_t i = rate; i < ascending->size(); ++i) {
    const int64_t earliest_ns = SaturatingAdd((*ascending)[i - rate].deadline_ns, kNanosPerSecond);
    (*ascending)[i].deadline_ns = std::max((*ascending)[i].deadline_ns, earliest_ns);
  }
}

Lessor::Lessor(const Options& options) : impl_(std::make_unique<Impl>(options)) {
  QR_CHECK(options.expire_batch_max > 0 && options.revokes_in_flight_max > 0 &&
           options.spread_per_second > 0 && options.scan_interval_ns > 0);
}

Lessor::~Lessor() = default;

Error Lessor::CheckGrant(LeaseId id, int64_t ttl_seconds) const {
  if (ttl_seconds > kLeaseTtlMaxSeconds) return errors::kLeaseTTLTooLarge;
  if (Exists(id)) return errors::kLeaseExist;
  return {};
}

LeaseRecord Lessor::Grant(LeaseId id, int64_t ttl_seconds) {
  QR_CHECK(ttl_seconds <= kLeaseTtlMaxSeconds);
  Lease* lease = impl_->Insert({.id = id, .ttl_seconds = ttl_seconds});
  if (impl_->primary) {
    impl_->SetDeadline(lease, SaturatingAdd(impl_->now_ns, SecondsToNs(lease->ttl_seconds)));
  }
  ++impl_->counters.granted;
  return {.id = id, .ttl_seconds = lease->ttl_seconds};
}

bool Lessor::Exists(LeaseId id) const { return impl_->Find(id) != nullptr; }

std::optional<LeaseRecord> Lessor::Find(LeaseId id) const {
  const Lease* lease = impl_->Find(id);
  if (lease == nullptr) return std::nullopt;
  return LeaseRecord{.id = id,
                     .ttl_seconds = lease->ttl_seconds,
                     .remaining_ttl_seconds = lease->remaining_ttl_seconds};
}

std::vector<std::string> Lessor::Revoke(LeaseId id) {
  const auto it = impl_->leases.find(id);
  QR_CHECK(it != impl_->leases.end());
  Lease* lease = it->second.get();
  std::vector<std::string> keys(lease->keys.begin(), lease->keys.end());
  if (lease->revoke_in_flight) {
    --impl_->revokes_in_flight;
    ++impl_->counters.expired;
  }
  impl_->heap.Remove(lease);
  impl_->leases.erase(it);
  ++impl_->counters.revoked;
  return keys;
}

void Lessor::Attach(LeaseId id, std::string_view key) {
  Lease* lease = impl_->Find(id);
  QR_CHECK(lease != nullptr);
  if (!lease->keys.contains(key)) lease->keys.emplace(key);
}

void Lessor::Detach(LeaseId id, std::string_view key) {
  Lease* lease = impl_->Find(id);
  if (lease == nullptr) return;  // a revoke took the lease first and deletes its keys now
  const auto it = lease->keys.find(key);
  if (it != lease->keys.end()) lease->keys.erase(it);
}

void Lessor::Checkpoint(LeaseId id, int64_t remaining_ttl_seconds) {
  Lease* lease = impl_->Find(id);
  if (lease != nullptr) lease->remaining_ttl_seconds = remaining_ttl_seconds;
}

void Lessor::Restore(const LeaseRecord& lease) { impl_->Insert(lease); }

void Lessor::Promote(int64_t now_ns, int64_t extend_ns) {
  impl_->primary = true;
  impl_->now_ns = now_ns;
  impl_->revokes_in_flight = 0;
  impl_->scan_start_ns = now_ns;
  impl_->scan_taken = 0;
  impl_->checkpointed_ns = now_ns;
  std::vector<DeadlineHeap<Lease>::Entry> entries = impl_->heap.entries();
  for (auto& [deadline_ns, lease] : entries) {
    const int64_t left_seconds =
        lease->remaining_ttl_seconds > 0 ? lease->remaining_ttl_seconds : lease->ttl_seconds;
    deadline_ns = SaturatingAdd(SaturatingAdd(now_ns, SecondsToNs(left_seconds)), extend_ns);
    lease->revoke_in_flight = false;
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.deadline_ns < b.deadline_ns; });
  if (entries.size() >= impl_->options.spread_from_leases) impl_->Spread(&entries);
  for (const auto& [deadline_ns, lease] : entries) lease->deadline_ns = deadline_ns;
  impl_->heap.Reset(std::move(entries));
}

void Lessor::Demote() {
  impl_->primary = false;
  impl_->revokes_in_flight = 0;
  std::vector<DeadlineHeap<Lease>::Entry> entries = impl_->heap.entries();
  for (auto& [deadline_ns, lease] : entries) {
    deadline_ns = kForeverNs;
    lease->deadline_ns = kForeverNs;
    lease->revoke_in_flight = false;
  }
  impl_->heap.Reset(std::move(entries));
}

bool Lessor::primary() const { return impl_->primary; }

void Lessor::SetNow(int64_t now_ns) { impl_->now_ns = now_ns; }

std::vector<LeaseId> Lessor::TakeExpired(int64_t now_ns) {
  std::vector<LeaseId> expired;
  if (!impl_->primary) return expired;
  if (now_ns - impl_->scan_start_ns >= impl_->options.scan_interval_ns) {
    impl_->scan_start_ns = now_ns;
    impl_->scan_taken = 0;
  }
  while (!impl_->heap.empty() && impl_->heap.top().deadline_ns <= now_ns &&
         impl_->revokes_in_flight < impl_->options.revokes_in_flight_max &&
         impl_->scan_taken < impl_->options.expire_batch_max) {
    Lease* lease = impl_->heap.top().item;
    lease->revoke_in_flight = true;
    impl_->heap.Move(lease, kForeverNs);
    ++impl_->revokes_in_flight;
    ++impl_->scan_taken;
    expired.push_back(lease->id);
  }
  return expired;
}

std::vector<LeaseRecord> Lessor::TakeCheckpoints(int64_t now_ns, int64_t interval_ns) {
  std::vector<LeaseRecord> records;
  if (!impl_->primary || now_ns - impl_->checkpointed_ns < interval_ns) return records;
  impl_->checkpointed_ns = now_ns;
  for (const auto& entry : impl_->heap.entries()) {
    const Lease& lease = *entry.item;
    const bool is_long = SecondsToNs(lease.ttl_seconds) > interval_ns;
    if (!is_long || lease.revoke_in_flight || lease.deadline_ns <= now_ns) continue;
    const int64_t left_ns = lease.deadline_ns - now_ns;
    records.push_back({.id = lease.id,
                       .ttl_seconds = lease.ttl_seconds,
                       .remaining_ttl_seconds = (left_ns - 1) / kNanosPerSecond + 1});
  }
  return records;
}

void Lessor::RevokeFailed(LeaseId id) {
  Lease* lease = impl_->Find(id);
  if (lease == nullptr || !lease->revoke_in_flight) return;  // gone, or of an earlier leadership
  lease->revoke_in_flight = false;
  --impl_->revokes_in_flight;
  impl_->heap.Move(lease, lease->deadline_ns);
}

int64_t Lessor::Renew(LeaseId id, int64_t now_ns) {
  Lease* lease = impl_->Find(id);
  if (!impl_->primary || lease == nullptr || impl_->Expired(*lease, now_ns)) return 0;
  impl_->SetDeadline(lease, SaturatingAdd(now_ns, SecondsToNs(lease->ttl_seconds)));
  ++impl_->counters.renewed;
  return lease->ttl_seconds;
}

bool Lessor::ExpiredNotRevoked(LeaseId id, int64_t now_ns) const {
  const Lease* lease = impl_->Find(id);
  return lease != nullptr && impl_->Expired(*lease, now_ns);
}

Lessor::TimeToLive Lessor::GetTimeToLive(LeaseId id, int64_t now_ns, Keys keys) const {
  TimeToLive answer;
  const Lease* lease = impl_->Find(id);
  if (lease == nullptr) return answer;
  answer.granted_ttl_seconds = lease->ttl_seconds;
  answer.ttl_seconds = lease->ttl_seconds;
  if (impl_->primary) {
    const int64_t left_ns = std::max<int64_t>(lease->deadline_ns - now_ns, 0);
    answer.ttl_seconds = left_ns / kNanosPerSecond;
  }
  if (keys == Keys::kInclude) answer.keys.assign(lease->keys.begin(), lease->keys.end());
  return answer;
}

std::vector<LeaseId> Lessor::List() const {
  std::vector<std::pair<int64_t, LeaseId>> order;
  order.reserve(impl_->heap.size());
  for (const auto& entry : impl_->heap.entries()) {
    order.emplace_back(entry.item->deadline_ns, entry.item->id);
  }
  std::sort(order.begin(), order.end());
  std::vector<LeaseId> ids;
  ids.reserve(order.size());
  for (const auto& [deadline_ns, id] : order) ids.push_back(id);
  return ids;
}

size_t Lessor::size() const { return impl_->leases.size(); }

const Lessor::Counters& Lessor::counters() const { return impl_->counters; }

}  // namespace quorate::engine
