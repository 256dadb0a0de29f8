// Network: what lies between members, and between clients and members. Places are numbered: members
// first, then clients. Messages between members are packets, lost, delayed, repeated and overtaken;
// a client's connection keeps its order or breaks.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "tests/sim/kernel.h"

namespace quorate::sim {

using Place = uint32_t;

struct NetworkRates {  // per million
  uint32_t lost = 0;
  uint32_t repeated = 0;
  uint32_t slow = 0;         // a packet that takes up to slow_ns_max
  uint32_t client_lost = 0;  // a request or an answer, with its connection
  int64_t delay_ns_min = 50'000;
  int64_t delay_ns_max = 1'000'000;
  int64_t slow_ns_max = 300'000'000;
};

class Network {
 public:
  Network(Kernel* kernel, const NetworkRates& rates) : kernel_(kernel), rates_(rates) {}

  // One direction; both are open at first.
  void Cut(Place from, Place to) { cut_.emplace(from, to); }
  void Join(Place from, Place to) { cut_.erase({from, to}); }
  void JoinAll() { cut_.clear(); }
  bool IsOpen(Place from, Place to) const { return !cut_.contains({from, to}); }
  void SetRates(const NetworkRates& rates) { rates_ = rates; }
  const NetworkRates& rates() const { return rates_; }

  // `deliver` runs once, twice or never. What is cut meanwhile does not arrive.
  enum class Packet { kMayRepeat, kOnce };
  void SendPacket(Place from, Place to, Packet packet, const std::function<void()>& deliver);
  // One thing on a connection: `deliver` at the time it arrives, at or after *ordered_ns, which
  // moves on; or `broken`, at once.
  void SendOrdered(Place from, Place to, int64_t* ordered_ns, absl::AnyInvocable<void()> deliver,
                   absl::AnyInvocable<void()> broken);

  struct Counts {
    uint64_t sent = 0, lost = 0, repeated = 0, cut = 0;
  };
  const Counts& counts() const { return counts_; }

 private:
  int64_t DrawDelayNs();

  Kernel* const kernel_;
  NetworkRates rates_;
  std::set<std::pair<Place, Place>> cut_;
  Counts counts_;
};

}  // namespace quorate::sim
