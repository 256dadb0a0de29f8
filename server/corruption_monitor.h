// CorruptionMonitor: looks whether all members hold the same history, as etcd does: once before a
// restarted member serves (gate InitialCorruptCheck), now and then by the leader
// (--corrupt-check-time), and by the hashes that all members keep of their compactions (gate
// CompactHashCheck, --compact-hash-check-time). Members are asked by GET /members/hashkv on the
// peer port; who differs gets the CORRUPT alarm.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/corruption_rules.h"
#include "server/services/context.h"

namespace quorate::server {

// Before anything runs: compares what the disk holds with the members that can be asked.
// kDataLoss when the same history has another hash there.
absl::Status CheckHistoryAtStart(const ServerConfig& config, engine::Engine& engine);

class CorruptionMonitor {
 public:
  struct Options {
    int64_t periodic_interval_ns = 0;    // 0 = no such check
    int64_t compaction_interval_ns = 0;  // 0 = no such check
  };
  // `context` outlives the monitor.
  CorruptionMonitor(const Options& options, ServiceContext* context)
      : options_(options), context_(context) {}
  ~CorruptionMonitor() { Stop(); }

  void Start();
  void Stop();

 private:
  struct Members {
    std::vector<etcdserverpb::Member> others;
    ClusterId cluster;
    std::vector<engine::Engine::KeptHash> kept;  // the newest first
  };

  void Main();
  void CheckNow();
  void CheckCompactions();
  std::optional<Members> AskMembers();
  std::optional<HashAt> OwnHash();
  bool WaitLinearizable();
  void RaiseCorrupt(const Judgement& judgement);

  const Options options_;
  ServiceContext* const context_;
  int64_t newest_checked_ = 0;  // compaction that all members agreed on
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace quorate::server
