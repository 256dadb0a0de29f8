#include "tests/sim/member.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "backends/kv/state_stream.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::sim {
namespace {

constexpr int64_t kTurnNsMax = 30'000;                // until a thread that has work runs
constexpr int64_t kSocketNsMax = 5 * kNanosPerMilli;  // after a pause, until the sockets are read

}  // namespace

// What the member's loops hand over for others.
class Member::Peers final : public server::PeerSide {
 public:
  Peers(Member* member, PeerPost post) : member_(member), post_(std::move(post)) {}

  void Send(std::vector<consensus::Message> messages) override {
    for (consensus::Message& message : messages) {
      if (message.type == consensus::MessageType::kSnapshot) {
        SendSnapshot(std::move(message));
      } else {
        post_(*member_, std::move(message), nullptr);
      }
    }
  }
  void PrepareSnapshot(MemberId peer) override {
    life().backend_writer().Run([this, peer](kv::KvBackend& backend) -> std::optional<Replaced> {
      absl::StatusOr<server::MemberState::Prepared> prepared =
          server::MemberState::Prepare(backend);
      if (!prepared.ok()) {
        member_->SnapshotSent(member_->epoch(), peer, consensus::SnapshotResult::kFailed);
        return std::nullopt;
      }
      const consensus::SnapshotMeta meta = prepared->meta;
      prepared_[peer] = *std::move(prepared);
      life().loop().Run(
          [peer, meta](server::Replica& replica) { replica.SnapshotReady(peer, meta); });
      return std::nullopt;
    });
  }
  // As server/cluster_peers.cc does it, but that one thread is both writers here.
  void Install(consensus::InstallRequest request) override {
    const consensus::SnapshotMeta meta = std::move(request.meta);
    life().backend_writer().Run([this, meta](kv::KvBackend&) -> std::optional<Replaced> {
      std::optional<server::MemberState::Installed> installed =
          life().state().Install(meta, [this, &meta] { return ResetLog(meta); });
      if (!installed) {
        life().loop().Run([meta](server::Replica& replica) { replica.SnapshotAbandoned(meta); });
        return std::nullopt;
      }
      const Replaced replaced{installed->backend.get(), meta.index};
      life().loop().Run(
          [this, meta, installed = *std::move(installed)](server::Replica& replica) mutable {
            replica.SnapshotInstalled(meta, life().state().TakeOver(std::move(installed)));
            ReleaseOld(replica);
          });
      return replaced;
    });
  }
  // A new life knows nothing of what the one before had prepared.
  void Forget() { prepared_.clear(); }
  void MembersChanged(server::Replica&) override { member_->judge_->MembersChanged(*member_); }
  void Removed() override { member_->judge_->Removed(*member_); }

 private:
  using Replaced = server::BackendWriter::Replaced;

  MemberLife& life() { return *member_->life_; }
  absl::Status ResetLog(const consensus::SnapshotMeta& meta) {
    bool durable = false;
    server::LogTask task;
    task.reset = server::LogReset{meta.index, meta.term, [&durable] { durable = true; }};
    life().log_writer().Submit(std::move(task));
    life().log_writer().Poll();
    if (!durable) return absl::UnavailableError("the log cannot be written");
    member_->KeepPromise();
    return absl::OkStatus();
  }
  void ReleaseOld(server::Replica& replica) {
    if (life().state().ReleaseOld()) return;
    replica.RunLater([this](server::Replica& later) { ReleaseOld(later); });
  }
  void SendSnapshot(consensus::Message message) {
    const auto found = prepared_.find(message.to);
    if (found == prepared_.end() || found->second.snapshot == nullptr ||
        found->second.meta.index != message.snapshot->index) {
      return member_->SnapshotSent(member_->epoch(), message.to,
                                   consensus::SnapshotResult::kFailed);
    }
    kv::StateExporter exporter(std::move(found->second.snapshot));
    prepared_.erase(found);
    std::string state;
    for (;;) {
      const absl::StatusOr<std::string_view> piece = exporter.Read(64 << 10);
      QR_CHECK(piece.ok());
      if (piece->empty()) break;
      state.append(*piece);
    }
    post_(*member_, std::move(message), std::make_shared<const std::string>(std::move(state)));
  }

