#include "tests/sim/plan.h"

#include <algorithm>
#include <iterator>

#include "base/text.h"

namespace quorate::sim {
namespace {

constexpr int64_t kMilli = kNanosPerMilli;

template <class T, size_t N>
T OneOf(Random* random, const T (&values)[N]) {
  return values[random->Below(N)];
}

// Most runs know some kinds of trouble and not others: all at once hides what one of them does.
uint32_t Rate(Random* random, uint32_t usual) {
  return random->OneIn(2) ? 0 : usual * static_cast<uint32_t>(1 + random->Below(3));
}

NetworkRates DrawNetwork(Random* random) {
  NetworkRates rates;
  rates.delay_ns_min = random->Between(20'000, 200'000);
  rates.delay_ns_max = rates.delay_ns_min + random->Between(0, 20 * kMilli);
  rates.lost = OneOf<uint32_t>(random, {0, 0, 1'000, 20'000, 100'000});
  rates.repeated = OneOf<uint32_t>(random, {0, 1'000, 20'000});
  rates.slow = OneOf<uint32_t>(random, {0, 1'000, 30'000});
  rates.slow_ns_max = random->Between(10 * kMilli, 2'000 * kMilli);
  rates.client_lost = OneOf<uint32_t>(random, {0, 2'000, 20'000});
  return rates;
}

FaultRates DrawFaults(Random* random) {
  FaultRates faults;
  faults.power_loss = Rate(random, 4);
  faults.power_loss_in_sync = Rate(random, 4);
  faults.kill = Rate(random, 6);
  faults.pause = Rate(random, 6);
  faults.partition = Rate(random, 3);
  faults.slow_disk = Rate(random, 6);
  faults.sync_error = Rate(random, 8);
  faults.full_disk = Rate(random, 10);
  faults.bit_rot = Rate(random, 12);
  faults.clock_jump = Rate(random, 8);
  faults.transfer = Rate(random, 5);
  faults.reconfigure = Rate(random, 5);
  faults.defragment = Rate(random, 6);
  faults.restart = OneOf<uint32_t>(random, {2, 2, 8});
  return faults;
}

server::ServerConfig DrawConfig(Random* random) {
  server::ServerConfig config;
  config.backend = "memory";
  config.allocator = OneOf<const char*>(random, {"malloc", "arena"});
  config.allocator_options.arena_bytes = 1 << 20;
  config.batch_entries_max = OneOf<uint32_t>(random, {1, 3, 64, 1024});
  config.batch_bytes_max = OneOf<uint64_t>(random, {200, 4 << 10, 4 << 20});
  config.batch_linger_ns = OneOf<int64_t>(random, {0, 0, 200'000, 3 * kMilli});
  config.batch_pace_ns = config.batch_linger_ns == 0 ? 2 * kMilli : 0;
  config.log_sync = OneOf<const char*>(random, {"fdatasync", "fdatasync", "dsync"});
  config.log_segment_bytes = OneOf<uint64_t>(random, {1 << 10, 4 << 10, 32 << 10});
  config.window_bytes_max = OneOf<uint64_t>(random, {16 << 10, 256 << 10});
  config.backend_commit_interval_ns =
      OneOf<int64_t>(random, {10 * kMilli, 100 * kMilli, 1000 * kMilli});
  config.compaction_slice_ns = 500'000;
  config.compaction_steps = OneOf<uint32_t>(random, {1, 10, 1000});
  config.snapshot_count = OneOf<uint64_t>(random, {3, 10, 50, 500});
  config.catchup_entries = OneOf<uint64_t>(random, {0, 10, 100});
  config.tick_ns = 100 * kMilli;
  config.election_ticks = OneOf<uint32_t>(random, {5, 10, 10});
  config.pre_vote = !random->OneIn(4);
  config.initial_election_tick_advance = random->OneIn(2);
  // Whether peers are connected is known by links, which are not in the simulation.
  config.strict_reconfig_check = false;
  config.txn_ops_max = 128;
  config.request_bytes_max = 1'572'864;
  config.watch_progress_interval_ns = OneOf<int64_t>(random, {300 * kMilli, 600'000 * kMilli});
  config.initial_cluster_token = "simulated";
  return config;
}

// Small ones in most runs: a log that is kept in memory whole hides how arrears are made up for.
consensus::Config DrawRaftLimits(Random* random) {
  consensus::Config limits;
  limits.append_bytes_max = OneOf<uint64_t>(random, {100, 2 << 10, 1 << 20});
  limits.appends_in_flight_max = OneOf<uint32_t>(random, {1, 4, 512});
  limits.append_bytes_in_flight_max = OneOf<uint64_t>(random, {1 << 10, 64 << 20});
  limits.tail_bytes_max = OneOf<uint64_t>(random, {0, 1 << 10, 16 << 20});
  return limits;
}

std::string PeerUrl(Place place) { return StrCat("http://127.0.0.1:", 20'000 + place); }

}  // namespace

Plan DrawPlan(uint64_t seed, const PlanWishes& wishes, Random* random) {
  Plan plan;
  plan.seed = seed;
  plan.members = OneOf<uint32_t>(random, {1, 3, 3, 3, 3, 5});
  if (wishes.members != 0) plan.members = wishes.members;
  if (plan.members > 1) plan.spares = static_cast<uint32_t>(random->Between(0, 2));
  plan.clients = static_cast<uint32_t>(random->Between(2, 6));
  plan.readers = OneOf<uint32_t>(random, {0, 1, 2});
  plan.watchers = static_cast<uint32_t>(random->Between(1, 3));
  plan.lessees = static_cast<uint32_t>(random->Between(1, 2));
  plan.administrators = static_cast<uint32_t>(random->Between(0, 2));
  plan.think_ns_max = OneOf<int64_t>(random, {20 * kMilli, 100 * kMilli, 400 * kMilli});
  plan.safety_ns = random->Between(10, 40) * 1000 * kMilli;
  if (wishes.safety_ns != 0) plan.safety_ns = wishes.safety_ns;
  plan.round_ns_max = OneOf<int64_t>(random, {500 * kMilli, 2'000 * kMilli, 6'000 * kMilli});
  plan.network = DrawNetwork(random);
  plan.faults = DrawFaults(random);
  if (!wishes.with_faults) {
    plan.network = {};
    plan.faults = {};
  }
  const int64_t gain_max = OneOf<int64_t>(random, {0, 200, 50'000});
  for (uint32_t i = 0; i < plan.members + plan.spares; ++i) {
    plan.clock_gain_ppm.push_back(random->Between(-gain_max, gain_max));
  }
  plan.config = DrawConfig(random);
  plan.raft = DrawRaftLimits(random);
  plan.key_groups = static_cast<uint32_t>(random->Between(1, 4));
  plan.stream_weight = OneOf<uint64_t>(random, {1, 1, 4'000});
  plan.worker_delay_ns_max =
      OneOf<int64_t>(random, {kMilli / 3, kMilli / 3, 20 * kMilli, 600 * kMilli});
  return plan;
}

std::string Plan::ToText() const {
  return StrCat("members=", members, " spares=", spares, " clients=", clients, " readers=", readers,
                " watchers=", watchers, " lessees=", lessees, " administrators=", administrators,
                " safety=", safety_ns / kNanosPerSecond, "s allocator=", config.allocator,
                " batch=", config.batch_entries_max, "/", config.batch_bytes_max, "/",
                config.batch_linger_ns, "ns log=", config.log_sync, "/", config.log_segment_bytes,
                " window=", config.window_bytes_max, " snapshot=", config.snapshot_count, "/",
                config.catchup_entries, " tail=", raft.tail_bytes_max,
                " append=", raft.append_bytes_max, "/", raft.appends_in_flight_max,
                " election=", config.election_ticks, " prevote=", config.pre_vote ? 1 : 0,
                " lost=", network.lost, " repeated=", network.repeated, " slow=", network.slow,
                "ppm");
}

server::ServerConfig ConfigOf(const Plan& plan, Place place) {
  server::ServerConfig config = plan.config;
  config.name = StrCat("m", place);
  config.data_dir = StrCat("/", config.name);
  config.log_dir = config.data_dir + "/member/log";
  config.backend_dir = config.data_dir + "/member/backend";
  config.advertise_peer_urls = {PeerUrl(place)};
  return config;
}

log::LogIdentity IdentityOf(const Plan& plan, Place place) {
  const std::string& token = plan.config.initial_cluster_token;
  std::vector<MemberId> ids;
  for (Place i = 0; i < plan.members; ++i) {
    ids.push_back(server::ComputeMemberId({PeerUrl(i)}, token));
  }
  return {server::ComputeMemberId({PeerUrl(place)}, token), server::ComputeClusterId(ids)};
}

}  // namespace quorate::sim
