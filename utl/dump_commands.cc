// dump log, dump backend, dump metrics: what is in a data directory, or in a snapshot file, without
// changing it.

#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "backends/bbolt/snapshot_file.h"
#include "base/json_text.h"
#include "base/status_util.h"
#include "base/text.h"
#include "ctl/text_forms.h"
#include "engine/engine.h"
#include "engine/mvcc/revision.h"
#include "proto/mvccpb.pb.h"
#include "proto/raft_internal.pb.h"
#include "proto/raftpb.pb.h"
#include "utl/member_folder.h"
#include "utl/state.h"

namespace quorate::utl {
namespace {

using Type = OptionSpec::Type;

// --- dump log

// The entry's content as JSON; null for an entry without any.
std::string ContentJson(const Entry& entry) {
  if (entry.data.size() == 0) return "null";
  const int size = static_cast<int>(entry.data.size());
  if (entry.type == EntryType::kNormal) {
    etcdserverpb::InternalRaftRequest request;
    if (request.ParseFromArray(entry.data.data(), size)) return ctl::GoJson(request);
  } else if (entry.type == EntryType::kConfChange) {
    raftpb::ConfChange change;
    if (change.ParseFromArray(entry.data.data(), size)) {
      return StrCat("{\"type\":", JsonString(raftpb::ConfChangeType_Name(change.type())),
                    ",\"node_id\":", JsonString(HexText(change.node_id())),
                    ",\"context\":", JsonString(change.context()), "}");
    }
  }
  return StrCat("{\"bytes\":", JsonString(ctl::Base64(entry.data.view())), "}");
}

std::string_view TypeName(EntryType type) {
  switch (type) {
    case EntryType::kNormal:
      return "normal";
    case EntryType::kConfChange:
      return "conf-change";
    case EntryType::kConfChangeV2:
      return "conf-change-v2";
  }
  return "unknown";
}

void PrintEntry(Format format, const Entry& entry) {
  const std::string content = ContentJson(entry);
  if (format == Format::kJson) {
    Out(StrCat("{\"index\":", entry.index.value(), ",\"term\":", entry.term.value(), ",\"type\":\"",
               TypeName(entry.type), "\",\"content\":", content, "}\n"));
  } else {
    Out(StrCat(entry.index.value(), " ", entry.term.value(), " ", TypeName(entry.type), " ",
               content, "\n"));
  }
}

absl::Status DumpLogOf(const Invocation& invocation) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<MemberFolder> folder, MemberFolder::Open(invocation));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<log::LogStore> log, folder->OpenLog());
  const auto bound = [&](const char* flag) {
    return LogIndex(static_cast<uint64_t>(invocation.values.GetInt(flag)));
  };
  const LogIndex first = std::max(log->first_index(), bound("first"));
  const LogIndex last =
      bound("last") == LogIndex(0) ? log->last_index() : std::min(log->last_index(), bound("last"));
  if (invocation.format != Format::kJson) {
    const HardState state = log->hard_state();
    Out(StrCat("# member ", HexText(log->identity().member.value()), " of cluster ",
               HexText(log->identity().cluster.value()), ", entries ", log->first_index().value(),
               " to ", log->last_index().value(), ", term ", state.term.value(), ", vote ",
               HexText(state.vote.value()), ", commit ", state.commit.value(),
               "\n# index term type content\n"));
  }
  if (first > last) return absl::OkStatus();
  return log->Read(first, last, [&](const Entry& entry) {
    PrintEntry(invocation.format, entry);
    return true;
  });
}

// --- dump backend

std::string RecordText(std::string_view key, std::string_view value) {
  const auto revision = engine::ParseRevisionKey(key);
  mvccpb::KeyValue kv;
  if (!revision || !kv.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return StrCat(ctl::GoQuote(key), " = ", ctl::GoQuote(value));
  }
  const std::string at = StrCat(revision->revision.main, ".", revision->revision.sub);
  if (revision->kind == engine::RecordKind::kTombstone) {
    return StrCat(at, " delete ", ctl::GoQuote(kv.key()));
  }
  return StrCat(at, " put ", ctl::GoQuote(kv.key()), " = ", ctl::GoQuote(kv.value()), " (create ",
                kv.create_revision(), ", version ", kv.version(), ", lease ",
                HexText(static_cast<uint64_t>(kv.lease())), ")");
}

void PrintPair(Format format, kv::Table table, std::string_view key, std::string_view value) {
  if (format == Format::kJson) {
    Out(StrCat("{\"table\":\"", TableName(table), "\",\"key\":\"", ctl::Base64(key),
               "\",\"value\":\"", ctl::Base64(value), "\"}\n"));
  } else {
    Out(StrCat(TableName(table), " ",
               table == kv::Table::kKey ? RecordText(key, value)
                                        : StrCat(ctl::GoQuote(key), " = ", ctl::GoQuote(value)),
               "\n"));
  }
}

