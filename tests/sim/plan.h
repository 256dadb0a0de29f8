// Plan: what one seed decides before a run: how many members, how they are configured, what goes
// wrong how often, and who asks for what.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "consensus/raft.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "tests/sim/member.h"
#include "tests/sim/network.h"

namespace quorate::sim {

// How often each kind of trouble begins: one in so many rounds of the nemesis; 0 = never.
struct FaultRates {
  uint32_t power_loss = 0;
  uint32_t power_loss_in_sync = 0;
  uint32_t kill = 0;
  uint32_t pause = 0;
  uint32_t partition = 0;  // all kinds
  uint32_t slow_disk = 0;
  uint32_t sync_error = 0;
  uint32_t full_disk = 0;
  uint32_t bit_rot = 0;
  uint32_t clock_jump = 0;
  uint32_t transfer = 0;
  uint32_t reconfigure = 0;
  uint32_t defragment = 0;
  uint32_t restart = 2;  // of one that is down; 0 is not allowed
};

struct Plan {
  uint64_t seed = 0;
  uint32_t members = 1;
  uint32_t spares = 0;  // machines that may join
  uint32_t clients = 3;
  uint32_t readers = 0;  // clients that only read
  uint32_t watchers = 2;
  uint32_t lessees = 1;
  uint32_t administrators = 1;
  int64_t think_ns_max = 0;  // between a client's operations
  int64_t safety_ns = 0;     // with faults
  int64_t round_ns_max = 0;  // between the nemesis' rounds
  NetworkRates network;
  FaultRates faults;
  std::vector<int64_t> clock_gain_ppm;  // per member
  server::ServerConfig config;          // without what differs between members
  consensus::Config raft;               // its limits
  uint32_t key_groups = 3;
  uint64_t stream_weight = 1;       // bytes counted per byte that waits on a stream
  int64_t worker_delay_ns_max = 0;  // until a worker takes up what it is given

  std::string ToText() const;
};

struct PlanWishes {
  uint32_t members = 0;   // 0 = drawn
  int64_t safety_ns = 0;  // 0 = drawn
  bool with_faults = true;
};

Plan DrawPlan(uint64_t seed, const PlanWishes& wishes, Random* random);

// The configuration of member `place` of a cluster as planned.
server::ServerConfig ConfigOf(const Plan& plan, Place place);
log::LogIdentity IdentityOf(const Plan& plan, Place place);

}  // namespace quorate::sim
