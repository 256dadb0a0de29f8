#include "tests/sim/world.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "proto/raftpb.pb.h"
#include "tests/sim/check/lease_check.h"
#include "tests/sim/check/linearizability.h"
#include "tests/sim/check/operation_check.h"
#include "tests/sim/check/watch_check.h"
#include "tests/sim/nemesis.h"

namespace quorate::sim {
namespace {

// After all trouble has ended: until a write is answered, and until all members are equal.
constexpr int64_t kLivenessBoundNs = 60 * kNanosPerSecond;
constexpr int64_t kClientTimeoutNs = 4 * kNanosPerSecond;
// One look in so many goes through all that a member holds.
constexpr uint64_t kFullLookEvery = 400;
constexpr int64_t kCalmNs = 3 * kNanosPerSecond;

int64_t TtlMinSeconds(const server::ServerConfig& config) {
  const int64_t election_ns = config.tick_ns * config.election_ticks;
  return (3 * election_ns / 2 + kNanosPerSecond - 1) / kNanosPerSecond;
}

}  // namespace

World::World(const Plan& plan, Kernel* kernel)
    : plan_(plan),
      kernel_(kernel),
      network_(kernel, plan.network),
      caller_(kernel, &network_, plan.stream_weight),
      truth_(TtlMinSeconds(plan.config)) {
  client_world_.kernel = kernel;
  client_world_.caller = &caller_;
  client_world_.history = &history_;
  client_world_.key_groups = plan.key_groups;
  client_world_.think_ns_max = plan.think_ns_max;
  client_world_.timeout_ns = kClientTimeoutNs;
  for (Place place = 0; place < plan.members + plan.spares; ++place) {
    Member::Options options;
    options.place = place;
    options.config = ConfigOf(plan, place);
    options.raft = plan.raft;
    options.clock_gain_ppm = plan.clock_gain_ppm[place];
    options.worker_delay_ns_max = plan.worker_delay_ns_max;
    options.identity = IdentityOf(plan, place);
    place_of_[options.identity.member] = place;
    members_.push_back(std::make_unique<Member>(
        kernel, options, this,
        [this](Member& from, consensus::Message message, PeerState state) {
          Post(from, std::move(message), std::move(state));
        },
        [this](Member& from, server::HttpCall call, HttpDone done) {
          Ask(from, std::move(call), std::move(done));
        }));
    client_world_.members.push_back(members_.back().get());
    if (place >= plan.members) spares_.insert(members_.back().get());
  }
  memories_.resize(members_.size());
  Place place = operator_place();
  for (uint32_t i = 0; i < plan.clients + plan.readers; ++i) {
    const auto habit = i < plan.clients ? KvClient::Habit::kMixed : KvClient::Habit::kReads;
    clients_.push_back(std::make_unique<KvClient>(&client_world_, place++, habit));
  }
  for (uint32_t i = 0; i < plan.watchers; ++i) {
    watchers_.push_back(std::make_unique<WatchClient>(&client_world_, place++));
  }
  for (uint32_t i = 0; i < plan.lessees; ++i) {
    lessees_.push_back(std::make_unique<LeaseClient>(&client_world_, place++));
  }
  for (uint32_t i = 0; i < plan.administrators; ++i) {
    administrators_.push_back(std::make_unique<AuthClient>(&client_world_, place++));
  }
}

// A member that ends still speaks to its judge.
World::~World() { members_.clear(); }

void World::Applied(Member& member, const Entry& entry) {
  const uint64_t index = entry.index.value();
  kernel_->Note("applied", member.place(), index);
  if (index > entries_.size() + 1) {
    return Fail(StrCat("member ", member.place(), " applied entry ", index, " before entry ",
                       entries_.size() + 1, " was"));
  }
  if (index == entries_.size() + 1) {
    entries_.push_back(entry);
    const bool normal = entry.type == EntryType::kNormal;
    if (!truth_.Append(normal ? entry.data.view() : std::string_view(), kernel_->now_ns())) {
      Fail(StrCat("entry ", index, " cannot be read"));
    }
    Saw(normal ? "entries" : "configuration entries");
    return;
  }
  const Entry& first = entries_[index - 1];
  if (first.term != entry.term || first.type != entry.type ||
      first.data.view() != entry.data.view()) {
    Fail(StrCat("member ", member.place(), " applied at ", index, " another entry (term ",
                entry.term.value(), ") than was applied first (term ", first.term.value(), ")"));
  }
}

void World::AfterStep(Member& member) {
  const consensus::Raft& raft = member.life().raft();
  Memory& memory = memories_[member.place()];
  if (memory.epoch != member.epoch()) {
    memory.epoch = member.epoch();
    memory.commit = memory.durable = LogIndex(0);
    memory.engine.Restarted();
  }
  if (raft.commit() < memory.commit) {
    Fail(StrCat("member ", member.place(), " takes its commit ", memory.commit.value(), " back to ",
                raft.commit().value()));
  }
  memory.commit = raft.commit();
  const LogIndex durable = raft.status().durable;
  if (durable < memory.durable) member.TakesBack(durable);
  memory.durable = durable;
  if (raft.role() == consensus::Role::kLeader && memory.role != consensus::Role::kLeader) {
    Saw("leaders");
  }
  memory.role = raft.role();
  Look(member, &memory);
  if (raft.role() == consensus::Role::kLeader) {
    const auto [leader, first] = leaders_.emplace(raft.term(), member.place());
    if (!first && leader->second != member.place()) {
      Fail(StrCat("members ", leader->second, " and ", member.place(), " both lead in term ",
                  raft.term().value()));
    }
  }
}

void World::Synced(Member& member, LogIndex index) { raft_.Synced(member.life().id(), index); }

void World::Stopping(Member& member) { raft_.Crashed(member.life().id()); }

// A spare machine whose address was added becomes a member and starts with an empty log.
void World::MembersChanged(Member& member) {
  for (const etcdserverpb::Member& known : member.life().engine().members()) {
    for (const auto& spare : members_) {
      if (!IsSpare(spare.get()) ||
          known.peerurls(0) != spare->config().advertise_peer_urls.front()) {
        continue;
      }
      Saw("members joined");
      spares_.erase(spare.get());
      spare->SetId(MemberId(known.id()));
      place_of_[spare->id()] = spare->place();
      const absl::Status made = spare->Bootstrap({});
      if (!made.ok()) Fail(StrCat("no log can be made: ", made.ToString()));
      StartLater(spare.get(), kernel_->Draw(0, kNanosPerSecond));
    }
  }
}

void World::Removed(Member& member) {
  Saw("members removed");
  lost_.insert(&member);
  kernel_->After(0, [member = &member] {
    if (member->running()) member->Stop(Member::Death::kKill);
  });
}

Member* World::MostAdvanced() {
  Member* ahead = nullptr;
  for (const auto& other : members_) {
    if (!other->running()) continue;
    if (ahead == nullptr ||
        other->life().engine().applied_index() > ahead->life().engine().applied_index()) {
      ahead = other.get();
    }
  }
  return ahead;
}

bool World::IsMember(const Member& member) {
  Member* ahead = MostAdvanced();
  if (ahead == nullptr) return true;
  const auto known = ahead->life().engine().members();
  return std::any_of(known.begin(), known.end(),
                     [&](const auto& one) { return MemberId(one.id()) == member.id(); });
}

bool World::IsLearner(const Member& member) {
  Member* ahead = MostAdvanced();
  if (ahead == nullptr) return false;
  for (const etcdserverpb::Member& known : ahead->life().engine().members()) {
    if (MemberId(known.id()) == member.id()) return known.islearner();
  }
  return false;
}

void World::Look(Member& member, Memory* memory) {
  const absl::Status raft = raft_.Look({&member.life().raft()});
  if (!raft.ok()) Fail(StrCat("raft, at member ", member.place(), ": ", raft.message()));
  if (std::exchange(memory->engine_seen, &member.life().engine()) != &member.life().engine()) {
    memory->engine.Restarted();  // a snapshot brought another
  }
  const bool full = kernel_->random().OneIn(kFullLookEvery);
  const absl::Status engine =
      memory->engine.Look(member.life().engine(), full ? engine::EngineInvariants::Depth::kFull
                                                       : engine::EngineInvariants::Depth::kCheap);
  if (!engine.ok()) Fail(StrCat("engine, at member ", member.place(), ": ", engine.message()));
}

size_t World::running() const {
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(),
                                           [](const auto& member) { return member->running(); }));
}

