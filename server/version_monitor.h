// VersionMonitor: the leader's watch over the version of the cluster. Asks every member for its own
// (GET /version on the peer port) and proposes the lowest, as X.Y.0; never lower than it is. While
// a member cannot be asked and nothing was decided yet it is 3.0.0 (wire facts, semantics §8).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"

namespace quorate::server {

// "3.7.0" for the lowest of "3.7.1", "3.8.0"; nothing when one is missing (nullopt) or unreadable.
std::optional<std::string> LowestVersion(const std::vector<std::optional<std::string>>& versions);
// What to propose, if anything. A downgrade lowers the version by one minor step.
std::optional<std::string> DecideVersion(const std::string& present,
                                         const std::optional<std::string>& lowest,
                                         const engine::DowngradeInfo& downgrade);
// Whether all members run the minor version of `target`.
bool AllRun(const std::vector<std::optional<std::string>>& versions, const std::string& target);

// The cluster version that a downgrade may ask for: text like "3.6" or "3.6.2" as "3.6.0"; nothing
// when it is neither.
std::optional<std::string> ParseTargetVersion(const std::string& text);
// "3.6.0" of "3.7.0": the only target that is allowed.
std::string VersionBefore(const std::string& cluster_version);
// What the stored state may be read by: the cluster's version, at most this server's.
std::string StorageVersion(const std::string& cluster_version);

class VersionMonitor {
 public:
  // `context` outlives the monitor.
  explicit VersionMonitor(ServiceContext* context) : context_(context) {}
  ~VersionMonitor() { Stop(); }

  void Start();
  void Stop();
  // One look, on the calling thread, which may wait for the members. Does nothing where this member
  // does not lead.
  void Look();

 private:
  struct State {
    std::vector<etcdserverpb::Member> members;
    std::string version;
    engine::DowngradeInfo downgrade;
  };

  void Main();
  // As leader; nothing elsewhere.
  std::optional<State> AskState();
  // Ends a downgrade when all members run its target.
  void EndDowngrade();
  std::vector<std::optional<std::string>> AskAll(const std::vector<etcdserverpb::Member>& members);
  void Propose(etcdserverpb::InternalRaftRequest request);

  ServiceContext* const context_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace quorate::server
