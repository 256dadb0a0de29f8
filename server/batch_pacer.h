// BatchPacer: when a leader begins the next round of replication. A round costs every member a sync
// and several wake-ups, whether it carries one proposal or thirty. So while several are under way
// at once, rounds begin no closer together than the pace, and those that come meanwhile share the
// next one. Who writes alone never waits: nobody else is there to wait for. Nor do many: a batch of
// thirty is cheap enough, and a batch that holds all who were seen lately waits for nobody.
// The same idea as a network card that raises no interrupt per packet when packets are many.
// Pure; one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace quorate::server {

class BatchPacer {
 public:
  // 0: every batch goes at once.
  explicit BatchPacer(int64_t pace_ns) : pace_ns_(pace_ns) {}

  // `under_way`: proposals waiting here or ordered and not yet applied.
  void Saw(size_t under_way, int64_t now_ns) {
    if (now_ns - seen_since_ns_ >= kMemoryNs) {
      most_before_ = now_ns - seen_since_ns_ < 2 * kMemoryNs ? most_ : 0;
      most_ = 0;
      seen_since_ns_ = now_ns;
    }
    most_ = std::max(most_, under_way);
  }
  void Left(int64_t now_ns) { next_ns_ = now_ns + pace_ns_; }

  bool Due(size_t waiting, int64_t now_ns) const {
    return now_ns >= next_ns_ || waiting >= std::min(Most(), kEnough);
  }
  // More than one was under way lately: the next round is probably wanted at next_ns.
  bool Crowded() const { return pace_ns_ > 0 && Most() > 1; }
  int64_t next_ns() const { return next_ns_; }

 private:
  static constexpr size_t kEnough = 32;
  static constexpr int64_t kMemoryNs = 32'000'000;
  size_t Most() const { return std::max(most_, most_before_); }

  const int64_t pace_ns_;
  int64_t next_ns_ = INT64_MIN;
  int64_t seen_since_ns_ = 0;
  size_t most_ = 0;  // under way at once, since seen_since_ns_; and in the stretch before
  size_t most_before_ = 0;
};

}  // namespace quorate::server
