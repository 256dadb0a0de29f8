// Leases in the log: grant, revoke with its keys, checkpoint. Kept in table `lease`: id (8 bytes
// big-endian, two's complement) -> leasepb.Lease.
#include <array>

#include "engine/engine_impl.h"
#include "engine/mvcc/wire.h"
#include "proto/leasepb.pb.h"

namespace quorate::engine {
namespace {

class LeaseKey {
 public:
  explicit LeaseKey(LeaseId id) {
    const auto bits = static_cast<uint64_t>(id.value());
    for (int i = 0; i < 8; ++i) bytes_[i] = static_cast<char>(bits >> (56 - 8 * i));
  }
  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::array<char, 8> bytes_;
};

absl::Status DamagedLease() {
  return absl::DataLossError(
      "table lease: a lease cannot be read; restore the data directory from a backup");
}

}  // namespace

void EngineImpl::WriteLease(const LeaseRecord& lease) {
  leasepb::Lease stored;
  stored.set_id(lease.id.value());
  stored.set_ttl(lease.ttl_seconds);
  stored.set_remainingttl(lease.remaining_ttl_seconds);
  store_.window().Put(kv::Table::kLease, LeaseKey(lease.id).view(), stored.SerializeAsString());
}

Reply EngineImpl::ApplyLeaseGrant(const etcdserverpb::LeaseGrantRequest& request) {
  const LeaseId id(request.id());
  if (id.value() == 0) return {errors::kLeaseNotFound, {}};  // the server picks before the log
  if (Error error = lessor_.CheckGrant(id, request.ttl()); !error.ok()) return {error, {}};
  const LeaseRecord lease = lessor_.Grant(id, request.ttl());
  WriteLease(lease);
  std::string body = Body();
  wire::AppendInt(&body, 2, lease.id.value());
  wire::AppendInt(&body, 3, lease.ttl_seconds);
  return {{}, std::move(body)};
}

Reply EngineImpl::ApplyLeaseRevoke(const etcdserverpb::LeaseRevokeRequest& request) {
  const LeaseId id(request.id());
  if (!lessor_.Exists(id)) return {errors::kLeaseNotFound, {}};
  const std::vector<std::string> keys = lessor_.Revoke(id);
  store_.window().Delete(kv::Table::kLease, LeaseKey(id).view());
  store_.Begin();
  for (const std::string& key : keys) store_.DeleteRange(KeyInterval::Of(key, {}));
  Publish(store_.End());
  return {{}, Body()};
}

Reply EngineImpl::ApplyLeaseCheckpoint(const etcdserverpb::LeaseCheckpointRequest& request) {
  for (const etcdserverpb::LeaseCheckpoint& point : request.checkpoints()) {
    const LeaseId id(point.id());
    if (!lessor_.Exists(id)) continue;  // revoked meanwhile
    lessor_.Checkpoint(id, point.remaining_ttl());
    WriteLease(*lessor_.Find(id));
  }
  return {{}, Body()};
}

absl::Status EngineImpl::RestoreLeases(const kv::KvSnapshot& snapshot) {
  absl::Status damage;
  absl::Status status =
      snapshot.Scan(kv::Table::kLease, {}, {}, [&](std::string_view key, std::string_view value) {
        leasepb::Lease lease;
        if (!lease.ParseFromArray(value.data(), static_cast<int>(value.size())) ||
            lease.id() == 0 || LeaseKey(LeaseId(lease.id())).view() != key) {
          damage = DamagedLease();
          return false;
        }
        lessor_.Restore({LeaseId(lease.id()), lease.ttl(), lease.remainingttl()});
        return true;
      });
  return status.ok() ? damage : status;
}

}  // namespace quorate::engine
