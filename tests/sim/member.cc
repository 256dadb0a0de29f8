#include "tests/sim/member.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"

namespace quorate::sim {
namespace {

constexpr int64_t kTurnNsMax = 30'000;  // until a thread that has work runs

}  // namespace

// What the member's loops hand over for others.
class Member::Peers final : public server::PeerSide {
 public:
  Peers(Member* member, PeerPost post) : member_(member), post_(std::move(post)) {}

  void Send(std::vector<consensus::Message> messages) override {
    for (consensus::Message& message : messages) post_(*member_, std::move(message));
  }
  void PrepareSnapshot(MemberId peer) override {
    member_->life_->loop().Run([peer](server::Replica& replica) {
      replica.ReportSnapshot(peer, consensus::SnapshotResult::kFailed);
    });
  }
  void Install(consensus::InstallRequest request) override {
    member_->life_->loop().Run(
        [meta = request.meta](server::Replica& replica) { replica.SnapshotAbandoned(meta); });
  }
  void MembersChanged(server::Replica&) override {}
  void Removed() override {}

 private:
  Member* const member_;
  const PeerPost post_;
};

Member::Member(Kernel* kernel, const Options& options, Judge* judge, PeerPost post)
    : kernel_(kernel),
      options_(options),
      judge_(judge),
      peers_(std::make_unique<Peers>(this, std::move(post))),
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
  const HardState state{Term(1), MemberId(0), LogIndex(entries.size())};
  QR_RETURN_IF_ERROR(log->Append(entries, &state));
  return log->Sync();
}

absl::Status Member::Start() {
  QR_CHECK(!running());
  MemberLife::Inputs inputs;
  inputs.config = &options_.config;
  inputs.files = disk_.get();
  inputs.clock = &clock_;
  inputs.seed = kernel_->random().Next();
  inputs.applied = [this](const Entry& entry) { judge_->Applied(*this, entry); };
  inputs.disk_failed = [this](const absl::Status& status) { DiskFailed(status); };
  ++epoch_;
  inputs.number = epoch_;
  inputs.peers = peers_.get();
  disk_failed_ = false;
  scheduled_ = {};
  timer_at_ns_ = INT64_MAX;
  paused_until_ns_ = 0;
  absl::StatusOr<std::unique_ptr<MemberLife>> life = MemberLife::Open(inputs);
  kernel_->Note("start", place(), static_cast<uint64_t>(life.status().code()));
  if (!life.ok()) return life.status();
  life_ = *std::move(life);
  Wake();
  return absl::OkStatus();
}

void Member::Stop(Death death) {
  kernel_->Note("stop", place(), static_cast<uint64_t>(death));
  ++epoch_;
  power_loss_armed_ = false;
  // What the objects still write while they go reaches no disk any more.
  if (death == Death::kPowerLoss) disk_->Crash(kernel_->random());
  life_.reset();
  if (death == Death::kPowerLoss) disk_->HealSyncs();
}

void Member::StopInNextSync() {
  power_loss_armed_ = true;
  disk_->FailSyncs({.path_part = "", .skip = kernel_->random().Below(3)});
}

void Member::DiskFailed(const absl::Status& status) {
  kernel_->Note("disk failed", place(), static_cast<uint64_t>(status.code()));
  if (std::exchange(disk_failed_, true)) return;
  // The process ends itself; not from inside its own objects. With the power goes the cache.
  kernel_->After(0, [this, epoch = epoch_] {
    if (epoch == epoch_ && running()) Stop(power_loss_armed_ ? Death::kPowerLoss : Death::kKill);
  });
}

void Member::Pause(int64_t for_ns) {
  kernel_->Note("pause", place(), static_cast<uint64_t>(for_ns));
  paused_until_ns_ = std::max(paused_until_ns_, kernel_->now_ns() + for_ns);
}

void Member::WipeDisk() {
  QR_CHECK(!running());
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

void Member::Receive(consensus::Message message) {
  if (!running() || disk_failed_) return;
  std::vector<consensus::Message> messages;
  messages.push_back(std::move(message));
  life_->loop().Receive(std::move(messages));
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
    Schedule(&scheduled_.workers, kernel_->Draw(1'000, 10 * kTurnNsMax), &Member::PollWorkers);
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
  Wake();
}

void Member::PollBackend() {
  life_->backend_writer().Poll();
  Wake();
}

void Member::PollWorkers() {
  life_->workers().Poll();
  Wake();
}

}  // namespace quorate::sim
