// Start: everything that the engine knows, read back from the backend.

#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "engine/engine_impl.h"
#include "proto/leasepb.pb.h"

namespace quorate::engine {
namespace {

uint64_t FromBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

absl::Status Damaged(std::string_view table, std::string_view what) {
  return absl::DataLossError(
      StrCat("table ", table, ": ", what, "; restore the data directory from a backup"));
}

}  // namespace

EngineImpl::EngineImpl(const EngineOptions& options, const kv::KvBackend* backend)
    : options_(options), lessor_(options.lessor), store_(options, backend, &lessor_) {}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options,
                                                     const kv::KvBackend* backend,
                                                     absl::FunctionRef<void(uint64_t)> progress) {
  QR_CHECK(options.allocator != nullptr);
  auto engine = std::make_unique<EngineImpl>(options, backend);
  QR_RETURN_IF_ERROR(engine->Restore(progress));
  return std::unique_ptr<Engine>(std::move(engine));
}

absl::Status EngineImpl::Restore(absl::FunctionRef<void(uint64_t)> progress) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvSnapshot> snapshot,
                      store_.backend().NewSnapshot());
  QR_RETURN_IF_ERROR(RestoreTables(*snapshot));
  return store_.Restore(progress);
}

absl::Status EngineImpl::RestoreTables(const kv::KvSnapshot& snapshot) {
  absl::Status damage;
  Term term;
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kMeta, {}, {}, [&](std::string_view key, std::string_view value) {
        if (key == "consistent_index") applied_ = LogIndex(FromBigEndian(value));
        if (key == "term") term = Term(FromBigEndian(value));
        return true;
      }));
  store_.window().SetApplied(applied_, term);
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kLease, {}, {}, [&](std::string_view, std::string_view value) {
        leasepb::Lease lease;
        if (!lease.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
          damage = Damaged("lease", "a lease cannot be read");
          return false;
        }
        lessor_.Restore({LeaseId(lease.id()), lease.ttl(), lease.remainingttl()});
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kAlarm, {}, {}, [&](std::string_view key, std::string_view) {
        etcdserverpb::AlarmMember alarm;
        if (!alarm.ParseFromArray(key.data(), static_cast<int>(key.size()))) {
          damage = Damaged("alarm", "an alarm cannot be read");
          return false;
        }
        alarms_[{alarm.memberid(), alarm.alarm()}] = alarm;
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kMembers, {}, {}, [&](std::string_view key, std::string_view value) {
        const std::optional<etcdserverpb::Member> member = ParseMemberJson(value);
        if (!member) {
          damage = Damaged("members", StrCat("member ", key, " cannot be read"));
          return false;
        }
        members_[member->id()] = *member;
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  return snapshot.Scan(kv::Table::kCluster, {}, {},
                       [&](std::string_view key, std::string_view value) {
                         if (key == "clusterVersion") cluster_version_.assign(value);
                         return true;
                       });
}

}  // namespace quorate::engine
