#include "utl/state.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/mvcc/compaction_marks.h"
#include "engine/mvcc/fingerprint.h"
#include "engine/mvcc/hash.h"
#include "engine/mvcc/history.h"
#include "engine/mvcc/revision.h"
#include "engine/mvcc/wire.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::utl {

absl::StatusOr<Revisions> FindRevisions(const kv::KvSnapshot& state) {
  Revisions revisions;
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      state.Scan(kv::Table::kKey, {}, {}, [&](std::string_view key, std::string_view) {
        const auto parsed = engine::ParseRevisionKey(key);
        if (!parsed) {
          damage =
              absl::DataLossError(StrCat("table key: key ", absl::BytesToHexString(ToAbsl(key)),
                                         " has not the form of a revision"));
        } else {
          revisions.current = std::max(revisions.current, parsed->revision.main);
        }
        return damage.ok();
      }));
  QR_RETURN_IF_ERROR(damage);
  for (const std::string_view mark : {engine::kScheduledCompactRev, engine::kFinishedCompactRev}) {
    QR_ASSIGN_OR_RETURN(const std::optional<std::string> value, FindMeta(state, mark));
    if (!value) continue;
    const auto parsed = engine::ParseRevisionKey(*value);
    if (!parsed) return absl::DataLossError(StrCat("table meta: key ", mark, ": not a revision"));
    revisions.compacted = std::max(revisions.compacted, parsed->revision.main);
  }
  revisions.current = std::max(revisions.current, revisions.compacted);
  return revisions;
}

absl::StatusOr<uint64_t> CountKeys(const kv::KvSnapshot& state) {
  absl::flat_hash_set<engine::Fingerprint> live;
  absl::Status damage;
  QR_RETURN_IF_ERROR(
      state.Scan(kv::Table::kKey, {}, {}, [&](std::string_view key, std::string_view value) {
        const auto revision = engine::ParseRevisionKey(key);
        const auto kv = engine::wire::ParseKeyValue(value);
        if (!revision || !kv) {
          damage =
              absl::DataLossError(StrCat("table key: the record of key ",
                                         absl::BytesToHexString(ToAbsl(key)), " cannot be read"));
          return false;
        }
        if (revision->kind == engine::RecordKind::kTombstone) {
          live.erase(engine::FingerprintOf(kv->key));
        } else {
          live.insert(engine::FingerprintOf(kv->key));
        }
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  return live.size();
}

absl::StatusOr<std::optional<std::string>> FindMeta(const kv::KvSnapshot& state,
                                                    std::string_view key) {
  std::optional<std::string> found;
  QR_RETURN_IF_ERROR(
      state.Scan(kv::Table::kMeta, key, {}, [&](std::string_view at, std::string_view value) {
        if (at == key) found.emplace(value);
        return false;
      }));
  return found;
}

absl::StatusOr<HashAnswer> HashKvOf(std::unique_ptr<kv::KvSnapshot> state, int64_t revision) {
  QR_ASSIGN_OR_RETURN(const Revisions revisions, FindRevisions(*state));
  if (revision > 0 && revision < revisions.compacted) {
    return absl::OutOfRangeError("mvcc: required revision has been compacted");
  }
  if (revision > revisions.current) {
    return absl::OutOfRangeError("mvcc: required revision is a future revision");
  }
  engine::KvHash wanted;
  wanted.hash_revision = revision == 0 ? revisions.current : revision;
  wanted.compact_revision = revisions.compacted;
  const auto job = engine::MakeHashKvJob({}, revisions.current, wanted,
                                         engine::MakeHistoryReader(std::move(state)));
  const engine::Reply reply = job->Run();
  if (!reply.error.ok()) return absl::DataLossError(reply.error.message);
  etcdserverpb::HashKVResponse response;
  if (!response.ParseFromString(reply.body)) return absl::InternalError("HashKV answer");
  return HashAnswer{response.hash(), response.hash_revision(), response.compact_revision()};
}

absl::StatusOr<std::unique_ptr<bbolt::SnapshotFile>> OpenSnapshotFile(const std::string& path) {
  if (!PosixFileEnv()->Exists(path)) {
    return absl::NotFoundError(StrCat("stat ", path, ": no such file or directory"));
  }
  QR_ASSIGN_OR_RETURN(std::unique_ptr<bbolt::SnapshotFile> file,
                      bbolt::SnapshotFile::Open(PosixFileEnv(), path));
  // A running etcd holds a lock on its database. A snapshot nobody changes.
  if (!file->stored_digest() && absl::IsUnavailable(PosixFileEnv()->Lock(path).status())) {
    return absl::UnavailableError(StrCat(path, " is in use by another process; stop it first"));
  }
  return file;
}

bool IsFolder(const std::string& path) { return PosixFileEnv()->List(path).ok(); }

}  // namespace quorate::utl
