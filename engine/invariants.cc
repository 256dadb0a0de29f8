#include "engine/invariants.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/auth/auth_store.h"
#include "engine/engine_impl.h"
#include "engine/mvcc/compaction_marks.h"
#include "engine/mvcc/window.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

const EngineImpl& Inside(const Engine& engine) { return static_cast<const EngineImpl&>(engine); }

template <class... Parts>
absl::Status Broken(const Parts&... parts) {
  return absl::InternalError(StrCat("engine invariant: ", parts...));
}

std::string Named(std::string_view key) { return absl::CEscape(ToAbsl(key)); }
std::string Named(Revision revision) { return StrCat(revision.main, ".", revision.sub); }

const KeyInterval kEverything = KeyInterval::Of({}, std::string_view("\0", 1));

// --- what holds now, at no cost

absl::Status CheckNumbers(const MvccStore& store) {
  if (store.compact_revision() > store.current_revision()) {
    return Broken("compacted at ", store.compact_revision(), ", current is ",
                  store.current_revision());
  }
  if (store.PhysicallyCompacted() > store.compact_revision()) {
    return Broken("deletions are done up to ", store.PhysicallyCompacted(), ", compacted at ",
                  store.compact_revision());
  }
  if (store.changed()) return Broken("a transaction is open between two calls");
  if (store.index().Total().keys > store.index().entries()) {
    return Broken(store.index().Total().keys, " live keys of ", store.index().entries());
  }
  return absl::OkStatus();
}

// --- what holds now, by looking at everything

absl::Status CheckSums(const KeyIndex& index) {
  LiveSums sums;
  uint64_t entries = 0, superseded = 0;
  index.Walk(kEverything, [&](const KeyEntry& entry) {
    ++entries;
    superseded += entry.superseded();
    if (entry.live()) sums += {1, entry.framed_bytes()};
    return true;
  });
  if (!(sums == index.Total()) || entries != index.entries() || superseded != index.superseded()) {
    return Broken("the index knows of ", index.Total().keys, " live keys of ", index.entries(),
                  " with ", index.superseded(), " records to free; there are ", sums.keys, " of ",
                  entries, " with ", superseded);
  }
  return absl::OkStatus();
}

// The records of one entry as window and backend have them.
absl::Status CheckRecords(const MvccStore& store, const KeyEntry& entry) {
  std::vector<RecordRef> refs;
  for (const PackedRef& ref : entry.older()) refs.push_back(ref.Unpack());
  refs.push_back(entry.newest.Unpack());
  if (refs.back().revision.main > store.current_revision()) {
    return Broken("key ", Named(entry.key()), " has a record of the future");
  }
  absl::Status broken;
  const auto visit = [&](size_t i, std::optional<std::string_view> bytes) {
    const RecordRef& ref = refs[i];
    if (!broken.ok()) return;
    const std::string where =
        StrCat("the record of ", Named(entry.key()), " at ", Named(ref.revision));
    const std::optional<wire::KeyValue> kv = bytes ? wire::ParseKeyValue(*bytes) : std::nullopt;
    if (!kv || bytes->size() != ref.kv_bytes || kv->key != entry.key()) {
      broken = Broken(where, " is ", bytes ? "another one" : "gone");
      return;
    }
    const bool put = ref.kind == RecordKind::kPut;
    if (put != (kv->mod_revision == ref.revision.main) || put != (kv->version > 0)) {
      broken = Broken(where, " says it is of revision ", kv->mod_revision);
    }
    if (i + 1 != refs.size() || !put) return;
    if (kv->create_revision != entry.create_revision || kv->version != entry.version ||
        kv->lease != entry.lease) {
      broken = Broken(where, " and its index entry do not tell the same");
    }
  };
  QR_RETURN_IF_ERROR(store.Read(refs, visit));
  return broken;
}

absl::Status CheckCompacted(const MvccStore& store, const KeyEntry& entry) {
  const int64_t compacted = store.compact_revision();
  uint64_t puts = 0;
  const auto stays = [&](const PackedRef& ref) {
    if (ref.main > compacted) return true;
    return ref.tombstone() ? ref.main == compacted : ++puts <= 1;
  };
  const std::span<const PackedRef> older = entry.older();
  const bool all = std::all_of(older.begin(), older.end(), stays) && stays(entry.newest);
  if (all) return absl::OkStatus();
  return Broken("key ", Named(entry.key()), " has garbage after the compaction at ", compacted);
}