  Member* const member_;
  const PeerPost post_;
  std::map<MemberId, server::MemberState::Prepared> prepared_;
};

class Member::Http final : public server::HttpCaller {
 public:
  Http(Member* member, HttpPost post) : member_(member), post_(std::move(post)) {}
  void Call(server::HttpCall call, HttpDone done) override {
    // An answer that comes to a later life finds nobody.
    post_(*member_, std::move(call),
          [member = member_, epoch = member_->epoch(),
           done = std::move(done)](absl::StatusOr<server::HttpAnswer> answer) {
            if (!member->running() || member->epoch() != epoch) return;
            done(std::move(answer));
            member->Wake();
          });
  }

 private:
  Member* const member_;
  const HttpPost post_;
};

Member::Member(Kernel* kernel, const Options& options, Judge* judge, PeerPost post, HttpPost http)
    : kernel_(kernel),
      options_(options),
      judge_(judge),
      peers_(std::make_unique<Peers>(this, std::move(post))),
      http_(std::make_unique<Http>(this, std::move(http))),
      clock_(kernel, options.clock_gain_ppm),
      disk_(std::make_unique<FaultFileEnv>()) {}

Member::~Member() {
  if (running()) Stop(Death::kPowerLoss);
}

absl::Status Member::Bootstrap(const std::vector<Entry>& entries) {
  log::LogOptions log_options;
  log_options.dir = config().log_dir;
  log_options.env = disk_.get();
  log_options.segment_bytes = config().log_segment_bytes;
  QR_RETURN_IF_ERROR(disk_->MakeDirs(config().log_dir));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<log::LogStore> log,
                      log::CreateSegmentedLog(log_options, options_.identity));
  if (entries.empty()) return absl::OkStatus();  // it joins
  const HardState state{Term(1), MemberId(0), LogIndex(entries.size())};
  QR_RETURN_IF_ERROR(log->Append(entries, &state));
  QR_RETURN_IF_ERROR(log->Sync());
  promise_ = {entries.back().index, state};
  return absl::OkStatus();
}

absl::Status Member::Start() {
  QR_CHECK(!running());
  MemberLife::Inputs inputs;
  inputs.config = &options_.config;
  inputs.raft = &options_.raft;
  inputs.files = disk_.get();
  inputs.clock = &clock_;
  inputs.seed = kernel_->random().Next();
  inputs.applied = [this](const Entry& entry) { judge_->Applied(*this, entry); };
  inputs.disk_failed = [this](const absl::Status& status) { DiskFailed(status); };
  ++epoch_;
  inputs.number = epoch_;
  inputs.peers = peers_.get();
  inputs.synced = [this](LogIndex index) { judge_->Synced(*this, index); };
  inputs.http = http_.get();
  disk_failed_ = false;
  scheduled_ = {};
  timer_at_ns_ = INT64_MAX;
  paused_until_ns_ = 0;
  absl::StatusOr<std::unique_ptr<MemberLife>> life = MemberLife::Open(inputs);
  kernel_->Note("start", place(), static_cast<uint64_t>(life.status().code()));
  if (!life.ok()) return life.status();
  life_ = *std::move(life);
  if (!PromiseKept()) {
    const HardState state = life_->log().hard_state();
    const std::string text =
        StrCat("the log ends before what was durable: last entry ",
               life_->log().last_index().value(), " term ", state.term.value(), " vote ",
               state.vote.value(), ", it was ", promise_.last.value(), " term ",
               promise_.state.term.value(), " vote ", promise_.state.vote.value());
    life_.reset();
    return absl::DataLossError(text);
  }
  Wake();
  return absl::OkStatus();
}

