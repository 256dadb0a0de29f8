// CheckLog: what was verified and what was found wrong. One wrong answer makes the run void; the
// first few are kept as text. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace quorate::workload {

enum class Check {
  kDecode,         // an answer is the message that the method has
  kRevision,       // revisions of writes: new, unique, above all that was answered before
  kValue,          // a pair read belongs to its key and is one that was written, whole
  kFreshness,      // a read shows what was acknowledged before it
  kRange,          // a range's order, bounds, count and limit
  kTxn,            // a guarded change happened exactly if its guard held
  kLease,          // a lease lives as long as it was granted for
  kWatchOrder,     // events come in revision order, once, within bounds, versions without gap
  kWatchComplete,  // a watch delivered every change of its keys
  kFinal,          // the state at the end is what was acknowledged
};
inline constexpr size_t kCheckCount = 10;
std::string_view CheckName(Check check);
std::string_view CheckMeaning(Check check);

class CheckLog {
 public:
  static constexpr uint64_t kTextsPerCheck = 5;

  void Passed(Check check, uint64_t times = 1) {
    passed_[static_cast<size_t>(check)].fetch_add(times, std::memory_order_relaxed);
  }
  void Failed(Check check, std::string what);

  // `text()` is called only on failure. Answers `good`.
  template <class F>
  bool Expect(Check check, bool good, F&& text) {
    if (__builtin_expect(good, 1)) {
      Passed(check);
    } else {
      Failed(check, text());
    }
    return good;
  }

  uint64_t passed(Check check) const {
    return passed_[static_cast<size_t>(check)].load(std::memory_order_relaxed);
  }
  uint64_t failed(Check check) const {
    return failed_[static_cast<size_t>(check)].load(std::memory_order_relaxed);
  }
  uint64_t violations() const { return violations_.load(std::memory_order_relaxed); }
  std::vector<std::string> FirstViolations() const;

 private:
  std::array<std::atomic<uint64_t>, kCheckCount> passed_{};
  std::array<std::atomic<uint64_t>, kCheckCount> failed_{};
  std::atomic<uint64_t> violations_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> texts_;
};

}  // namespace quorate::workload
