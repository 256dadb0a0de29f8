#include "consensus/test_group.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace quorate::consensus {
namespace {

const char* NameOf(MessageType type) {
  switch (type) {
    case MessageType::kPropose:
      return "propose";
    case MessageType::kAppend:
      return "append";
    case MessageType::kAppendResponse:
      return "append-response";
    case MessageType::kVote:
      return "vote";
    case MessageType::kVoteResponse:
      return "vote-response";
    case MessageType::kSnapshot:
      return "snapshot";
    case MessageType::kHeartbeat:
      return "heartbeat";
    case MessageType::kHeartbeatResponse:
      return "heartbeat-response";
    case MessageType::kTransferLeader:
      return "transfer-leader";
    case MessageType::kTimeoutNow:
      return "timeout-now";
    case MessageType::kReadIndex:
      return "read-index";
    case MessageType::kReadIndexResponse:
      return "read-index-response";
    case MessageType::kPreVote:
      return "pre-vote";
    case MessageType::kPreVoteResponse:
      return "pre-vote-response";
  }
  return "?";
}

std::string ToText(const Entry& entry) {
  std::string out = StrCat(entry.term.value(), "/", entry.index.value());
  if (entry.type != EntryType::kNormal) {
    out += " change";
  } else if (entry.data.size() > 20) {
    StrAppend(&out, " (", entry.data.size(), " bytes)");
  } else if (!entry.data.empty()) {
    StrAppend(&out, " '", entry.data.view(), "'");
  }
  return out;
}

std::string RoleText(const Raft& raft) {
  switch (raft.role()) {
    case Role::kFollower:
      return "follower";
    case Role::kPreCandidate:
      return "pre-candidate";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
  }
  return "?";
}

}  // namespace

ConfState TestConf(std::vector<uint64_t> voters, std::vector<uint64_t> learners) {
  ConfState conf;
  for (const uint64_t id : voters) conf.voters.push_back(MemberId(id));
  for (const uint64_t id : learners) conf.learners.push_back(MemberId(id));
  return conf;
}

std::string ToText(const Message& message) {
  std::string out =
      StrCat(message.from.value(), ">", message.to.value(), " ", NameOf(message.type));
  if (message.term.value() != 0) StrAppend(&out, " t", message.term.value());
  if (message.reject) out += " REJECT";
  const bool has_place = message.type == MessageType::kAppend ||
                         message.type == MessageType::kVote ||
                         message.type == MessageType::kPreVote;
  if (has_place) {
    StrAppend(&out, " after ", message.log_term.value(), "/", message.index.value());
  } else if (message.index.value() != 0) {
    StrAppend(&out, " at ", message.index.value());
  }
  const bool refused_append = message.reject && message.type == MessageType::kAppendResponse;
  if (refused_append && message.reject_hint.value() + message.log_term.value() != 0) {
    StrAppend(&out, " hint ", message.log_term.value(), "/", message.reject_hint.value());
  }
  if (message.type != MessageType::kReadIndex && message.type != MessageType::kReadIndexResponse) {
    for (size_t i = 0; i < message.entries.size(); ++i) {
      StrAppend(&out, i == 0 ? " [" : ", ", ToText(message.entries[i]));
    }
    if (!message.entries.empty()) out += "]";
  }
  if (message.commit.value() != 0) StrAppend(&out, " commit ", message.commit.value());
  if (message.snapshot != nullptr) {
    StrAppend(&out, " ", message.snapshot->term.value(), "/", message.snapshot->index.value(), " ",
              ToText(message.snapshot->conf_state));
  }
  if (message.context.view() == kTransferContext) out += " by transfer";
  return out;
}

TestGroup::TestGroup(uint64_t seed, Config config) : config_(config), random_(seed) {}

TestMember& TestGroup::Add(uint64_t id, const ConfState& founders) {
  Config config = config_;
  config.self = MemberId(id);
  auto [at, is_new] =
      members_.emplace(id, std::make_unique<TestMember>(config, founders, &random_, &snapshots_));
  QR_CHECK(is_new);
  return *at->second;
}

