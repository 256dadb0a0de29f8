// World: one simulated cluster with its clients, from a plan to a verdict. First everything goes
// wrong that the plan allows (safety), then all is mended and the cluster has to come back within a
// bound of virtual time (liveness), then the judges speak.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "consensus/invariants.h"
#include "engine/invariants.h"
#include "tests/sim/auth_client.h"
#include "tests/sim/caller.h"
#include "tests/sim/check/history.h"
#include "tests/sim/check/truth.h"
#include "tests/sim/kernel.h"
#include "tests/sim/kv_client.h"
#include "tests/sim/lease_client.h"
#include "tests/sim/member.h"
#include "tests/sim/network.h"
#include "tests/sim/plan.h"
#include "tests/sim/watch_client.h"

namespace quorate::sim {

struct Report {
  Violations violations;
  uint64_t digest = 0;
  uint64_t last_draw = 0;
  int64_t virtual_ns = 0;
  std::map<std::string, uint64_t> seen;  // how often what happened
};

class World final : public Judge {
 public:
  explicit World(const Plan& plan, Kernel* kernel);
  ~World() override;

  Report Run();

  // --- Judge
  void Applied(Member& member, const Entry& entry) override;
  void AfterStep(Member& member) override;
  void Synced(Member& member, LogIndex index) override;
  void Stopping(Member& member) override;
  void MembersChanged(Member& member) override;
  void Removed(Member& member) override;

  // --- what the nemesis and the checks see
  Kernel& kernel() { return *kernel_; }
  Network& network() { return network_; }
  const Plan& plan() const { return plan_; }
  std::vector<std::unique_ptr<Member>>& members() { return members_; }
  void Saw(const std::string& what, uint64_t times = 1) { report_.seen[what] += times; }
  void Fail(std::string what) { report_.violations.push_back(std::move(what)); }
  // Starts the member after that time, if it does not run by then.
  void StartLater(Member* member, int64_t delay_ns);
  size_t running() const;
  Caller& caller() { return caller_; }
  // A place for calls that are nobody's of the history.
  Place operator_place() const { return plan_.members + plan_.spares; }
  // Whether it is a member as far as the member that has applied most knows.
  bool IsMember(const Member& member);
  // The same for whether it has no vote.
  bool IsLearner(const Member& member);
  bool IsSpare(Member* member) const { return spares_.contains(member); }
  // Found its own disk damaged and stays down.
  bool IsLost(Member* member) const { return lost_.contains(member); }

 private:
  // What was acted on in earlier lives and must never be taken back.
  struct Memory {
    uint64_t epoch = 0;
    Term term;
    LogIndex commit;
    LogIndex durable;
    consensus::Role role = consensus::Role::kFollower;
    engine::EngineInvariants engine;
    const engine::Engine* engine_seen = nullptr;
  };

  void Look(Member& member, Memory* memory);
  void Bootstrap();
  void Post(Member& from, consensus::Message message, PeerState state);
  struct Asking;
  void Ask(Member& from, server::HttpCall call, HttpDone done);
  void Asked(const std::shared_ptr<Asking>& asking);
  void PostSnapshot(Member& from, Member* to, consensus::Message message, PeerState state);
  Member* MostAdvanced();
  void StartAll();
  void RunSafety();
  void Heal();
  void KeepRunning();
  std::string DescribeMembers();
  void RunLiveness();
  bool Until(int64_t bound_ns, const std::function<bool()>& holds);
  bool WriteSomething(int64_t bound_ns);
  bool AllCaughtUp();
  void CheckAuthAtRest(Member& member, std::set<uint64_t>* revisions);
  void CheckAtRest();
  void JudgeHistory(int64_t quiet_since_ns);
  void CountHistory();
  void CountBranches();

  const Plan plan_;
  Kernel* const kernel_;
  Network network_;
  Caller caller_;
  Truth truth_;
  History history_;
  ClientWorld client_world_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<std::unique_ptr<KvClient>> clients_;
  std::vector<std::unique_ptr<WatchClient>> watchers_;
  std::vector<std::unique_ptr<LeaseClient>> lessees_;
  std::vector<std::unique_ptr<AuthClient>> administrators_;
  std::vector<Entry> entries_;  // committed, by index
  std::vector<Memory> memories_;
  consensus::RaftInvariants raft_;
  std::map<Term, Place> leaders_;
  std::map<MemberId, Place> place_of_;
  std::set<Member*> lost_;    // looked up only
  std::set<Member*> spares_;  // not joined yet; looked up only
  // By type of message: how many left a member, and how many of these refused something.
  struct Sent {
    uint64_t all = 0, rejects = 0;
  };
  std::array<Sent, 32> sent_{};
  Report report_;
};

}  // namespace quorate::sim