absl::Status CheckEntries(const EngineImpl& engine) {
  const MvccStore& store = engine.store();
  absl::Status status;
  store.index().Walk(kEverything, [&](const KeyEntry& entry) {
    status = CheckRecords(store, entry);
    if (status.ok() && !store.compacting()) status = CheckCompacted(store, entry);
    return status.ok();
  });
  return status;
}

absl::Status CheckHistory(const MvccStore& store) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<HistoryReader> history, store.NewHistoryReader());
  // Nothing can follow within this one: it is whole, or not looked at.
  Revision last{std::max<int64_t>(store.compact_revision(), 1), INT64_MAX - 1};
  absl::Status broken;
  const auto visit = [&](const RecordRef& ref, std::string_view bytes) {
    const bool follows = ref.revision == Revision{last.main, last.sub + 1};
    if (!follows && ref.revision != Revision{last.main + 1, 0}) {
      broken = Broken("revision ", Named(ref.revision), " follows ", last.main);
      return false;
    }
    last = ref.revision;
    const std::optional<wire::KeyValue> kv = wire::ParseKeyValue(bytes);
    const KeyEntry* entry = kv ? store.index().Find(kv->key) : nullptr;
    const auto is_it = [&](const PackedRef& known) {
      return known.Unpack().revision == ref.revision;
    };
    if (entry == nullptr || (!is_it(entry->newest) &&
                             std::none_of(entry->older().begin(), entry->older().end(), is_it))) {
      broken = Broken("the index does not know the record of ", Named(ref.revision));
    }
    return broken.ok();
  };
  QR_RETURN_IF_ERROR(history->Scan(last.main + 1, INT64_MAX - 1, visit));
  if (broken.ok() && last.main != store.current_revision()) {
    broken = Broken("the history ends at ", last.main, ", not at ", store.current_revision());
  }
  return broken;
}

absl::Status CheckLeases(const EngineImpl& engine) {
  std::set<std::pair<int64_t, std::string>> attached;
  for (const LeaseId id : engine.leases().List()) {
    for (std::string& key : engine.leases().GetTimeToLive(id, 0, Lessor::Keys::kInclude).keys) {
      attached.emplace(id.value(), std::move(key));
    }
  }
  absl::Status status;
  uint64_t named = 0;
  engine.store().index().Walk(kEverything, [&](const KeyEntry& entry) {
    if (!entry.live() || entry.lease == 0 || !engine.leases().Exists(LeaseId(entry.lease))) {
      return true;
    }
    ++named;
    if (!attached.contains({entry.lease, std::string(entry.key())})) {
      status = Broken("key ", Named(entry.key()), " is not attached to its lease ", entry.lease);
    }
    return status.ok();
  });
  if (status.ok() && named != attached.size()) {
    status = Broken(attached.size(), " keys are attached to leases, ", named, " name theirs");
  }
  return status;
}

absl::Status CheckBackend(const EngineImpl& engine) {
  const MvccStore& store = engine.store();
  const std::string_view keys[] = {kConsistentIndex, kScheduledCompactRev, kFinishedCompactRev};
  uint64_t index = 0;
  int64_t marks[] = {-1, -1};
  const auto visit = [&](size_t i, std::optional<std::string_view> value) {
    if (!value) return;
    if (i == 0) {
      index = ParseMetaNumber(*value).value_or(UINT64_MAX);
    } else if (const std::optional<ParsedRevisionKey> mark = ParseRevisionKey(*value)) {
      marks[i - 1] = mark->revision.main;
    }
  };
  QR_RETURN_IF_ERROR(store.backend().Read(kv::Table::kMeta, keys, visit));
  const auto [scheduled, finished] = marks;
  if (index > engine.applied_index().value()) return Broken("the backend has applied ", index);
  if (finished > scheduled || scheduled > store.compact_revision() ||
      finished < store.PhysicallyCompacted()) {
    return Broken("the backend's compactions are scheduled up to ", scheduled,
                  " and finished up to ", finished);
  }
  return absl::OkStatus();
}