void World::StartLater(Member* member, int64_t delay_ns) {
  kernel_->After(delay_ns, [this, member] {
    if (member->running() || IsLost(member) || IsSpare(member)) return;
    const absl::Status started = member->Start();
    if (started.ok()) return Saw("starts");
    // A flipped bit in the name of a backend reads as another one.
    const bool refused = absl::IsDataLoss(started) || absl::IsFailedPrecondition(started);
    if (refused && member->damaged()) {
      // As it must be. It stays down: the others go on without it.
      Saw("starts refused for damage");
      lost_.insert(member);
      return;
    }
    if (absl::IsResourceExhausted(started) || absl::IsUnavailable(started)) {
      // A full disk, or syncs that fail: somebody mends it and tries again.
      Saw("starts on a bad disk");
      member->disk().SetCapacityBytes(UINT64_MAX);
      member->disk().HealSyncs();
      return StartLater(member, kNanosPerSecond);
    }
    Fail(StrCat("member ", member->place(), " does not start: ", started.ToString()));
  });
}

// One request of a member to another.
struct World::Asking {
  HttpDone done;
  Member* to = nullptr;
  Place from = 0;
  transport::HttpRequest request;
  int64_t ordered_ns = 0;

  void End(absl::StatusOr<server::HttpAnswer> answer) {
    if (done) std::exchange(done, nullptr)(std::move(answer));
  }
  void Lost() { End(absl::UnavailableError("connection lost")); }
};