void TestGroup::AddAll(const ConfState& founders) {
  for (const MemberId id : founders.Members()) Add(id.value(), founders);
}

void TestGroup::Trace(std::string line) const {
  if (trace != nullptr) trace->push_back(std::move(line));
}

void TestGroup::TraceChanges() {
  if (trace == nullptr) return;
  for (auto& [id, member] : members_) {
    if (!member->running()) continue;
    const Raft& raft = member->raft();
    std::string now = StrCat(id, ": ", RoleText(raft), " t", raft.term().value());
    if (raft.leader().value() != 0) StrAppend(&now, " leader ", raft.leader().value());
    StrAppend(&now, " ", ToText(raft.conf_state()));
    if (shown_[id] != now) Trace(shown_[id] = now);
    if (shown_commit_[id] != raft.commit()) {
      shown_commit_[id] = raft.commit();
      Trace(StrCat(id, ": commit ", raft.commit().value()));
    }
    size_t& shown = shown_applied_[id];
    for (; shown < member->applied().size(); ++shown) {
      const std::string& payload = member->applied()[shown];
      if (payload.size() <= 20) Trace(StrCat(id, ": applied '", payload, "'"));
    }
    for (const ReadReady& read : std::exchange(member->reads, {})) {
      Trace(StrCat(id, ": read ", read.context, " at ", read.index.value()));
    }
    for (const uint64_t read : std::exchange(member->reads_dropped, {})) {
      Trace(StrCat(id, ": read ", read, " dropped"));
    }
  }
}

void TestGroup::Collect() {
  for (auto& [id, member] : members_) {
    if (!member->running()) continue;
    const size_t before = in_flight.size();
    member->Collect(&in_flight);
    for (size_t i = before; i < in_flight.size(); ++i) {
      const absl::Status sent = invariants_.Sent(in_flight[i]);
      REQUIRE(ToStd(sent.message()) == "");
    }
  }
  TraceChanges();
  Check();
}

void TestGroup::Lost(const Message& message) {
  const auto from = members_.find(message.from.value());
  if (message.type != MessageType::kSnapshot || from == members_.end()) return;
  if (!from->second->running()) return;
  from->second->raft().ReportSnapshot(message.to, SnapshotResult::kFailed);
}

void TestGroup::Arrive(Message message) {
  const auto to = members_.find(message.to.value());
  const bool lost = loses && loses(message);
  if (lost || to == members_.end() || !to->second->running()) {
    Trace(StrCat(ToText(message), " LOST"));
    return Lost(message);
  }
  Trace(ToText(message));
  const auto from = members_.find(message.from.value());
  const bool snapshot = message.type == MessageType::kSnapshot;
  const MemberId target = message.to;
  to->second->raft().Receive(std::move(message));
  if (snapshot && from != members_.end() && from->second->running()) {
    from->second->raft().ReportSnapshot(target, SnapshotResult::kDelivered);
  }
}

void TestGroup::DeliverOne(size_t at) {
  Message message = std::move(in_flight[at]);
  in_flight.erase(in_flight.begin() + static_cast<std::ptrdiff_t>(at));
  Arrive(std::move(message));
}

// What the owner of one member would do by itself. True when there was something.
bool TestGroup::StepOwner(TestMember& member) {
  const uint64_t id = member.id().value();
  bool moved = false;
  if (member.HasUnsynced() && !stalled_disks.contains(id)) {
    const size_t before = in_flight.size();
    member.Sync(&in_flight);
    for (size_t i = before; i < in_flight.size(); ++i) {
      REQUIRE(invariants_.Sent(in_flight[i]).ok());
    }
    moved = true;
    Check();
  }
  if (member.HasToApply() && !not_applying.contains(id)) {
    member.Apply(SIZE_MAX);
    moved = true;
  }
  for (const LogReadRequest& read : member.log_reads()) {
    if (slow_readers.contains(id)) break;
    Trace(StrCat(id, ": reads its log for ", read.peer.value(), " from ", read.first.value(),
                 " to ", read.last.value()));
    moved = true;
  }
  if (!slow_readers.contains(id)) member.AnswerLogReads();
  for (const MemberId peer : member.snapshots_wanted()) {
    Trace(StrCat(id, ": makes a snapshot for ", peer.value()));
    moved = true;
  }
  member.AnswerSnapshotsWanted();
  if (member.install()) {
    Trace(StrCat(id, ": installs snapshot ", member.install()->meta.index.value()));
    member.AnswerInstall(TestMember::Install::kDone);
    moved = true;
  }
  return moved;
}

