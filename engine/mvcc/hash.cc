#include "engine/mvcc/hash.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "engine/mvcc/fingerprint.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

constexpr int kInternal = 13;

// Who decides whether a record at or below the compaction counts. etcd's keep sets differ by who
// asks in one point: a compaction's own keep set holds tombstones of its revision.
enum class KeepSet { kOfQuery, kOfCompaction };

// Records at or below the compaction may be garbage that is not deleted yet, or be outlived by a
// newer one at or below the hashed revision. etcd hashes of them only the keep set: per key the
// newest record <= hash_revision, unless that is a tombstone; and all of them when that set is
// empty. Tombstones of the compacted revision itself never count.
class KvHasher {
 public:
  KvHasher(const KvHash& wanted, KeepSet keep_set) : result_(wanted), keep_set_(keep_set) {}

  absl::Status Run(const HistoryReader& history) {
    if (result_.compact_revision >= 0) {
      if (absl::Status status = FindNewest(history); !status.ok()) return status;
    }
    uint32_t crc = Crc32c(0, TableName(kv::Table::kKey));
    absl::Status status =
        history.Scan(0, result_.hash_revision, [&](const RecordRef& ref, std::string_view kv) {
          if (Counts(ref, kv)) {
            crc = Crc32c(crc, RevisionKey(ref.revision, ref.kind).view());
            crc = Crc32c(crc, kv);
          }
          return true;
        });
    result_.hash = crc;
    return status;
  }
  const KvHash& result() const { return result_; }

 private:
  absl::Status FindNewest(const HistoryReader& history) {
    absl::Status damage;
    absl::Status status =
        history.Scan(0, result_.hash_revision, [&](const RecordRef& ref, std::string_view bytes) {
          const std::optional<wire::KeyValue> kv = wire::ParseKeyValue(bytes);
          if (!kv) {
            damage =
                absl::DataLossError(StrCat("table key: the record of revision ", ref.revision.main,
                                           ".", ref.revision.sub, " cannot be read"));
            return false;
          }
          newest_[FingerprintOf(kv->key)] = PackedRef::Of(ref);
          return true;
        });
    if (!status.ok()) return status;
    for (const auto& [key, newest] : newest_) {
      const bool kept = !newest.tombstone() || (keep_set_ == KeepSet::kOfCompaction &&
                                                newest.main == result_.hash_revision);
      keep_is_empty_ = keep_is_empty_ && !kept;
    }
    return damage;
  }

  bool Counts(const RecordRef& ref, std::string_view bytes) const {
    const int64_t compacted = result_.compact_revision;
    if (ref.revision.main > compacted) return true;
    if (!keep_is_empty_) {
      const auto newest = newest_.find(FingerprintOf(wire::ParseKeyValue(bytes)->key));
      if (newest == newest_.end() || newest->second.Unpack().revision != ref.revision ||
          ref.kind == RecordKind::kTombstone) {
        return false;
      }
    }
    return ref.revision.main != compacted || ref.kind != RecordKind::kTombstone;
  }

  KvHash result_;
  const KeepSet keep_set_;
  // Looked up, and asked for "any": its order does not matter.
  absl::flat_hash_map<Fingerprint, PackedRef> newest_;
  bool keep_is_empty_ = true;
};

class HashKvJob final : public ReadJob {
 public:
  HashKvJob(const HeaderFields& header, int64_t current_revision, const KvHash& wanted,
            std::unique_ptr<HistoryReader> history)
      : header_(header),
        current_revision_(current_revision),
        hasher_(wanted, KeepSet::kOfQuery),
        history_(std::move(history)) {}

  Reply Run() override {
    const absl::Status status = hasher_.Run(*history_);
    if (!status.ok()) return {{kInternal, std::string(status.message())}, {}};
    return {{}, EncodeHashKvResponse(header_, current_revision_, hasher_.result())};
  }

 private:
  const HeaderFields header_;
  const int64_t current_revision_;
  KvHasher hasher_;
  const std::unique_ptr<HistoryReader> history_;
};

class CompactionHashJob final : public CompactionHash {
 public:
  CompactionHashJob(const KvHash& wanted, std::unique_ptr<HistoryReader> history)
      : hasher_(wanted, KeepSet::kOfCompaction), history_(std::move(history)) {}

  int64_t revision() const override { return hasher_.result().hash_revision; }
  void Run() override {
    if (hasher_.Run(*history_).ok()) result_ = hasher_.result();
    history_.reset();
  }
  const std::optional<KvHash>& result() const { return result_; }

 private:
  KvHasher hasher_;
  std::unique_ptr<HistoryReader> history_;
  std::optional<KvHash> result_;
};

}  // namespace

std::string EncodeHashKvResponse(const HeaderFields& header, int64_t current_revision,
                                 const KvHash& hash) {
  std::string body;
  wire::AppendHeader(&body, header, current_revision);
  wire::AppendUint(&body, 2, hash.hash);
  wire::AppendInt(&body, 3, hash.compact_revision);
  wire::AppendInt(&body, 4, hash.hash_revision);
  return body;
}

std::unique_ptr<ReadJob> MakeHashKvJob(const HeaderFields& header, int64_t current_revision,
                                       const KvHash& wanted,
                                       std::unique_ptr<HistoryReader> history) {
  return std::make_unique<HashKvJob>(header, current_revision, wanted, std::move(history));
}

std::unique_ptr<CompactionHash> MakeCompactionHash(const KvHash& wanted,
                                                   std::unique_ptr<HistoryReader> history) {
  return std::make_unique<CompactionHashJob>(wanted, std::move(history));
}

std::optional<KvHash> HashOf(const CompactionHash& done) {
  return static_cast<const CompactionHashJob&>(done).result();
}

bool KeptHashes::Begin(int64_t revision) { return std::exchange(begun_, revision) != revision; }

void KeptHashes::Keep(const KvHash& hash) {
  const auto after = std::find_if(kept_.begin(), kept_.end(), [&](const KvHash& kept) {
    return kept.hash_revision > hash.hash_revision;
  });
  kept_.insert(after, hash);
  if (kept_.size() > kKeptMax) kept_.erase(kept_.begin());
}

std::optional<KvHash> KeptHashes::Find(int64_t revision) const {
  for (const KvHash& kept : kept_) {
    if (kept.hash_revision == revision) return kept;
  }
  return std::nullopt;
}

}  // namespace quorate::engine
