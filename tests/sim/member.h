// Member: one server of the simulation over all its lives: its disk, its clock, and the life that
// it leads now. Its loops are polled a little after they get work, by a delay that is drawn: that
// is how threads take turns here. A slow disk is a long delay before the log writer's turn.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fault_file_env.h"
#include "server/config.h"
#include "tests/sim/kernel.h"
#include "tests/sim/member_life.h"
#include "tests/sim/network.h"
#include "tests/sim/sim_call.h"
#include "tests/sim/sim_clock.h"

namespace quorate::sim {

class Member;

// How messages of a member reach another. `state` comes with a kSnapshot: the bytes beside it.
using PeerState = std::shared_ptr<const std::string>;
using PeerPost = std::function<void(Member& from, consensus::Message message, PeerState state)>;
// The same for what members ask one another over HTTP.
using HttpDone = std::function<void(absl::StatusOr<server::HttpAnswer>)>;
using HttpPost = std::function<void(Member& from, server::HttpCall call, HttpDone done)>;

// Who watches over the members. Called between steps; may not start or stop members.
class Judge {
 public:
  virtual ~Judge() = default;
  virtual void Applied(Member& member, const Entry& entry) = 0;
  virtual void AfterStep(Member& member) = 0;
  // The members that its engine knows are others than before.
  virtual void MembersChanged(Member& member) = 0;
  virtual void Removed(Member& member) = 0;
  // Its log has synced up to there, whether its raft knows or not.
  virtual void Synced(Member& member, LogIndex index) = 0;
  virtual void Stopping(Member& member) = 0;  // its life ends
};

class Member {
 public:
  struct Options {
    Place place = 0;
    server::ServerConfig config;
    consensus::Config raft;  // its limits
    log::LogIdentity identity;
    int64_t clock_gain_ppm = 0;
    int64_t worker_delay_ns_max = 0;
  };
  struct DiskSpeed {
    int64_t delay_ns_min = 20'000;
    int64_t delay_ns_max = 500'000;
  };

  Member(Kernel* kernel, const Options& options, Judge* judge, PeerPost post, HttpPost http);
  ~Member();

  // Makes the log of a first start, before it, as every member of a new cluster does.
  absl::Status Bootstrap(const std::vector<Entry>& entries);
  // Opens the data and begins a life. An error is one of the disk's; nothing lives then.
  absl::Status Start();
  enum class Death {
    kPowerLoss,  // what was not synced is lost, torn or kept
    kKill,       // the process alone: the system keeps what was written
  };
  void Stop(Death death);
  // The loss of power in the middle of a disk operation: the next sync does not come back.
  void StopInNextSync();
  void Pause(int64_t for_ns);  // as by SIGSTOP: nothing of it runs, its clock goes on
  // Damage that only a checksum can tell. The member must not start on it, but for one case that no
  // checksum tells: damage to the very last record looks like a write that a crash tore.
  enum class Damage { kBitRot, kMisdirectedWrite };
  void DamageDisk(Damage damage);
  // Its raft takes back what was durable behind `index`: a newer leader has other entries there.
  // Until the log has them, it may hold either after a crash.
  void TakesBack(LogIndex index) { promise_.last = std::min(promise_.last, index); }
  bool damaged() const { return damaged_ || disk_->counts().misdirected != 0; }
  // The disk forgets everything: a new machine under the old name.
  void WipeDisk();

  bool running() const { return life_ != nullptr; }
  bool paused() const { return paused_until_ns_ > kernel_->now_ns(); }
  // For what waits in the sockets of a paused process: until it is read. Its loops may run first.
  int64_t DrawReadDelayNs() const;
  // A number per life, so that late events of an earlier one are told apart.
  uint64_t epoch() const { return epoch_; }
  MemberLife& life() { return *life_; }
  FaultFileEnv& disk() { return *disk_; }
  SimClock& clock() { return clock_; }
  Place place() const { return options_.place; }
  const server::ServerConfig& config() const { return options_.config; }
  MemberId id() const { return options_.identity.member; }
  // Before its first start: who it is. For one that joins.
  void SetId(MemberId id) { options_.identity.member = id; }
  void SetDiskSpeed(const DiskSpeed& speed) { disk_speed_ = speed; }
  void SetWorkerDelay(int64_t ns_max) { options_.worker_delay_ns_max = ns_max; }

  // --- clients; the member must be running
  // False = no such method.
  bool Unary(std::string_view path, std::shared_ptr<SimCall> call, Bytes request);
  std::unique_ptr<transport::CallHandler> OpenStream(std::string_view path,
                                                     std::shared_ptr<SimCall> call);
  void Receive(consensus::Message message);  // ignored while it does not run
  // False = it cannot be taken. With `cut_at` bytes the connection ends.
  bool ReceiveSnapshot(const consensus::Message& message, std::string_view state, size_t cut_at);
  // How the sending of a snapshot in life `epoch` ended.
  void SnapshotSent(uint64_t epoch, MemberId peer, consensus::SnapshotResult result);
  void Wake();  // its loop got work

 private:
  void Schedule(bool* scheduled, int64_t delay_ns, void (Member::*poll)());
  void PollLoop();
  void PollLog();
  void PollBackend();
  void PollWorkers();
  void AfterPoll();
  void DiskFailed(const absl::Status& status);

  class Peers;
  class Http;

  Kernel* const kernel_;
  Options options_;
  Judge* const judge_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Http> http_;
  SimClock clock_;
  std::unique_ptr<FaultFileEnv> disk_;
  DiskSpeed disk_speed_;
  std::unique_ptr<MemberLife> life_;
  uint64_t epoch_ = 0;
  int64_t paused_until_ns_ = 0;
  bool disk_failed_ = false;
  bool power_loss_armed_ = false;
  bool damaged_ = false;
  // What the log writer has reported as durable: no later life may begin with less.
  struct Promise {
    LogIndex last;
    HardState state;
  };
  void KeepPromise();
  bool PromiseKept() const;
  Promise promise_;
  struct Scheduled {
    bool loop = false, log = false, backend = false, workers = false, timer = false;
  };
  Scheduled scheduled_;
  int64_t timer_at_ns_ = INT64_MAX;
};

}  // namespace quorate::sim
