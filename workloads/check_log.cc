#include "workloads/check_log.h"

#include <utility>

#include "base/text.h"

namespace quorate::workload {
namespace {

struct CheckText {
  std::string_view name;
  std::string_view meaning;
};

constexpr CheckText kTexts[] = {
    {"decode", "answers are the messages that their methods have"},
    {"revision", "revisions of writes are new, unique and above all answered before"},
    {"value", "pairs belong to their keys and are whole values that were written"},
    {"freshness", "reads show what was acknowledged before they were sent"},
    {"range", "ranges are in order, within bounds, and agree with count and limit"},
    {"txn", "guarded changes happened exactly when their guard held"},
    {"lease", "leases live as long as they were granted for"},
    {"watch-order", "events come once, in revision order, with no version left out"},
    {"watch-complete", "watches delivered every change of their keys"},
    {"final", "the state at the end is what was acknowledged"},
};
static_assert(std::size(kTexts) == kCheckCount);

}  // namespace

std::string_view CheckName(Check check) { return kTexts[static_cast<size_t>(check)].name; }
std::string_view CheckMeaning(Check check) { return kTexts[static_cast<size_t>(check)].meaning; }

void CheckLog::Failed(Check check, std::string what) {
  const uint64_t before =
      failed_[static_cast<size_t>(check)].fetch_add(1, std::memory_order_relaxed);
  violations_.fetch_add(1, std::memory_order_relaxed);
  if (before >= kTextsPerCheck) return;
  std::lock_guard lock(mutex_);
  texts_.push_back(StrCat(CheckName(check), ": ", what));
}

std::vector<std::string> CheckLog::FirstViolations() const {
  std::lock_guard lock(mutex_);
  return texts_;
}

}  // namespace quorate::workload
