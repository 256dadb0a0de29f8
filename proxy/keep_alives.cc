#include "proxy/keep_alives.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "proxy/requests.h"

namespace quorate::proxy {

using etcdserverpb::LeaseKeepAliveResponse;

namespace {

// An answer is shared for that part of the lease's time. Clients renew after a third of it, so each
// renewal of a single client goes through, and a shared one is at most half the time old when its
// client renews again.
constexpr int64_t kSharedPart = 6;

int64_t SharedUntilNs(const LeaseKeepAliveResponse& answer, int64_t answered_ns) {
  return answered_ns + answer.ttl() * kNanosPerSecond / kSharedPart;
}

}  // namespace

KeepAlives::KeepAlives(Upstream* upstream, transport::MetadataList metadata)
    : loop_(upstream->loop()),
      stream_(upstream, "/etcdserverpb.Lease/LeaseKeepAlive", std::move(metadata),
              {[this] { Opened(); }, [this](Bytes message) { OnMessage(message); },
               [this](transport::RpcStatus status) { OnRefused(status); }}) {}

void KeepAlives::Renew(int64_t lease, const void* who, Answer answer, Refused refused) {
  Lease& known = leases_[lease];
  const int64_t now_ns = loop_->NowNs();
  if (known.waiters.empty() && known.last.ttl() > 0 &&
      now_ns < SharedUntilNs(known.last, known.answered_ns)) {
    LeaseKeepAliveResponse shared = known.last;
    const int64_t age_ns = now_ns - known.answered_ns;
    shared.set_ttl(shared.ttl() - (age_ns + kNanosPerSecond - 1) / kNanosPerSecond);
    return answer(shared);
  }
  known.waiters.push_back({who, std::move(answer), std::move(refused)});
  ++waiting_;
  if (known.waiters.size() > 1) return;
  if (started_) return Ask(lease);
  started_ = true;
  stream_.Start();
}

void KeepAlives::Leave(const void* who) {
  for (auto& [id, lease] : leases_) {
    waiting_ -= std::erase_if(lease.waiters, [&](const Waiter& w) { return w.who == who; });
  }
}

void KeepAlives::Ask(int64_t lease) {
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease);
  stream_.Send(Serialize(request));
}

void KeepAlives::Opened() {
  for (const auto& [id, lease] : leases_) {
    if (!lease.waiters.empty()) Ask(id);
  }
}

void KeepAlives::OnMessage(const Bytes& message) {
  LeaseKeepAliveResponse response;
  if (!Parse(message, &response)) return;
  const auto found = leases_.find(response.id());
  if (found == leases_.end()) return;
  Lease& lease = found->second;
  lease.last = response;
  lease.answered_ns = loop_->NowNs();
  const std::vector<Waiter> waiters = std::exchange(lease.waiters, {});
  waiting_ -= waiters.size();
  if (response.ttl() <= 0) leases_.erase(found);
  for (const Waiter& waiter : waiters) waiter.answer(response);
  if (leases_.size() >= drop_at_) DropOld();
}

void KeepAlives::OnRefused(const transport::RpcStatus& status) {
  started_ = false;
  waiting_ = 0;
  for (const auto& [id, lease] : std::exchange(leases_, {})) {
    for (const Waiter& waiter : lease.waiters) waiter.refused(status);
  }
}

void KeepAlives::DropOld() {
  const int64_t now_ns = loop_->NowNs();
  std::erase_if(leases_, [&](const auto& item) {
    const Lease& lease = item.second;
    return lease.waiters.empty() && now_ns >= SharedUntilNs(lease.last, lease.answered_ns);
  });
  drop_at_ = std::max<size_t>(1024, 2 * leases_.size());
}

}  // namespace quorate::proxy
