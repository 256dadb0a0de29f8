#include "engine/mvcc/hash.h"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

Reply Failed(const absl::Status& status) { return {{13, std::string(status.message())}, {}}; }

// Records at or below the compaction may be garbage that is not deleted yet, or be outlived by a
// newer one at or below the hashed revision. etcd hashes of them only the keep set: per key the
// newest record <= hash_revision, unless that is a tombstone; and all of them when that set is
// empty. Tombstones of the compacted revision itself never count.
class HashKvJob final : public ReadJob {
 public:
  explicit HashKvJob(HashKvInput input) : input_(std::move(input)) {}

  Reply Run() override {
    if (input_.compact_revision >= 0) {
      if (absl::Status status = FindNewest(); !status.ok()) return Failed(status);
    }
    uint32_t crc = Crc32c(0, TableName(kv::Table::kKey));
    const absl::Status status = input_.history->Scan(
        0, input_.hash_revision, [&](const RecordRef& ref, std::string_view kv) {
          if (Counts(ref, kv)) {
            crc = Crc32c(crc, RevisionKey(ref.revision, ref.kind).view());
            crc = Crc32c(crc, kv);
          }
          return true;
        });
    if (!status.ok()) return Failed(status);
    Reply reply;
    wire::AppendHeader(&reply.body, input_.header, input_.current_revision);
    wire::AppendUint(&reply.body, 2, crc);
    wire::AppendInt(&reply.body, 3, input_.compact_revision);
    wire::AppendInt(&reply.body, 4, input_.hash_revision);
    return reply;
  }

 private:
  struct Newest {
    Revision revision;
    RecordKind kind;
  };

  absl::Status FindNewest() {
    absl::Status status = input_.history->Scan(
        0, input_.hash_revision, [&](const RecordRef& ref, std::string_view kv) {
          newest_[std::string(wire::ParseKeyValue(kv)->key)] = {ref.revision, ref.kind};
          return true;
        });
    for (const auto& [key, newest] : newest_) {
      keep_is_empty_ = keep_is_empty_ && newest.kind == RecordKind::kTombstone;
    }
    return status;
  }

  bool Counts(const RecordRef& ref, std::string_view kv) const {
    const int64_t compacted = input_.compact_revision;
    if (ref.revision.main > compacted) return true;
    if (!keep_is_empty_) {
      const auto newest = newest_.find(ToAbsl(wire::ParseKeyValue(kv)->key));
      if (newest == newest_.end() || newest->second.revision != ref.revision ||
          ref.kind == RecordKind::kTombstone) {
        return false;
      }
    }
    return ref.revision.main != compacted || ref.kind != RecordKind::kTombstone;
  }

  HashKvInput input_;
  absl::flat_hash_map<std::string, Newest> newest_;  // looked up, and asked for "any": no order
  bool keep_is_empty_ = true;
};

class HashJob final : public ReadJob {
 public:
  HashJob(const HeaderFields& header, int64_t current_revision,
          std::unique_ptr<kv::KvSnapshot> snapshot,
          const std::vector<std::shared_ptr<const WindowChunk>>& chunks)
      : header_(header), current_revision_(current_revision), snapshot_(std::move(snapshot)) {
    // What the backend does not have yet, as the last word on each key.
    for (const auto& chunk : chunks) {
      for (const kv::WriteOp& op : chunk->ops()) {
        auto& table = overlay_[static_cast<size_t>(op.table)];
        if (op.kind == kv::WriteOp::Kind::kPut) {
          table[std::string(op.key)] = std::string(op.value_or_end);
        } else {
          table[std::string(op.key)] = std::nullopt;
        }
      }
    }
  }

  Reply Run() override {
    uint32_t crc = 0;
    for (size_t i = 0; i < kv::kTableCount; ++i) {
      const auto table = static_cast<kv::Table>(i);
      crc = Crc32c(crc, TableName(table));
      if (absl::Status status = HashTable(table, &crc); !status.ok()) return Failed(status);
    }
    Reply reply;
    wire::AppendHeader(&reply.body, header_, current_revision_);
    wire::AppendUint(&reply.body, 2, crc);
    return reply;
  }

 private:
  using Overlay = std::map<std::string, std::optional<std::string>, std::less<>>;

  absl::Status HashTable(kv::Table table, uint32_t* crc) const {
    const Overlay& overlay = overlay_[static_cast<size_t>(table)];
    auto next = overlay.begin();
    const auto add = [&](std::string_view key, std::string_view value) {
      if (table == kv::Table::kMeta &&
          (key == "term" || key == "consistent_index" || key == "storageVersion")) {
        return;
      }
      *crc = Crc32c(Crc32c(*crc, key), value);
    };
    const auto add_overlay_before = [&](std::optional<std::string_view> key) {
      for (; next != overlay.end() && (!key || next->first < *key); ++next) {
        if (next->second) add(next->first, *next->second);
      }
    };
    absl::Status status =
        snapshot_->Scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
          add_overlay_before(key);
          if (next == overlay.end() || next->first != key) {
            add(key, value);
          } else {
            if (next->second) add(key, *next->second);
            ++next;
          }
          return true;
        });
    add_overlay_before(std::nullopt);
    return status;
  }

  const HeaderFields header_;
  const int64_t current_revision_;
  const std::unique_ptr<kv::KvSnapshot> snapshot_;
  Overlay overlay_[kv::kTableCount];
};

}  // namespace

std::unique_ptr<ReadJob> MakeHashKvJob(HashKvInput input) {
  return std::make_unique<HashKvJob>(std::move(input));
}

std::unique_ptr<ReadJob> MakeHashJob(const HeaderFields& header, int64_t current_revision,
                                     std::unique_ptr<kv::KvSnapshot> snapshot,
                                     std::vector<std::shared_ptr<const WindowChunk>> chunks) {
  return std::make_unique<HashJob>(header, current_revision, std::move(snapshot), chunks);
}

}  // namespace quorate::engine