void Member::Stop(Death death) {
  kernel_->Note("stop", place(), static_cast<uint64_t>(death));
  judge_->Stopping(*this);
  ++epoch_;
  power_loss_armed_ = false;
  // What the objects still write while they go reaches no disk any more.
  if (death == Death::kPowerLoss) disk_->Crash(kernel_->random());
  life_.reset();
  peers_->Forget();
  if (death == Death::kPowerLoss) disk_->HealSyncs();
}

void Member::StopInNextSync() {
  power_loss_armed_ = true;
  disk_->FailSyncs({.path_part = "", .skip = kernel_->random().Below(3)});
}

void Member::DiskFailed(const absl::Status& status) {
  kernel_->Note("disk failed", place(), static_cast<uint64_t>(status.code()));
  if (std::exchange(disk_failed_, true)) return;
  LogWarn("the disk failed: this member ends", {{"place", uint64_t{place()}}, status});
  // The process ends itself; not from inside its own objects. With the power goes the cache.
  kernel_->After(0, [this, epoch = epoch_] {
    if (epoch == epoch_ && running()) Stop(power_loss_armed_ ? Death::kPowerLoss : Death::kKill);
  });
}

void Member::Pause(int64_t for_ns) {
  kernel_->Note("pause", place(), static_cast<uint64_t>(for_ns));
  paused_until_ns_ = std::max(paused_until_ns_, kernel_->now_ns() + for_ns);
}

// One bit of a file that is there, or a write to come.
void Member::DamageDisk(Damage damage) {
  Random& random = kernel_->random();
  const bool log = random.OneIn(2);
  const std::string& dir = log ? config().log_dir : config().backend_dir;
  kernel_->Note("damage", place(), static_cast<uint64_t>(damage));
  if (damage == Damage::kMisdirectedWrite) {
    disk_->MisdirectWrites({.path_part = dir, .shift_bytes = random.Between(-20, 4) * 512 + 256});
    return;
  }
  const absl::StatusOr<std::vector<std::string>> names = disk_->List(dir);
  if (!names.ok() || names->empty()) return;
  const std::string path = dir + "/" + (*names)[random.Below(names->size())];
  const absl::StatusOr<std::string> content = ReadFileToString(disk_.get(), path);
  if (!content.ok() || content->empty()) return;
  damaged_ =
      disk_->FlipBit(path, random.Below(content->size()), static_cast<int>(random.Below(8))).ok() ||
      damaged_;
}

void Member::KeepPromise() {
  promise_ = {life_->log().last_index(), life_->log().hard_state()};
  judge_->Synced(*this, promise_.last);
}

bool Member::PromiseKept() const {
  const HardState state = life_->log().hard_state();
  if (life_->log().last_index() < promise_.last || state.term < promise_.state.term) return false;
  return state.term > promise_.state.term || promise_.state.vote.value() == 0 ||
         state.vote == promise_.state.vote;
}

void Member::WipeDisk() {
  QR_CHECK(!running());
  damaged_ = false;
  promise_ = {};
  disk_ = std::make_unique<FaultFileEnv>();
}

bool Member::Unary(std::string_view path, std::shared_ptr<SimCall> call, Bytes request) {
  const transport::Method* method = life_->Find(path);
  if (method == nullptr) return false;
  method->unary(std::move(call), std::move(request));
  Wake();
  return true;
}

std::unique_ptr<transport::CallHandler> Member::OpenStream(std::string_view path,
                                                           std::shared_ptr<SimCall> call) {
  const transport::Method* method = life_->Find(path);
  QR_CHECK(method != nullptr && method->bidi);
  Wake();
  return method->bidi(std::move(call));
}

int64_t Member::DrawReadDelayNs() const {
  return paused_until_ns_ - kernel_->now_ns() + kernel_->Draw(0, kSocketNsMax);
}

