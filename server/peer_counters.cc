#include "server/peer_counters.h"

#include <array>

#include "base/text.h"

namespace quorate::server {
namespace {

using Type = MetricsText::Type;

constexpr double kSecond = 1e9;

// etcd's buckets: doubled from the first.
constexpr auto kRoundTripBounds = Doubling<16>(0.0001);
constexpr auto kTransferBounds = Doubling<10>(0.1);

}  // namespace

void PeerCounters::Add(MemberId peer) {
  std::lock_guard lock(mutex_);
  peers_.try_emplace(peer);
}

void PeerCounters::Forget(MemberId peer) {
  std::lock_guard lock(mutex_);
  peers_.erase(peer);
}

void PeerCounters::RoundTrip(MemberId peer, int64_t took_ns) {
  std::lock_guard lock(mutex_);
  peers_[peer].round_trips->Add(took_ns);
}

PeerCounters::Transfers& PeerCounters::Of(Direction direction, MemberId peer) {
  return direction == Direction::kSend ? peers_[peer].sent : peers_[peer].received;
}

void PeerCounters::TransferBegins(Direction direction, MemberId peer) {
  std::lock_guard lock(mutex_);
  ++Of(direction, peer).in_flight;
}

void PeerCounters::TransferEnds(Direction direction, MemberId peer, Outcome outcome,
                                int64_t took_ns) {
  std::lock_guard lock(mutex_);
  Transfers& transfers = Of(direction, peer);
  if (transfers.in_flight != 0) --transfers.in_flight;  // else forgotten and added meanwhile
  ++(outcome == Outcome::kSuccess ? transfers.successes : transfers.failures);
  if (outcome == Outcome::kSuccess) transfers.took->Add(took_ns);
}

void PeerCounters::SetApplying(Applying applying) {
  std::lock_guard lock(mutex_);
  applying_ = applying == Applying::kYes;
}

void PeerCounters::Promotion(const std::string& reason) {
  std::lock_guard lock(mutex_);
  ++(reason.empty() ? promotions_ : refused_promotions_[reason]);
}

void PeerCounters::WriteTransfers(Direction direction, MetricsText* out) const {
  const bool sends = direction == Direction::kSend;
  const std::string prefix = StrCat("etcd_network_snapshot_", sends ? "send" : "receive");
  const char* const label = sends ? "To" : "From";
  const auto each = [&](const char* suffix, Type type, const char* help, auto value) {
    out->Family(prefix + suffix, type, help);
    for (const auto& [id, peer] : peers_) {
      out->Sample({{label, HexText(id.value())}},
                  static_cast<double>(value(sends ? peer.sent : peer.received)));
    }
  };
  each("_inflights_total", Type::kGauge, "States of this member under way.",
       [](const Transfers& of) { return of.in_flight; });
  each("_success", Type::kCounter, "States that arrived.",
       [](const Transfers& of) { return of.successes; });
  each("_failures", Type::kCounter, "States that did not arrive.",
       [](const Transfers& of) { return of.failures; });
  out->Family(prefix + "_total_duration_seconds", Type::kHistogram, "Time a state took.");
  for (const auto& [id, peer] : peers_) {
    out->HistogramSample({{label, HexText(id.value())}},
                         (sends ? peer.sent : peer.received).took->Snapshot(), kTransferBounds,
                         kSecond);
  }
}

void PeerCounters::Write(MetricsText* out) const {
  std::lock_guard lock(mutex_);
  if (!peers_.empty()) {
    out->Family("etcd_network_peer_round_trip_time_seconds", Type::kHistogram,
                "Round trips of probes.");
    for (const auto& [id, peer] : peers_) {
      out->HistogramSample({{"To", HexText(id.value())}}, peer.round_trips->Snapshot(),
                           kRoundTripBounds, kSecond);
    }
    WriteTransfers(Direction::kSend, out);
    WriteTransfers(Direction::kReceive, out);
  }
  out->Gauge("etcd_server_snapshot_apply_in_progress_total",
             "1 while a received state takes the place of the own.", applying_ ? 1 : 0);
  out->Counter("etcd_server_learner_promote_successes", "Learners that became voters.",
               static_cast<double>(promotions_));
  if (refused_promotions_.empty()) return;
  out->Family("etcd_server_learner_promote_failures", Type::kCounter,
              "Learners that were not let vote.");
  for (const auto& [reason, count] : refused_promotions_) {
    out->Sample({{"Reason", reason}}, static_cast<double>(count));
  }
}

}  // namespace quorate::server
