// The auth store in the backend's tables, byte for byte as etcd has it.
#include <algorithm>
#include <optional>

#include "base/status_util.h"
#include "base/text.h"
#include "engine/auth/auth_store.h"

namespace quorate::engine {
namespace {

constexpr std::string_view kEnabled = "authEnabled";
constexpr std::string_view kRevision = "authRevision";

std::string BigEndian(uint64_t number) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift));
  return bytes;
}

absl::Status Damaged(kv::Table table, std::string_view key) {
  return absl::DataLossError(StrCat("table ", kv::TableName(table), ": key ", key,
                                    " cannot be read; restore the data directory from a backup"));
}

// Users or roles: each stored under the name that is in it.
template <class Value>
absl::Status RestoreTable(const kv::KvSnapshot& snapshot, kv::Table table,
                          std::map<std::string, Value>* out) {
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      snapshot.Scan(table, {}, {}, [&](std::string_view key, std::string_view bytes) {
        Value value;
        if (!value.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
            value.name() != key) {
          damage = Damaged(table, key);
          return false;
        }
        out->emplace(key, std::move(value));
        return true;
      }));
  return damage;
}

}  // namespace

void AuthStore::SaveUser(const std::string& name) {
  window_->Put(kv::Table::kAuthUsers, name, users_.at(name).SerializeAsString());
}

void AuthStore::SaveRole(const std::string& name) {
  window_->Put(kv::Table::kAuthRoles, name, roles_.at(name).SerializeAsString());
}

void AuthStore::SaveEnabled() {
  window_->Put(kv::Table::kAuth, kEnabled, std::string(1, enabled_ ? '\1' : '\0'));
}

void AuthStore::SaveRevision() { window_->Put(kv::Table::kAuth, kRevision, BigEndian(revision_)); }

absl::Status AuthStore::Restore(const kv::KvSnapshot& snapshot) {
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kAuth, {}, {}, [&](std::string_view key, std::string_view value) {
        const std::optional<uint64_t> number = ParseMetaNumber(value);
        if (key == kEnabled && value.size() == 1) {
          enabled_ = value.front() == '\1';
        } else if (key == kRevision && number) {
          revision_ = std::max<uint64_t>(*number, 1);
        } else if (key == kEnabled || key == kRevision) {
          damage = Damaged(kv::Table::kAuth, key);
        }
        return damage.ok();
      }));
  QR_RETURN_IF_ERROR(damage);
  QR_RETURN_IF_ERROR(RestoreTable(snapshot, kv::Table::kAuthUsers, &users_));
  return RestoreTable(snapshot, kv::Table::kAuthRoles, &roles_);
}

}  // namespace quorate::engine