void Member::Receive(consensus::Message message) {
  if (!running() || disk_failed_) return;
  if (paused()) {
    kernel_->After(DrawReadDelayNs(), [this, epoch = epoch_, message = std::move(message)] {
      if (epoch == epoch_) Receive(message);
    });
    return;
  }
  std::vector<consensus::Message> messages;
  messages.push_back(std::move(message));
  life_->loop().Receive(std::move(messages));
  Wake();
}

bool Member::ReceiveSnapshot(const consensus::Message& message, std::string_view state,
                             size_t cut_at) {
  if (!running() || disk_failed_ || paused()) return false;
  const std::unique_ptr<transport::SnapshotSink> sink =
      life_->state().Receive({message.snapshot->index, message.snapshot->term});
  if (sink == nullptr) return false;
  if (!sink->Append(Bytes::Copy(state.substr(0, cut_at))).ok()) return false;
  if (cut_at < state.size() || !sink->Finish().ok()) return false;
  Receive(message);
  return true;
}

void Member::SnapshotSent(uint64_t epoch, MemberId peer, consensus::SnapshotResult result) {
  if (!running() || epoch != epoch_) return;
  life_->loop().Run(
      [peer, result](server::Replica& replica) { replica.ReportSnapshot(peer, result); });
  Wake();
}

void Member::Wake() {
  Schedule(&scheduled_.loop, kernel_->Draw(1'000, kTurnNsMax), &Member::PollLoop);
}

// One turn of one loop, of this life, when the process is not stopped.
void Member::Schedule(bool* scheduled, int64_t delay_ns, void (Member::*poll)()) {
  if (std::exchange(*scheduled, true)) return;
  kernel_->After(delay_ns, [this, epoch = epoch_, scheduled, poll] {
    if (epoch != epoch_) return;
    *scheduled = false;
    if (disk_failed_) return;
    if (paused()) {
      return Schedule(scheduled, paused_until_ns_ - kernel_->now_ns() + 1, poll);
    }
    (this->*poll)();
  });
}

void Member::PollLoop() {
  life_->loop().Poll();
  judge_->AfterStep(*this);
  AfterPoll();
}

// Whoever has work gets a turn.
void Member::AfterPoll() {
  if (life_->log_writer().queued() != 0) {
    Schedule(&scheduled_.log, kernel_->Draw(disk_speed_.delay_ns_min, disk_speed_.delay_ns_max),
             &Member::PollLog);
  }
  if (life_->backend_writer().queued() != 0) {
    Schedule(&scheduled_.backend,
             kernel_->Draw(disk_speed_.delay_ns_min, 4 * disk_speed_.delay_ns_max),
             &Member::PollBackend);
  }
  if (life_->workers().queued() != 0) {
    Schedule(&scheduled_.workers, kernel_->Draw(1'000, options_.worker_delay_ns_max),
             &Member::PollWorkers);
  }
  const int64_t due_ns = life_->loop().NextDueNs();
  const int64_t delay_ns = clock_.TrueDelayUntil(due_ns);
  if (delay_ns == 0) return Wake();
  const int64_t at_ns = kernel_->now_ns() + delay_ns;
  if (scheduled_.timer && timer_at_ns_ <= at_ns) return;
  timer_at_ns_ = at_ns;
  scheduled_.timer = true;
  kernel_->After(delay_ns, [this, epoch = epoch_, at_ns] {
    if (epoch != epoch_ || timer_at_ns_ != at_ns) return;
    scheduled_.timer = false;
    timer_at_ns_ = INT64_MAX;
    Wake();
  });
}

void Member::PollLog() {
  life_->log_writer().Poll();
  if (!disk_failed_) KeepPromise();
  Wake();
}

void Member::PollBackend() {
  // Giving space back goes on step by step.
  if (life_->backend_writer().Poll()) {
    Schedule(&scheduled_.backend,
             kernel_->Draw(disk_speed_.delay_ns_min, 4 * disk_speed_.delay_ns_max),
             &Member::PollBackend);
  }
  Wake();
}

void Member::PollWorkers() {
  life_->workers().Poll();
  Wake();
}

}  // namespace quorate::sim