void World::Ask(Member& from, server::HttpCall call, HttpDone done) {
  const auto asking = std::make_shared<Asking>();
  asking->done = std::move(done);
  kernel_->After(call.timeout_ns, [asking] { asking->Lost(); });
  for (const auto& member : members_) {
    if (member->config().advertise_peer_urls.front() == call.url) asking->to = member.get();
  }
  if (asking->to == nullptr) return asking->Lost();
  Saw("questions between members");
  asking->from = from.place();
  asking->request = {call.method, call.path, "", call.headers, call.body};
  network_.SendOrdered(
      from.place(), asking->to->place(), &asking->ordered_ns, [this, asking] { Asked(asking); },
      [asking] { asking->Lost(); });
}

void World::Asked(const std::shared_ptr<Asking>& asking) {
  Member* to = asking->to;
  if (!to->running()) return asking->Lost();
  if (to->paused()) {
    return kernel_->After(to->DrawReadDelayNs(), [this, asking] { Asked(asking); });
  }
  to->life().peer_http()(
      std::move(asking->request), [this, asking](const transport::HttpResponse& response) {
        network_.SendOrdered(
            asking->to->place(), asking->from, &asking->ordered_ns,
            [asking, response] {
              asking->End(server::HttpAnswer{response.status, response.headers, response.body});
            },
            [asking] { asking->Lost(); });
      });
  to->Wake();
}

// A connection of its own: it arrives whole, or breaks.
void World::PostSnapshot(Member& from, Member* to, consensus::Message message, PeerState state) {
  constexpr int64_t kGiveUpNs = 3 * kNanosPerSecond;
  Saw("snapshots sent");
  const uint64_t epoch = from.epoch();
  auto done = std::make_shared<bool>(false);
  auto shared = std::make_shared<const consensus::Message>(std::move(message));
  const auto report = [this, sender = &from, epoch, done, peer = to->id()](bool delivered) {
    if (std::exchange(*done, true)) return;
    if (delivered) Saw("snapshots delivered");
    sender->SnapshotSent(
        epoch, peer,
        delivered ? consensus::SnapshotResult::kDelivered : consensus::SnapshotResult::kFailed);
  };
  const size_t cut_at =
      kernel_->random().OneIn(6) ? kernel_->random().Below(state->size() + 1) : state->size();
  network_.SendPacket(from.place(), to->place(), Network::Packet::kOnce,
                      [to, shared, state, cut_at, report] {
                        report(to->ReceiveSnapshot(*shared, *state, cut_at));
                      });
  kernel_->After(kGiveUpNs, [report] { report(false); });
}

void World::Post(Member& from, consensus::Message message, PeerState state) {
  Sent& sent = sent_[static_cast<size_t>(message.type)];
  ++sent.all;
  if (message.reject) ++sent.rejects;
  const absl::Status kept = raft_.Sent(message);
  if (!kept.ok()) Fail(StrCat("raft, of member ", from.place(), ": ", kept.message()));
  const auto to = place_of_.find(message.to);
  if (to == place_of_.end()) return;
  Member* member = members_[to->second].get();
  if (state != nullptr) return PostSnapshot(from, member, std::move(message), std::move(state));
  auto shared = std::make_shared<const consensus::Message>(std::move(message));
  // A forwarded proposal has no identity that raft could know it by: as in etcd, links between
  // members must not deliver it twice, and TCP does not. All else may come again.
  const bool once = shared->type == consensus::MessageType::kPropose;
  network_.SendPacket(from.place(), member->place(),
                      once ? Network::Packet::kOnce : Network::Packet::kMayRepeat,
                      [member, shared] { member->Receive(*shared); });
}

