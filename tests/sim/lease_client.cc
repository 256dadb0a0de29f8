#include "tests/sim/lease_client.h"

#include <utility>

#include "base/text.h"

namespace quorate::sim {

using Request = etcdserverpb::InternalRaftRequest;

Member* LeaseClient::DrawMember() {
  return world_->members[world_->kernel->random().Below(world_->members.size())];
}

void LeaseClient::Later(int64_t delay_ns_max, void (LeaseClient::*step)()) {
  world_->kernel->After(world_->kernel->Draw(0, delay_ns_max), [this, step] {
    if (!world_->stopping) (this->*step)();
  });
}

void LeaseClient::Grant() {
  Request request;
  lease_ = static_cast<int64_t>(1'000 + world_->next_operation);
  ttl_seconds_ = world_->kernel->Draw(1, kTtlSecondsMax);
  renewals_left_ = static_cast<int>(world_->kernel->Draw(0, 8));
  request.mutable_lease_grant()->set_id(lease_);
  request.mutable_lease_grant()->set_ttl(ttl_seconds_);
  RunOperation(world_, place_, DrawMember(), std::move(request), Operation::Read::kLinearizable,
               [this](size_t place) {
                 const Operation& operation = world_->history->operations[place];
                 const bool granted = operation.outcome == Operation::Outcome::kDone;
                 Later(granted ? 100 * kNanosPerMilli : kNanosPerSecond,
                       granted ? &LeaseClient::Hang : &LeaseClient::Grant);
               });
}

void LeaseClient::Hang() {
  Request request;
  request.mutable_put()->set_key(StrCat("l/", lease_ % 3));
  request.mutable_put()->set_value(StrCat("v", world_->next_operation + 1));
  request.mutable_put()->set_lease(lease_);
  RunOperation(world_, place_, DrawMember(), std::move(request), Operation::Read::kLinearizable,
               [this](size_t) { Later(kNanosPerSecond, &LeaseClient::Renew); });
}

void LeaseClient::Renew() {
  if (renewals_left_-- == 0) return Leave();
  const uint64_t generation = ++generation_;
  const int64_t asked_ns = world_->kernel->now_ns();
  const auto once = [this, generation](auto what) {
    return [this, generation, what](const auto&... arguments) {
      if (generation != generation_) return;
      ++generation_;
      what(arguments...);
      if (stream_ != nullptr) stream_->Close();
      Later(ttl_seconds_ * kNanosPerSecond * 2 / 3, &LeaseClient::Renew);
    };
  };
  stream_ = world_->caller->OpenStream(
      place_, DrawMember(), "/etcdserverpb.Lease/LeaseKeepAlive",
      {once([this, asked_ns](const std::string& body) { OnRenewed(body, asked_ns); }),
       once([] {})});
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(lease_);
  stream_->Send(request.SerializeAsString());
  // A stream that never answers.
  world_->kernel->After(3 * kNanosPerSecond, once([] {}));
}

void LeaseClient::OnRenewed(const std::string& body, int64_t asked_ns) {
  etcdserverpb::LeaseKeepAliveResponse response;
  if (!response.ParseFromString(body)) return;
  world_->kernel->Note("renewed", static_cast<uint64_t>(lease_),
                       static_cast<uint64_t>(response.ttl()));
  world_->history->renewals.push_back({lease_, asked_ns, world_->kernel->now_ns(), response.ttl()});
}

void LeaseClient::Leave() {
  if (world_->kernel->random().OneIn(2)) {
    // It runs out by itself.
    return Later(2 * kNanosPerSecond, &LeaseClient::Grant);
  }
  Request request;
  request.mutable_lease_revoke()->set_id(lease_);
  RunOperation(world_, place_, DrawMember(), std::move(request), Operation::Read::kLinearizable,
               [this](size_t) { Later(kNanosPerSecond, &LeaseClient::Grant); });
}

}  // namespace quorate::sim
