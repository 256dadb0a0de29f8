// Kernel: virtual time. One thread runs events in order of their time; which of several at the same
// time comes first is drawn from the seed, so that every seed tries another order. Everything
// random in a simulation comes out of the kernel's one generator, and all that happens is folded
// into a digest: two runs of a seed that differ anywhere differ there.
#pragma once

#include <cstdint>
#include <queue>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "base/clock.h"
#include "base/random.h"

namespace quorate::sim {

class Kernel {
 public:
  explicit Kernel(uint64_t seed) : random_(seed) {}

  int64_t now_ns() const { return now_ns_; }  // true time
  Random& random() { return random_; }

  void After(int64_t delay_ns, absl::AnyInvocable<void()> work);
  // False = nothing left to do.
  bool RunOne();
  // Runs until no event is left at or before that time.
  void RunUntil(int64_t until_ns);

  // A number for each invocation and answer, none twice.
  uint64_t NextStep() { return ++steps_; }
  uint64_t events() const { return events_; }

  // Folds what happened into the digest.
  void Note(std::string_view what, uint64_t a = 0, uint64_t b = 0);
  uint64_t digest() const { return digest_; }
  // Prints from now on what is noted: true time in ns, what, two numbers.
  void Trace() { traced_ = true; }

  // Draws used all over.
  bool Chance(uint32_t per_million) { return random_.Below(1'000'000) < per_million; }
  int64_t Draw(int64_t low, int64_t high) { return random_.Between(low, high); }

 private:
  struct Event {
    int64_t at_ns;
    uint64_t tie;
    uint64_t number;
    // Moved out when it runs: the queue gives const access only.
    mutable absl::AnyInvocable<void()> work;
    bool operator<(const Event& other) const {  // the greatest comes first
      if (at_ns != other.at_ns) return at_ns > other.at_ns;
      if (tie != other.tie) return tie > other.tie;
      return number > other.number;
    }
  };

  Random random_;
  int64_t now_ns_ = kNanosPerSecond;
  uint64_t steps_ = 0;
  uint64_t events_ = 0;
  uint64_t digest_ = 0;
  bool traced_ = false;
  std::priority_queue<Event> queue_;
};

}  // namespace quorate::sim