// The log that all members of a new cluster begin with: one entry per member.
void World::Bootstrap() {
  std::vector<Entry> entries;
  for (const auto& member : members_) {
    if (IsSpare(member.get())) continue;
    etcdserverpb::Member described;
    described.set_id(member->id().value());
    described.add_peerurls(member->config().advertise_peer_urls.front());
    raftpb::ConfChange change;
    change.set_type(raftpb::ConfChangeAddNode);
    change.set_node_id(described.id());
    change.set_context(engine::MemberContextToJson({described, /*promote=*/false}));
    entries.push_back({Term(1), LogIndex(entries.size() + 1), EntryType::kConfChange,
                       Bytes::FromString(change.SerializeAsString())});
  }
  for (const auto& member : members_) {
    if (IsSpare(member.get())) continue;
    const absl::Status made = member->Bootstrap(entries);
    if (!made.ok()) Fail(StrCat("no log can be made: ", made.ToString()));
  }
}

void World::StartAll() {
  for (const auto& member : members_) {
    StartLater(member.get(), kernel_->Draw(0, 200 * kNanosPerMilli));
  }
  for (const auto& client : clients_) client->Start();
  for (const auto& watcher : watchers_) watcher->Start();
  for (const auto& lessee : lessees_) lessee->Start();
  for (const auto& administrator : administrators_) administrator->Start();
}

// Runs until `holds`, asking now and then; false = not within the bound.
bool World::Until(int64_t bound_ns, const std::function<bool()>& holds) {
  const int64_t end_ns = kernel_->now_ns() + bound_ns;
  while (report_.violations.empty() && kernel_->now_ns() < end_ns) {
    if (holds()) return true;
    kernel_->RunUntil(kernel_->now_ns() + 100 * kNanosPerMilli);
  }
  return holds();
}

void World::RunSafety() {
  Nemesis nemesis(this);
  nemesis.Start();
  const int64_t end_ns = kernel_->now_ns() + plan_.safety_ns;
  Until(plan_.safety_ns, [&] { return kernel_->now_ns() >= end_ns; });
  nemesis.Stop();
}

void World::Heal() {
  network_.JoinAll();
  network_.SetRates({});
  for (const auto& member : members_) {
    member->disk().SetCapacityBytes(UINT64_MAX);
    member->disk().HealSyncs();
    member->disk().MisdirectWrites({.count = 0});
    member->SetDiskSpeed({});
    member->SetWorkerDelay(kNanosPerMilli);
  }
  KeepRunning();
}

// From now on a process that ends is started again, as a service manager would: one may find only
// now what was done to its disk before.
void World::KeepRunning() {
  for (const auto& member : members_) StartLater(member.get(), 0);
  kernel_->After(kNanosPerSecond, [this] { KeepRunning(); });
}

bool World::WriteSomething(int64_t bound_ns) {
  bool written = false;
  const int64_t end_ns = kernel_->now_ns() + bound_ns;
  std::function<void()> put = [&] {
    etcdserverpb::InternalRaftRequest request;
    request.mutable_put()->set_key("last");
    request.mutable_put()->set_value(StrCat("v", client_world_.next_operation + 1));
    Member* member = members_[kernel_->random().Below(members_.size())].get();
    RunOperation(&client_world_, operator_place(), member, std::move(request),
                 Operation::Read::kLinearizable, [&](size_t place) {
                   written = history_.operations[place].outcome == Operation::Outcome::kDone;
                   if (!written && kernel_->now_ns() < end_ns) {
                     kernel_->After(200 * kNanosPerMilli, [&] { put(); });
                   }
                 });
  };
  put();
  Until(bound_ns + 2 * kClientTimeoutNs, [&] { return written || kernel_->now_ns() >= end_ns; });
  // No event may be left that speaks of this frame.
  if (!written) kernel_->RunUntil(end_ns + 2 * kClientTimeoutNs);
  return written;
}

