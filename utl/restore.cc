#include "utl/restore.h"

#include <memory>
#include <string_view>
#include <utility>

#include "backends/kv/folder_swap.h"
#include "backends/kv/kv_backend.h"
#include "backends/log/log_store.h"
#include "base/allocator.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "engine/mvcc/compaction_marks.h"
#include "engine/mvcc/revision.h"
#include "engine/mvcc/window.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/data_dir.h"
#include "utl/state.h"

namespace quorate::utl {
namespace {

using etcdserverpb::Member;

constexpr size_t kBatchBytes = 4 << 20;  // written together and synced
constexpr Term kFirstTerm(1);

std::string BigEndian(uint64_t value) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
  return out;
}

std::string DigestText(const bbolt::Digest& digest) {
  std::vector<unsigned> bytes(digest.begin(), digest.end());
  return StrCat("[", StrJoin(bytes, " "), "]");
}

// The backend that is being filled. Batches own their bytes: what is read lives for one call.
class Filler {
 public:
  explicit Filler(kv::KvBackend* backend) : backend_(backend) {}

  absl::Status Put(kv::Table table, std::string_view key, std::string_view value) {
    pairs_.push_back({table, std::string(key), std::string(value)});
    bytes_ += key.size() + value.size() + sizeof(Pair);
    return bytes_ < kBatchBytes ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    kv::WriteBatch batch;
    for (const Pair& pair : pairs_) {
      batch.push_back({kv::WriteOp::Kind::kPut, pair.table, pair.key, pair.value});
    }
    QR_RETURN_IF_ERROR(backend_->Write(batch));
    pairs_.clear();
    bytes_ = 0;
    return backend_->Sync();
  }

 private:
  struct Pair {
    kv::Table table;
    std::string key, value;
  };
  kv::KvBackend* const backend_;
  std::vector<Pair> pairs_;
  size_t bytes_ = 0;
};

// Who belongs to the new cluster, and which of them this is.
struct Cluster {
  std::vector<Member> members;
  log::LogIdentity identity;
};

absl::StatusOr<Cluster> DecideCluster(const RestoreOptions& options) {
  Cluster cluster;
  QR_ASSIGN_OR_RETURN(cluster.members, server::ParseInitialCluster(options.initial_cluster,
                                                                   options.initial_cluster_token));
  const Member* self = nullptr;
  std::vector<MemberId> ids;
  for (const Member& member : cluster.members) {
    ids.emplace_back(member.id());
    if (member.name() == options.name) self = &member;
  }
  if (self == nullptr) {
    return absl::InvalidArgumentError(StrCat("couldn't find local name \"", options.name,
                                             "\" in the initial cluster configuration"));
  }
  server::ServerConfig config;
  config.initial_cluster = options.initial_cluster;
  config.advertise_peer_urls = options.advertise_peer_urls;
  QR_RETURN_IF_ERROR(server::CheckAdvertised(config, *self));
  cluster.identity = {MemberId(self->id()), server::ComputeClusterId(ids)};
  return cluster;
}

absl::Status CheckDigest(const RestoreOptions& options, const bbolt::SnapshotFile& snapshot) {
  if (options.skip_hash_check) return absl::OkStatus();
  if (!snapshot.stored_digest()) {
    return absl::FailedPreconditionError(StrCat(
        options.snapshot,
        ": snapshot missing hash but --skip-hash-check=false: a snapshot that was cut short, or "
        "a database out of a data directory; --skip-hash-check takes the latter"));
  }
  QR_ASSIGN_OR_RETURN(const bbolt::Digest digest, snapshot.ComputeDigest());
  if (digest == *snapshot.stored_digest()) return absl::OkStatus();
  return absl::DataLossError(StrCat("expected sha256 ", DigestText(*snapshot.stored_digest()),
                                    ", got ", DigestText(digest)));
}

absl::Status CopyTables(const bbolt::SnapshotFile& snapshot, Filler* filler) {
  for (size_t i = 0; i < kv::kTableCount; ++i) {
    const auto table = static_cast<kv::Table>(i);
    if (table == kv::Table::kMembers || table == kv::Table::kMembersRemoved) continue;
    absl::Status failed;
    QR_RETURN_IF_ERROR(
        snapshot.Scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
          failed = filler->Put(table, key, value);
          return failed.ok();
        }));
    QR_RETURN_IF_ERROR(failed);
  }
  return absl::OkStatus();
}

// As etcdutl: one empty record at the new revision, and a compaction there that the first start
// carries out.
absl::Status BumpRevision(const bbolt::SnapshotFile& snapshot, uint64_t amount, Filler* filler) {
  QR_ASSIGN_OR_RETURN(const Revisions revisions, FindRevisions(snapshot));
  const engine::Revision bumped{revisions.current + static_cast<int64_t>(amount), 0};
  const engine::RevisionKey key(bumped, engine::RecordKind::kPut);
  QR_RETURN_IF_ERROR(filler->Put(kv::Table::kKey, key.view(), {}));
  return filler->Put(kv::Table::kMeta, engine::kScheduledCompactRev, key.view());
}

