#include "server/cluster_peers.h"

#include <algorithm>
#include <future>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "server/raft_messages.h"

namespace quorate::server {
namespace {

constexpr size_t kSnapshotPieceBytes = 256 << 10;

class StateSource final : public transport::SnapshotSource {
 public:
  explicit StateSource(std::unique_ptr<kv::KvSnapshot> snapshot) : exporter_(std::move(snapshot)) {}
  absl::StatusOr<Bytes> Next() override {
    const absl::StatusOr<std::string_view> piece = exporter_.Read(kSnapshotPieceBytes);
    if (!piece.ok()) return piece.status();
    return Bytes::Copy(*piece);
  }

 private:
  kv::StateExporter exporter_;
};

std::vector<std::string> UrlsOf(const etcdserverpb::Member& member) {
  return {member.peerurls().begin(), member.peerurls().end()};
}

// Counts how a received state ends; one that is dropped unfinished has failed.
class CountedSink final : public transport::SnapshotSink {
 public:
  CountedSink(std::unique_ptr<transport::SnapshotSink> sink, MemberId from, PeerCounters* counters,
              const Clock* clock)
      : sink_(std::move(sink)),
        from_(from),
        counters_(counters),
        clock_(clock),
        start_ns_(clock->MonotonicNs()) {
    counters_->TransferBegins(PeerCounters::Direction::kReceive, from_);
  }
  ~CountedSink() override {
    counters_->TransferEnds(PeerCounters::Direction::kReceive, from_, outcome_,
                            clock_->MonotonicNs() - start_ns_);
  }
  absl::Status Append(Bytes piece) override { return sink_->Append(std::move(piece)); }
  absl::Status Finish() override {
    const absl::Status status = sink_->Finish();
    if (status.ok()) outcome_ = PeerCounters::Outcome::kSuccess;
    return status;
  }