bool World::AllCaughtUp() {
  return std::all_of(members_.begin(), members_.end(), [this](const auto& member) {
    if (IsLost(member.get()) || !IsMember(*member)) return true;
    return member->running() && member->life().engine().applied_index().value() == entries_.size();
  });
}

std::string World::DescribeMembers() {
  std::string text;
  for (const auto& member : members_) {
    text += StrCat(" ", member->place(), IsSpare(member.get()) ? " spare" : "",
                   IsLost(member.get()) ? " lost" : "", IsMember(*member) ? "" : " outside",
                   IsLearner(*member) ? " learner" : "");
    if (member->running()) {
      const consensus::Status status = member->life().raft().status();
      text += StrCat(" role ", static_cast<int>(status.role), " term ", status.term.value(),
                     " commit ", status.commit.value(), " last ", status.last.value(), " voters ",
                     status.conf_state.voters.size());
    }
    text += ";";
  }
  return text;
}

void World::RunLiveness() {
  if (!WriteSomething(kLivenessBoundNs)) {
    if (report_.violations.empty()) {
      Fail(StrCat("no write was answered after all trouble had ended:", DescribeMembers()));
    }
    return;
  }
  client_world_.stopping = true;
  // Who was removed and cut off does not hear of it: somebody turns it off.
  for (const auto& member : members_) {
    if (!member->running() || IsMember(*member)) continue;
    lost_.insert(member.get());
    member->Stop(Member::Death::kKill);
  }
  // The last operations end, and the last leases run out.
  const int64_t ttl_ns =
      (LeaseClient::kTtlSecondsMax + TtlMinSeconds(plan_.config)) * kNanosPerSecond * 11 / 10;
  kernel_->RunUntil(kernel_->now_ns() + 2 * kClientTimeoutNs + ttl_ns + kCalmNs);
  if (!Until(kLivenessBoundNs, [this] { return AllCaughtUp(); })) {
    std::string applied;
    for (const auto& member : members_) {
      applied +=
          StrCat(" ", member->running() ? member->life().engine().applied_index().value() : 0);
    }
    if (report_.violations.empty()) {
      Fail(StrCat("members did not catch up with entry ", entries_.size(), ": applied", applied));
    }
    return;
  }
  kernel_->RunUntil(kernel_->now_ns() + kCalmNs);
}

void World::CheckAuthAtRest(Member& member, std::set<uint64_t>* revisions) {
  const engine::AuthStore& store = member.life().engine().auth();
  for (const auto& administrator : administrators_) {
    if (const std::string wrong = administrator->Judge(store); !wrong.empty()) {
      Fail(StrCat("member ", member.place(), ": ", wrong));
    }
  }
  revisions->insert(store.revision());
  if (revisions->size() > 1) Fail("members differ in the revision of their auth tables");
}

// All members stand still: what they hold is the same, and what the model holds.
void World::CheckAtRest() {
  const StoreModel& model = truth_.model();
  etcdserverpb::RangeRequest everything;
  everything.set_key(std::string(1, '\0'));
  everything.set_range_end(std::string(1, '\0'));
  const std::string expected = model.RangeAt(everything, model.revision()).SerializeAsString();
  everything.set_serializable(true);
  std::map<std::string, Place> hashes;
  std::set<uint64_t> auth_revisions;
  size_t answers = 0;
  size_t asked = 0;
  for (const auto& owned : members_) {
    Member* member = owned.get();
    if (IsLost(member) || !IsMember(*member)) continue;
    CheckAuthAtRest(*member, &auth_revisions);
    asked += 2;
    caller_.Call(operator_place(), member, "/etcdserverpb.KV/Range", everything.SerializeAsString(),
                 kClientTimeoutNs, [&, member](const CallResult& result) {
                   ++answers;
                   etcdserverpb::RangeResponse response;
                   response.ParseFromString(result.body);
                   response.clear_header();
                   if (response.SerializeAsString() != expected) {
                     Fail(StrCat("member ", member->place(), " holds other keys at the end: {",
                                 response.ShortDebugString(), "}"));
                   }
                 });
    etcdserverpb::HashKVRequest hash;
    hash.set_revision(model.revision());
    caller_.Call(operator_place(), member, "/etcdserverpb.Maintenance/HashKV",
                 hash.SerializeAsString(), kClientTimeoutNs, [&, member](const CallResult& result) {
                   ++answers;
                   etcdserverpb::HashKVResponse response;
                   response.ParseFromString(result.body);
                   // A learner answers nothing but reads of its own state.
                   if (!result.status.ok() && IsLearner(*member)) return;
                   hashes[StrCat(response.hash(), " of ", response.hash_revision(),
                                 " compacted at ", response.compact_revision())] = member->place();
                 });
  }
  Until(2 * kClientTimeoutNs, [&] { return answers == asked; });
  if (answers != asked) return Fail("a member does not answer at rest");
  if (hashes.size() == 1) return;
  std::string all;
  for (const auto& [hash, place] : hashes) all += StrCat("; member ", place, ": ", hash);
  Fail(StrCat("HashKV differs", all));
}