absl::Status DumpState(const Invocation& invocation, const kv::KvSnapshot& state) {
  const std::string& wanted = invocation.values.GetString("table");
  int64_t left = invocation.values.GetInt("limit");
  if (left == 0) left = std::numeric_limits<int64_t>::max();
  bool known = wanted.empty();
  for (size_t i = 0; i < kv::kTableCount; ++i) {
    const auto table = static_cast<kv::Table>(i);
    if (!wanted.empty() && wanted != TableName(table)) continue;
    known = true;
    int64_t left_here = left;
    QR_RETURN_IF_ERROR(state.Scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
      PrintPair(invocation.format, table, key, value);
      return --left_here > 0;
    }));
  }
  if (known) return absl::OkStatus();
  std::vector<std::string_view> names;
  for (size_t i = 0; i < kv::kTableCount; ++i) {
    names.push_back(TableName(static_cast<kv::Table>(i)));
  }
  return absl::InvalidArgumentError(
      StrCat("--table: unknown table \"", wanted, "\"; known: ", StrJoin(names, ", ")));
}

absl::Status DumpBackendOf(const Invocation& invocation) {
  if (!invocation.words.empty()) {
    QR_ASSIGN_OR_RETURN(const std::unique_ptr<bbolt::SnapshotFile> file,
                        OpenSnapshotFile(invocation.words[0]));
    return DumpState(invocation, *file);
  }
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<MemberFolder> folder, MemberFolder::Open(invocation));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> backend, folder->OpenBackend());
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvSnapshot> state, backend->NewSnapshot());
  return DumpState(invocation, *state);
}

// --- dump metrics

void Gauge(std::string_view name, std::string_view help, int64_t value) {
  Out(StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n", name, " ", value, "\n"));
}

absl::Status DumpMetricsOf(const Invocation& invocation) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<MemberFolder> folder, MemberFolder::Open(invocation));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<log::LogStore> log, folder->OpenLog());
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> backend, folder->OpenBackend());
  engine::EngineOptions options;
  options.allocator = folder->allocator();
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Engine> engine,
                      engine::Engine::Open(options, backend.get(), [](uint64_t) {}));
  const auto number = [](uint64_t value) { return static_cast<int64_t>(value); };
  Gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction.",
        engine->compact_revision());
  Gauge("etcd_debugging_mvcc_current_revision", "The current revision of the store.",
        engine->current_revision());
  Gauge("etcd_debugging_mvcc_keys_total", "Keys that are there.", number(engine->live_keys()));
  const kv::KvSizes sizes = backend->Sizes();
  Gauge("etcd_mvcc_db_total_size_in_bytes", "Space that the backend takes.", number(sizes.on_disk));
  Gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Space that its data needs.",
        number(sizes.in_use));
  Gauge("etcd_server_proposals_applied_total", "Log entries that the backend holds.",
        number(engine->applied_index().value()));
  Gauge("etcd_server_proposals_committed_total", "Log entries known to be committed.",
        number(log->hard_state().commit.value()));
  Gauge("quorate_alarms", "Alarms that are raised.", number(engine->alarms().size()));
  Gauge("quorate_log_first_index", "The first entry in the log.",
        number(log->first_index().value()));
  Gauge("quorate_log_last_index", "The last entry in the log.", number(log->last_index().value()));
  Gauge("quorate_log_segments", "Segments of the log.", number(log->stats().segments));
  Gauge("quorate_members", "Members of the cluster.", number(engine->members().size()));
  Gauge("quorate_raft_term", "The term in the log's hard state.",
        number(log->hard_state().term.value()));
  return absl::OkStatus();
}

template <absl::Status (*kDump)(const Invocation&)>
int Run(const Invocation& invocation) {
  if (invocation.words.empty() && invocation.values.GetString("data-dir").empty()) {
    return Fail(kExitError, "required flag(s) \"data-dir\" not set");
  }
  if (invocation.format != Format::kSimple && invocation.format != Format::kJson) {
    return Fail(kExitBadFeature, "only simple and json are supported as output format");
  }
  const absl::Status status = kDump(invocation);
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace

std::vector<Command> DumpCommands() {
  const std::string g = "Flags";
  std::vector<OptionSpec> log_flags = MemberFolder::Flags();
  log_flags.push_back({"first", Type::kUint, "0", "First entry; 0: the first there is.", g});
  log_flags.push_back({"last", Type::kUint, "0", "Last entry; 0: the last there is.", g});
  std::vector<OptionSpec> backend_flags = MemberFolder::Flags();
  backend_flags.push_back({"table", Type::kString, "", "One table alone, such as key.", g});
  backend_flags.push_back({"limit", Type::kUint, "0", "Pairs of each table; 0: all.", g});
  return {
      {"dump log",
       "--data-dir {dir}",
       "Prints the entries of the log",
       log_flags,
       {"data-dir"},
       Run<DumpLogOf>},
      {"dump backend",
       "<filename> | --data-dir {dir}",
       "Prints the content of the backend, or of a snapshot file",
       backend_flags,
       {},
       Run<DumpBackendOf>},
      {"dump metrics",
       "--data-dir {dir}",
       "Prints figures of a member as Prometheus has them",
       MemberFolder::Flags(),
       {"data-dir"},
       Run<DumpMetricsOf>},
  };
}

}  // namespace quorate::utl