absl::Status PutCluster(const Cluster& cluster, Filler* filler) {
  std::vector<uint64_t> voters;
  for (const Member& member : cluster.members) {
    Member without_name = member;  // it publishes its name itself
    without_name.clear_name();
    QR_RETURN_IF_ERROR(
        filler->Put(kv::Table::kMembers, HexText(member.id()), engine::MemberToJson(without_name)));
    voters.push_back(member.id());
  }
  QR_RETURN_IF_ERROR(
      filler->Put(kv::Table::kMeta, engine::kConsistentIndex, BigEndian(cluster.members.size())));
  QR_RETURN_IF_ERROR(filler->Put(kv::Table::kMeta, engine::kTerm, BigEndian(kFirstTerm.value())));
  return filler->Put(kv::Table::kMeta, "confState", engine::ConfStateToJson(voters, {}));
}

absl::Status FillBackend(const RestoreOptions& options, const Cluster& cluster,
                         const bbolt::SnapshotFile& snapshot, const std::string& dir) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<Allocator> allocator, CreateAllocator("malloc", {}));
  kv::KvOptions kv_options;
  kv_options.dir = dir;
  kv_options.env = PosixFileEnv();
  kv_options.allocator = allocator.get();
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> backend,
                      kv::OpenKvBackend(options.backend, kv_options));
  Filler filler(backend.get());
  QR_RETURN_IF_ERROR(CopyTables(snapshot, &filler));
  if (options.bump_revision > 0) {
    QR_RETURN_IF_ERROR(BumpRevision(snapshot, options.bump_revision, &filler));
  }
  QR_RETURN_IF_ERROR(PutCluster(cluster, &filler));
  return filler.Flush();
}

// Empty behind one entry per member: who joins later gets the state and not entries that are not
// all there is.
absl::Status MakeLog(const Cluster& cluster, const std::string& dir) {
  QR_RETURN_IF_ERROR(PosixFileEnv()->MakeDirs(dir));
  log::LogOptions options;
  options.dir = dir;
  options.env = PosixFileEnv();
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<log::LogStore> log,
                      log::CreateSegmentedLog(options, cluster.identity));
  const LogIndex last(cluster.members.size());
  const HardState state{kFirstTerm, MemberId(0), last};
  return log->Reset(last, kFirstTerm, &state);
}

absl::Status CheckEmpty(std::string_view what, const std::string& dir) {
  const absl::StatusOr<std::vector<std::string>> names = PosixFileEnv()->List(dir);
  if (absl::IsNotFound(names.status()) || (names.ok() && names->empty())) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat(what, " \"", dir, "\" not empty or could not be read"));
}

}  // namespace

absl::Status Restore(const RestoreOptions& options) {
  QR_ASSIGN_OR_RETURN(const Cluster cluster, DecideCluster(options));
  QR_RETURN_IF_ERROR(CheckEmpty("data-dir", options.data_dir));
  const bool own_log = options.log_dir.empty();
  if (!own_log) QR_RETURN_IF_ERROR(CheckEmpty("wal-dir", options.log_dir));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<bbolt::SnapshotFile> snapshot,
                      OpenSnapshotFile(options.snapshot));
  LogInfo("restoring snapshot",
          {{"path", options.snapshot},
           {"data-dir", options.data_dir},
           {"wal-dir", own_log ? options.data_dir + "/member/log" : options.log_dir},
           {"backend", options.backend}});
  QR_RETURN_IF_ERROR(CheckDigest(options, *snapshot));

  FileEnv* const env = PosixFileEnv();
  const bool made_data_dir = !env->Exists(options.data_dir);
  const std::string unfinished = StrCat(options.data_dir, "/", server::kUnfinishedRestore);
  const auto make = [&]() -> absl::Status {
    QR_RETURN_IF_ERROR(env->MakeDirs(unfinished));
    QR_RETURN_IF_ERROR(FillBackend(options, cluster, *snapshot, unfinished + "/backend"));
    QR_RETURN_IF_ERROR(MakeLog(cluster, own_log ? unfinished + "/log" : options.log_dir));
    QR_RETURN_IF_ERROR(env->SyncDir(unfinished));
    QR_RETURN_IF_ERROR(env->Rename(unfinished, options.data_dir + "/member"));
    return env->SyncDir(options.data_dir);
  };
  const absl::Status made = make();
  if (!made.ok()) {
    kv::RemoveTree(env, made_data_dir ? options.data_dir : unfinished).IgnoreError();
    if (!own_log) kv::RemoveTree(env, options.log_dir).IgnoreError();
    return made;
  }
  LogInfo("restored snapshot", {{"path", options.snapshot},
                                {"data-dir", options.data_dir},
                                {"cluster-id", HexText(cluster.identity.cluster.value())},
                                {"local-member-id", HexText(cluster.identity.member.value())}});
  return absl::OkStatus();
}

}  // namespace quorate::utl