void World::JudgeHistory(int64_t quiet_since_ns) {
  const auto add = [this](Violations found) {
    for (std::string& line : found) Fail(std::move(line));
  };
  add(CheckOperations(truth_, history_.operations));
  add(CheckWatches(truth_, history_.watches, quiet_since_ns != 0 ? truth_.model().revision() : 0));
  LeaseRules rules;
  rules.clock_gain_ppm =
      *std::max_element(plan_.clock_gain_ppm.begin(), plan_.clock_gain_ppm.end());
  if (quiet_since_ns != 0) rules.gone_if_before_ns = quiet_since_ns;
  add(CheckLeases(truth_, history_, rules));
  SearchResult search = SearchLinearization(history_.operations, {});
  Saw("groups searched", search.groups);
  Saw("groups undecided", search.undecided);
  add(std::move(search.violations));
}

void World::CountHistory() {
  for (const Operation& operation : history_.operations) {
    Saw(operation.outcome == Operation::Outcome::kDone      ? "operations done"
        : operation.outcome == Operation::Outcome::kRefused ? "operations refused"
                                                            : "operations unknown");
  }
  Saw("renewals", history_.renewals.size());
  Saw("watches", history_.watches.size());
  for (const WatchRecord& watch : history_.watches) {
    for (const auto& response : watch.responses) Saw("watch events", response.events.size());
    if (watch.end == WatchRecord::End::kCompacted) Saw("watches compacted");
  }
  Saw("revisions", static_cast<uint64_t>(truth_.model().revision()));
  Saw("packets", network_.counts().sent);
}

// Which parts of raft and engine a run came through.
void World::CountBranches() {
  constexpr std::string_view kNames[32] = {"",
                                           "",
                                           "proposals forwarded",
                                           "appends",
                                           "append answers",
                                           "votes",
                                           "vote answers",
                                           "snapshots",
                                           "heartbeats",
                                           "heartbeat answers",
                                           "",
                                           "",
                                           "",
                                           "transfers forwarded",
                                           "timeouts now",
                                           "reads forwarded",
                                           "read answers",
                                           "pre-votes",
                                           "pre-vote answers"};
  for (size_t type = 0; type < sent_.size(); ++type) {
    if (kNames[type].empty()) continue;
    Saw(StrCat("raft: ", kNames[type]), sent_[type].all);
    if (sent_[type].rejects != 0) Saw(StrCat("raft: ", kNames[type], ", no"), sent_[type].rejects);
  }
  for (const auto& member : members_) {
    if (!member->running()) continue;
    const engine::Engine::Counters& counters = member->life().engine().counters();
    Saw("engine: puts", counters.puts);
    Saw("engine: deletes", counters.deletes);
    Saw("engine: ranges", counters.ranges);
    Saw("engine: transactions", counters.txns);
    Saw("engine: keys compacted", counters.compacted_keys);
    Saw("lessor: expired", member->life().engine().lessor().counters().expired);
    Saw("lessor: renewed", member->life().engine().lessor().counters().renewed);
  }
}

Report World::Run() {
  Bootstrap();
  StartAll();
  RunSafety();
  int64_t quiet_since_ns = 0;
  if (report_.violations.empty()) {
    Heal();
    RunLiveness();
    if (report_.violations.empty()) CheckAtRest();
    if (report_.violations.empty()) quiet_since_ns = kernel_->now_ns();
  }
  JudgeHistory(quiet_since_ns);
  CountHistory();
  CountBranches();
  report_.virtual_ns = kernel_->now_ns();
  report_.digest = kernel_->digest();
  report_.last_draw = kernel_->random().Next();
  return std::move(report_);
}

}  // namespace quorate::sim