absl::Status CheckAuth(const AuthStore& auth) {
  if (auth.enabled() && !auth.HasRole(kRootUser, kRootRole)) {
    return Broken("permissions are asked for and nobody is root");
  }
  for (const auto& [name, user] : auth.users()) {
    for (const std::string& role : user.roles()) {
      if (role != kRootRole && auth.FindRole(role) == nullptr) {
        return Broken("user ", Named(name), " has role ", Named(role), ", which is not there");
      }
    }
    if (!std::is_sorted(user.roles().begin(), user.roles().end())) {
      return Broken("the roles of user ", Named(name), " are not in order");
    }
  }
  const auto by_key = [](const auto& a, const auto& b) { return a.key() < b.key(); };
  for (const auto& [name, role] : auth.roles()) {
    if (!std::is_sorted(role.keypermission().begin(), role.keypermission().end(), by_key)) {
      return Broken("the permissions of role ", Named(name), " are not in order");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEverything(const EngineImpl& engine) {
  engine.store().index().Verify();
  engine.store().window().Verify();
  QR_RETURN_IF_ERROR(CheckSums(engine.store().index()));
  QR_RETURN_IF_ERROR(CheckEntries(engine));
  QR_RETURN_IF_ERROR(CheckHistory(engine.store()));
  QR_RETURN_IF_ERROR(CheckLeases(engine));
  QR_RETURN_IF_ERROR(CheckAuth(engine.auth()));
  return CheckBackend(engine);
}

}  // namespace

EngineInvariants::Seen EngineInvariants::See(const Engine& engine) {
  return {.applied = engine.applied_index(),
          .term = engine.header().term,
          .revision = engine.current_revision(),
          .compacted = engine.compact_revision(),
          .physically_compacted = engine.PhysicallyCompacted(),
          .live_keys = engine.live_keys(),
          .leases = Inside(engine).leases().size(),
          .auth_revision = engine.auth().revision(),
          .counters = engine.counters()};
}

absl::Status EngineInvariants::Change(const Seen& before, const Seen& now) {
  if (now.applied < before.applied || now.term < before.term || now.revision < before.revision ||
      now.compacted < before.compacted || now.physically_compacted < before.physically_compacted ||
      now.auth_revision < before.auth_revision) {
    return Broken("went back: applied ", before.applied.value(), " -> ", now.applied.value(),
                  ", term ", before.term.value(), " -> ", now.term.value(), ", revision ",
                  before.revision, " -> ", now.revision, ", compacted ", before.compacted, " -> ",
                  now.compacted, ", physically ", before.physically_compacted, " -> ",
                  now.physically_compacted, ", auth revision ", before.auth_revision, " -> ",
                  now.auth_revision);
  }
  const uint64_t applied = now.applied.value() - before.applied.value();
  if (static_cast<uint64_t>(now.revision - before.revision) > applied) {
    return Broken(applied, " entries moved the revision from ", before.revision, " to ",
                  now.revision);
  }
  if (applied == 0 && (now.compacted != before.compacted || now.live_keys != before.live_keys ||
                       now.leases != before.leases || now.auth_revision != before.auth_revision)) {
    return Broken("without an entry, compaction, keys, leases or auth tables changed");
  }
  if (now.revision == before.revision && now.live_keys != before.live_keys) {
    return Broken("keys came or went without a revision");
  }
  const Engine::Counters &a = before.counters, &b = now.counters;
  if (b.puts < a.puts || b.deletes < a.deletes || b.txns < a.txns || b.ranges < a.ranges ||
      b.events < a.events || b.put_bytes < a.put_bytes || b.compacted_keys < a.compacted_keys) {
    return Broken("a counter went back");
  }
  return absl::OkStatus();
}

absl::Status EngineInvariants::Look(const Engine& engine, Depth depth) {
  const Seen now = See(engine);
  if (last_) QR_RETURN_IF_ERROR(Change(*last_, now));
  last_ = now;
  QR_RETURN_IF_ERROR(CheckNumbers(Inside(engine).store()));
  if (depth == Depth::kFull) return CheckEverything(Inside(engine));
  return absl::OkStatus();
}

}  // namespace quorate::engine
