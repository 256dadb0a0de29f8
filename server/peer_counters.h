// PeerCounters: what /metrics tells of each other member beside the links' own figures: round
// trips, states sent and received, promotions. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/histogram.h"
#include "base/ids.h"
#include "server/metrics_text.h"

namespace quorate::server {

class PeerCounters {
 public:
  enum class Direction { kSend, kReceive };
  enum class Outcome { kSuccess, kFailure };

  void Add(MemberId peer);  // its samples are there from now on
  void Forget(MemberId peer);
  void RoundTrip(MemberId peer, int64_t took_ns);
  void TransferBegins(Direction direction, MemberId peer);
  void TransferEnds(Direction direction, MemberId peer, Outcome outcome, int64_t took_ns);
  // A received state takes the place of the own.
  enum class Applying { kYes, kNo };
  void SetApplying(Applying applying);
  // `reason` is empty when a learner became a voter.
  void Promotion(const std::string& reason);

  void Write(MetricsText* out) const;

 private:
  struct Transfers {
    uint64_t in_flight = 0, successes = 0, failures = 0;
    std::unique_ptr<ConcurrentHistogram> took = std::make_unique<ConcurrentHistogram>();
  };
  struct Peer {
    std::unique_ptr<ConcurrentHistogram> round_trips = std::make_unique<ConcurrentHistogram>();
    Transfers sent, received;
  };

  Transfers& Of(Direction direction, MemberId peer);
  void WriteTransfers(Direction direction, MetricsText* out) const;

  mutable std::mutex mutex_;
  std::map<MemberId, Peer> peers_;
  bool applying_ = false;
  uint64_t promotions_ = 0;
  std::map<std::string, uint64_t> refused_promotions_;
};

}  // namespace quorate::server
