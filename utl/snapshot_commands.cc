// snapshot status, snapshot restore, hashkv.

#include <cstdio>

#include "backends/bbolt/snapshot_file.h"
#include "base/json_text.h"
#include "base/text.h"
#include "ctl/text_forms.h"
#include "utl/member_folder.h"
#include "utl/restore.h"
#include "utl/state.h"

namespace quorate::utl {
namespace {

using Type = OptionSpec::Type;

int SnapshotStatus(const Invocation& invocation) {
  if (invocation.words.size() != 1) {
    return Fail(kExitBadArguments, "snapshot status requires exactly one argument");
  }
  const auto file = OpenSnapshotFile(invocation.words[0]);
  if (!file.ok()) return Fail(file.status());
  const bbolt::Reader& reader = (*file)->reader();
  const std::vector<std::string> problems = reader.Check(/*problems_max=*/10);
  if (!problems.empty()) {
    return Fail(kExitError, StrCat("snapshot file integrity check failed. ", problems.size(),
                                   " errors found.\n", StrJoin(problems, "\n")));
  }
  const absl::StatusOr<bbolt::FileSummary> summary = bbolt::Summarize(reader);
  if (!summary.ok()) return Fail(summary.status());
  const absl::StatusOr<uint64_t> keys = CountKeys(**file);
  if (!keys.ok()) return Fail(keys.status());
  char hash[9];
  std::snprintf(hash, sizeof(hash), "%x", summary->hash);
  const std::string decimal = StrCat(summary->hash);
  const std::string size = StrCat(reader.bytes());
  return Print(invocation,
               {{"HASH", "Hash", decimal, "hash", decimal, hash},
                NumberFigure("REVISION", "Revision", "revision", summary->revision),
                NumberFigure("TOTAL KEYS", "Keys", "totalKey", static_cast<int64_t>(*keys)),
                {"TOTAL SIZE", "Size", size, "totalSize", size, ctl::HumanBytes(reader.bytes())},
                {"VERSION", "Version", summary->version, "version", JsonString(summary->version),
                 summary->version}});
}

int HashKv(const Invocation& invocation) {
  if (invocation.words.size() != 1) {
    return Fail(kExitError, StrCat("accepts 1 arg(s), received ", invocation.words.size()));
  }
  auto file = OpenSnapshotFile(invocation.words[0]);
  if (!file.ok()) return Fail(file.status());
  const auto answer = HashKvOf(*std::move(file), invocation.values.GetInt("rev"));
  if (!answer.ok()) return Fail(answer.status());
  return Print(invocation, {NumberFigure("HASH", "Hash", "hash", answer->hash),
                            NumberFigure("HASH REVISION", "Hash revision", "hashRevision",
                                         answer->hash_revision),
                            NumberFigure("COMPACT REVISION", "Compact revision", "compactRevision",
                                         answer->compact_revision)});
}

int SnapshotRestore(const Invocation& invocation) {
  if (invocation.words.size() != 1) {
    return Fail(kExitBadArguments, "snapshot restore requires exactly one argument");
  }
  const OptionValues& values = invocation.values;
  RestoreOptions options;
  options.snapshot = invocation.words[0];
  options.name = values.GetString("name");
  options.data_dir = values.GetString("data-dir");
  if (options.data_dir.empty()) options.data_dir = options.name + ".etcd";
  options.log_dir = values.GetString("wal-dir");
  options.backend = values.GetString("backend");
  options.initial_cluster = values.GetString("initial-cluster");
  options.initial_cluster_token = values.GetString("initial-cluster-token");
  options.advertise_peer_urls = values.GetList("initial-advertise-peer-urls");
  options.skip_hash_check = values.GetBool("skip-hash-check");
  options.bump_revision = static_cast<uint64_t>(values.GetInt("bump-revision"));
  const bool mark_compacted = values.GetBool("mark-compacted");
  if (options.bump_revision > 0 && !mark_compacted) {
    return Fail(kExitError, "--mark-compacted required if --revision-bump > 0");
  }
  if (options.bump_revision == 0 && mark_compacted) {
    return Fail(kExitError, "--mark-compacted disallowed if --revision-bump is not set");
  }
  const absl::Status restored = Restore(options);
  return restored.ok() ? kExitOk : Fail(restored);
}

std::vector<OptionSpec> RestoreFlags() {
  const std::string g = "Flags";
  std::vector<OptionSpec> flags = {
      {"data-dir", Type::kString, "",
       "Where to; NAME.etcd if none is given. Empty or not there yet.", g},
      {"wal-dir", Type::kString, "", "Where the log goes, if not into the data directory.", g},
      {"backend", Type::kString, "lmdb", "Backend that the server will be started with.", g},
      {"name", Type::kString, "default", "Name of this member.", g},
      {"initial-cluster", Type::kString, "default=http://localhost:2380",
       "All members of the new cluster.", g},
      {"initial-cluster-token", Type::kString, "etcd-cluster", "Token of the new cluster.", g},
      {"initial-advertise-peer-urls", Type::kStringList, "http://localhost:2380",
       "Peer URLs of this member.", g},
      {"skip-hash-check", Type::kBool, "false",
       "Takes a file without its digest: a database copied out of a data directory.", g},
      {"bump-revision", Type::kUint, "0", "How much to add to the latest revision.", g},
      {"mark-compacted", Type::kBool, "false",
       "The latest revision counts as compacted. Required with --bump-revision, and only then.", g},
      {"initial-memory-map-size", Type::kUint, "10737418240", "", g},
  };
  flags.back().no_effect = "it is for bbolt's memory map, which is not used here";
  return flags;
}

}  // namespace

std::vector<Command> SnapshotCommands() {
  return {
      {"snapshot status", "<filename>", "Says what is in a snapshot file", {}, {}, SnapshotStatus},
      {"snapshot restore",
       "<filename> --data-dir {output dir} [options]",
       "Makes a data directory out of a snapshot of Quorate's or etcd's",
       RestoreFlags(),
       {},
       SnapshotRestore},
      {"hashkv",
       "<filename>",
       "Hash of the key-value history in a snapshot file, as HashKV's",
       {{"rev", Type::kInt, "0", "Up to this revision; 0: the latest.", "Flags"}},
       {},
       HashKv},
  };
}

}  // namespace quorate::utl