void TestGroup::Settle() {
  for (bool moved = true; moved;) {
    Collect();
    moved = !in_flight.empty();
    for (Message& message : std::exchange(in_flight, {})) Arrive(std::move(message));
    TraceChanges();
    for (auto& [id, member] : members_) {
      if (!member->running()) continue;
      moved = StepOwner(*member) || moved;
      moved = member->HasOutput() || moved;
    }
    TraceChanges();
    Check();
  }
}

void TestGroup::Tick(uint64_t id, int times) {
  for (int i = 0; i < times; ++i) raft(id).Tick();
  TraceChanges();
}

void TestGroup::TickAll(int times) {
  for (int i = 0; i < times; ++i) {
    for (auto& [id, member] : members_) {
      if (member->running()) member->raft().Tick();
    }
    Settle();
  }
}

bool TestGroup::Campaign(uint64_t id) {
  const Term before = raft(id).term();
  for (int i = 0; i < 1000 && raft(id).role() == Role::kFollower; ++i) raft(id).Tick();
  TraceChanges();
  Settle();
  return raft(id).role() == Role::kLeader && raft(id).term() > before;
}

void TestGroup::Propose(uint64_t id, std::string_view payload) {
  const absl::Status status = raft(id).Propose({Bytes::Copy(payload)});
  if (!status.ok()) Trace(StrCat(id, ": ", status.message()));
}

void TestGroup::Crash(uint64_t id) {
  at(id).Crash();
  invariants_.Crashed(MemberId(id));
  shown_.erase(id);
  shown_applied_.erase(id);
}

std::string TestGroup::StatusText() {
  std::string out;
  for (auto& [id, member] : members_) {
    if (!member->running()) {
      StrAppend(&out, id, ": down\n");
      continue;
    }
    const Status status = member->raft().status();
    StrAppend(&out, id, ": ", RoleText(member->raft()), " t", status.term.value(), " leader ",
              status.leader.value(), " last ", status.last.value(), " durable ",
              status.durable.value(), " commit ", status.commit.value(), " applied ",
              status.applied.value(), " ", ToText(status.conf_state),
              member->install() ? " installing" : "", status.disk_stalled ? " stalled" : "", "\n");
    for (const PeerStatus& peer : status.peers) {
      StrAppend(&out, "   ", peer.id.value(), peer.learner ? " learner" : "",
                peer.state == ReplicationState::kProbe       ? " probe"
                : peer.state == ReplicationState::kReplicate ? " replicate"
                                                             : " snapshot",
                " match ", peer.match.value(), " next ", peer.next.value(), " in-flight ",
                peer.appends_in_flight, peer.active ? "" : " silent");
      if (peer.state == ReplicationState::kSnapshot) {
        StrAppend(&out, " pending ", peer.pending_snapshot.value());
      }
      out += "\n";
    }
  }
  return out;
}

uint64_t TestGroup::Leader() {
  uint64_t best = 0;
  for (auto& [id, member] : members_) {
    if (!member->running() || member->raft().role() != Role::kLeader) continue;
    if (best == 0 || member->raft().term() > raft(best).term()) best = id;
  }
  return best;
}

void TestGroup::Check() {
  std::vector<const Raft*> running;
  for (const auto& [id, member] : members_) {
    if (!member->running()) continue;
    running.push_back(&member->raft());
    const TestState& state = member->state();
    if (state.index.value() == 0) continue;
    const auto [known, is_new] = digests_.try_emplace(state.index, state.digest);
    CAPTURE(id, state.index.value());
    REQUIRE(known->second == state.digest);
  }
  const absl::Status status = invariants_.Look(running);
  REQUIRE(ToStd(status.message()) == "");
}

}  // namespace quorate::consensus