 private:
  const std::unique_ptr<transport::SnapshotSink> sink_;
  const MemberId from_;
  PeerCounters* const counters_;
  const Clock* const clock_;
  const int64_t start_ns_;
  PeerCounters::Outcome outcome_ = PeerCounters::Outcome::kFailure;
};

}  // namespace

void ClusterPeers::Connect(const Parts& parts, const engine::Engine& engine,
                           const std::vector<etcdserverpb::Member>& others) {
  parts_ = parts;
  for (const etcdserverpb::Member& member : others) AddOrUpdate(member);
  for (const etcdserverpb::Member& member : engine.members()) {
    known_[member.id()] = member;
    AddOrUpdate(member);
  }
  for (const MemberId removed : engine.removed_members()) {
    if (removed != options_.identity.member) parts_.links->RemovePeer(removed);
  }
  version_ = engine.cluster_version();
}

std::vector<MemberId> ClusterPeers::ConnectedVoters(const consensus::ConfState& members) const {
  std::vector<std::pair<int64_t, MemberId>> connected;
  for (const MemberId voter : members.voters) {
    if (voter == options_.identity.member) continue;
    const int64_t since_ns = parts_.links->ActiveSinceNs(voter);
    if (since_ns != 0) connected.push_back({since_ns, voter});
  }
  std::sort(connected.begin(), connected.end());
  std::vector<MemberId> out;
  for (const auto& [since_ns, voter] : connected) out.push_back(voter);
  return out;
}

void ClusterPeers::AddOrUpdate(const etcdserverpb::Member& member) {
  if (MemberId(member.id()) == options_.identity.member) return;
  const absl::Status added = parts_.links->AddPeer(MemberId(member.id()), UrlsOf(member));
  if (!added.ok()) {
    LogWarn("cannot reach a member by its peer URLs",
            {{"remote-peer-id", HexText(member.id())}, added});
  }
  parts_.counters->Add(MemberId(member.id()));
}

void ClusterPeers::Forget(const etcdserverpb::Member& member) {
  if (MemberId(member.id()) == options_.identity.member) return;
  parts_.links->RemovePeer(MemberId(member.id()));
  parts_.counters->Forget(MemberId(member.id()));
}

// --- PeerSide

void ClusterPeers::Send(std::vector<consensus::Message> messages) {
  size_t first = 0;
  while (first < messages.size()) {
    const MemberId to = messages[first].to;
    if (messages[first].type == consensus::MessageType::kSnapshot) {
      SendSnapshot(std::move(messages[first++]));
      continue;
    }
    std::vector<transport::PeerMessage> run;
    size_t last = first;
    while (last < messages.size() && messages[last].to == to &&
           messages[last].type != consensus::MessageType::kSnapshot) {
      run.push_back(ToPeerMessage(std::move(messages[last++])));
    }
    parts_.links->Send(to, std::move(run));
    first = last;
  }
}

void ClusterPeers::ReportSnapshot(MemberId peer, consensus::SnapshotResult result) {
  parts_.loop->Run([peer, result](Replica& replica) { replica.ReportSnapshot(peer, result); });
}

void ClusterPeers::PrepareSnapshot(MemberId peer) {
  parts_.backend_writer->Run(
      [this, peer](kv::KvBackend& backend) -> std::optional<BackendWriter::Replaced> {
        absl::StatusOr<MemberState::Prepared> prepared = MemberState::Prepare(backend);
        if (!prepared.ok()) {
          LogWarn("cannot make a snapshot for a member that is behind the log",
                  {{"remote-peer-id", HexText(peer.value())}, prepared.status()});
          ReportSnapshot(peer, consensus::SnapshotResult::kFailed);
          return std::nullopt;
        }
        const consensus::SnapshotMeta meta = prepared->meta;
        {
          std::lock_guard lock(prepared_mutex_);
          prepared_[peer] = *std::move(prepared);
        }
        parts_.loop->Run([this, peer, meta](Replica& replica) {
          replica.SnapshotReady(peer, meta);
          // The message comes with one of the next steps, unless the peer needs it no more.
          replica.RunLater([this, peer, index = meta.index](Replica& later) {
            later.RunLater([this, peer, index](Replica&) { DropPrepared(peer, index); });
          });
        });
        return std::nullopt;
      });
}

void ClusterPeers::DropPrepared(MemberId peer, LogIndex index) {
  std::lock_guard lock(prepared_mutex_);
  const auto found = prepared_.find(peer);
  if (found != prepared_.end() && found->second.meta.index == index) prepared_.erase(found);
}

void ClusterPeers::SendSnapshot(consensus::Message message) {
  const MemberId to = message.to;
  const LogIndex index = message.snapshot->index;
  std::unique_ptr<kv::KvSnapshot> state;
  {
    std::lock_guard lock(prepared_mutex_);
    const auto found = prepared_.find(to);
    if (found != prepared_.end() && found->second.meta.index == index) {
      state = std::move(found->second.snapshot);
      prepared_.erase(found);
    }
  }
  if (state == nullptr) return ReportSnapshot(to, consensus::SnapshotResult::kFailed);
  const int64_t start_ns = parts_.clock->MonotonicNs();
  parts_.counters->TransferBegins(PeerCounters::Direction::kSend, to);
  LogInfo("sending database snapshot",
          {{"snapshot-index", index.value()}, {"remote-peer-id", HexText(to.value())}});
  parts_.links->SendSnapshot(
      ToPeerMessage(std::move(message)), std::make_unique<StateSource>(std::move(state)),
      [this, to, index, start_ns](const absl::Status& status) {
        parts_.counters->TransferEnds(
            PeerCounters::Direction::kSend, to,
            status.ok() ? PeerCounters::Outcome::kSuccess : PeerCounters::Outcome::kFailure,
            parts_.clock->MonotonicNs() - start_ns);
        if (status.ok()) {
          LogInfo("sent database snapshot",
                  {{"snapshot-index", index.value()},
                   {"remote-peer-id", HexText(to.value())},
                   {"took", FormatGoDuration(parts_.clock->MonotonicNs() - start_ns)}});
        } else {
          LogWarn(
              "failed to send database snapshot",
              {{"snapshot-index", index.value()}, {"remote-peer-id", HexText(to.value())}, status});
        }
        ReportSnapshot(to, status.ok() ? consensus::SnapshotResult::kDelivered
                                       : consensus::SnapshotResult::kFailed);
      });
}

void ClusterPeers::Install(consensus::InstallRequest request) {
  const consensus::SnapshotMeta meta = std::move(request.meta);
  parts_.counters->SetApplying(PeerCounters::Applying::kYes);
  parts_.backend_writer->Run([this,
                              meta](kv::KvBackend&) -> std::optional<BackendWriter::Replaced> {
    std::optional<MemberState::Installed> installed = parts_.state->Install(meta, [this, &meta] {
      std::promise<void> done;
      LogTask task;
      task.reset = LogReset{meta.index, meta.term, [&done] { done.set_value(); }};
      parts_.log_writer->Submit(std::move(task));
      done.get_future().wait();
      return absl::OkStatus();
    });
    if (!installed) {
      parts_.counters->SetApplying(PeerCounters::Applying::kNo);
      parts_.loop->Run([meta](Replica& replica) { replica.SnapshotAbandoned(meta); });
      return std::nullopt;
    }
    const BackendWriter::Replaced replaced{installed->backend.get(), meta.index};
    parts_.loop->Run([this, meta, installed = *std::move(installed)](Replica& replica) mutable {
      Installed(replica, meta, std::move(installed));
    });
    return replaced;
  });
}

void ClusterPeers::Installed(Replica& replica, const consensus::SnapshotMeta& meta,
                             MemberState::Installed installed) {
  replica.SnapshotInstalled(meta, parts_.state->TakeOver(std::move(installed)));
  parts_.counters->SetApplying(PeerCounters::Applying::kNo);
  MembersChanged(replica);
  if (replica.engine().WasRemoved(options_.identity.member)) Removed();
  ReleaseOld(replica);
}

void ClusterPeers::ReleaseOld(Replica& replica) {
  if (parts_.state->ReleaseOld()) return;
  replica.RunLater([this](Replica& later) { ReleaseOld(later); });
}

void ClusterPeers::MembersChanged(Replica& replica) {
  const std::string cluster = HexText(options_.identity.cluster.value());
  const std::string self = HexText(options_.identity.member.value());
  std::map<uint64_t, etcdserverpb::Member> now;
  for (const etcdserverpb::Member& member : replica.engine().members()) now[member.id()] = member;
  for (const auto& [id, member] : now) {
    const auto before = known_.find(id);
    if (before == known_.end()) {
      LogInfo("added member", {{"cluster-id", cluster},
                               {"local-member-id", self},
                               {"added-peer-id", HexText(id)},
                               {"added-peer-peer-urls", UrlsOf(member)},
                               {"added-peer-is-learner", member.islearner()}});
    } else if (before->second.islearner() && !member.islearner()) {
      LogInfo("promote member", {{"cluster-id", cluster},
                                 {"local-member-id", self},
                                 {"promoted-member-id", HexText(id)}});
    } else if (UrlsOf(before->second) != UrlsOf(member)) {
      LogInfo("updated member", {{"cluster-id", cluster},
                                 {"local-member-id", self},
                                 {"updated-remote-peer-id", HexText(id)},
                                 {"updated-remote-peer-urls", UrlsOf(member)}});
    } else {
      continue;
    }
    AddOrUpdate(member);
  }
  for (const auto& [id, member] : known_) {
    if (now.contains(id)) continue;
    LogInfo("removed member", {{"cluster-id", cluster},
                               {"local-member-id", self},
                               {"removed-remote-peer-id", HexText(id)},
                               {"removed-remote-peer-urls", UrlsOf(member)}});
    Forget(member);
  }
  known_ = std::move(now);
}

void ClusterPeers::Removed() {
  if (removed_.exchange(true)) return;
  options_.removed();
}

void ClusterPeers::LogVersion(const engine::Engine& engine) {
  const std::string version = engine.cluster_version();
  if (version == version_) return;
  const std::string shown = version.substr(0, version.rfind('.'));
  const std::string cluster = HexText(options_.identity.cluster.value());
  const std::string self = HexText(options_.identity.member.value());
  if (version_.empty()) {
    LogInfo("set initial cluster version",
            {{"cluster-id", cluster}, {"local-member-id", self}, {"cluster-version", shown}});
  } else {
    LogInfo("updated cluster version", {{"cluster-id", cluster},
                                        {"local-member-id", self},
                                        {"from", version_.substr(0, version_.rfind('.'))},
                                        {"to", shown}});
  }
  LogInfo("cluster version is updated", {{"cluster-version", shown}});
  version_ = version;
}

// Raft steps aside by itself; the reason is worth a line.
void ClusterPeers::LogDiskStall(const Replica& replica) {
  const bool stalled = replica.raft().status().disk_stalled;
  if (stalled == disk_stalled_) return;
  disk_stalled_ = stalled;
  if (stalled) {
    LogWarn("the log's disk makes no progress; this member does not lead while that lasts",
            {{"local-member-id", HexText(options_.identity.member.value())}});
  } else {
    LogInfo("the log's disk makes progress again",
            {{"local-member-id", HexText(options_.identity.member.value())}});
  }
}

void ClusterPeers::Ticked(Replica& replica) {
  LogVersion(replica.engine());
  LogDiskStall(replica);
  for (const auto& [id, member] : known_) {
    const int64_t since_ns = parts_.links->ActiveSinceNs(MemberId(id));
    replica.SetConnectedSince(MemberId(id),
                              since_ns == 0 ? std::nullopt : std::optional<int64_t>(since_ns));
  }
  const int64_t leaderless_ns = replica.leaderless_since_ns();
  if (leaderless_ns == INT64_MAX) return;
  if (parts_.clock->MonotonicNs() - leaderless_ns >= 3 * options_.election_timeout_ns) {
    parts_.leader_streams->FailAll();
  }
}

// --- PeerEvents

void ClusterPeers::OnMessages(MemberId from, std::vector<transport::PeerMessage> messages) {
  std::vector<consensus::Message> out;
  out.reserve(messages.size());
  for (transport::PeerMessage& message : messages) {
    absl::StatusOr<consensus::Message> converted = FromPeerMessage(std::move(message));
    if (converted.ok()) {
      out.push_back(*std::move(converted));
    } else {
      LogWarn("a peer sent a message that members do not send",
              {{"remote-peer-id", HexText(from.value())}, converted.status()});
    }
  }
  if (!out.empty()) parts_.loop->Receive(std::move(out));
}

void ClusterPeers::OnUnreachable(MemberId peer) {
  parts_.loop->Run([peer](Replica& replica) { replica.ReportUnreachable(peer); });
}

std::unique_ptr<transport::SnapshotSink> ClusterPeers::OnSnapshot(
    MemberId from, const transport::PeerMessage& header) {
  if (!header.snapshot) return nullptr;
  const raftpb::SnapshotMetadata& metadata = header.snapshot->metadata();
  LogInfo("receiving database snapshot", {{"remote-snapshot-sender-id", HexText(from.value())},
                                          {"incoming-snapshot-index", metadata.index()}});
  std::unique_ptr<transport::SnapshotSink> sink =
      parts_.state->Receive({LogIndex(metadata.index()), Term(metadata.term())});
  if (sink == nullptr) return nullptr;
  return std::make_unique<CountedSink>(std::move(sink), from, parts_.counters, parts_.clock);
}

void ClusterPeers::OnRoundTrip(MemberId peer, int64_t took_ns) {
  parts_.counters->RoundTrip(peer, took_ns);
}

void ClusterPeers::OnRemoved(MemberId by) {
  LogWarn("a peer says that this member was removed from the cluster",
          {{"remote-peer-id", HexText(by.value())}});
  Removed();
}

}  // namespace quorate::server
