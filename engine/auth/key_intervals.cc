#include "engine/auth/key_intervals.h"

#include <algorithm>
#include <utility>

namespace quorate::engine {
namespace {

constexpr std::string_view kFromKey{"\0", 1};

}  // namespace

void KeyIntervals::Add(std::string_view key, std::string_view range_end) {
  std::string begin(key);
  End end;
  if (range_end.empty()) {
    end = begin + '\0';  // the next possible key
  } else if (range_end != kFromKey) {
    end.emplace(range_end);
  }
  if (begin.empty() || (end && *end <= begin)) return;
  const auto later = [](const End& a, const End& b) { return !a || !b ? End() : std::max(a, b); };

  auto next = intervals_.upper_bound(begin);
  if (next != intervals_.begin()) {
    const auto before = std::prev(next);
    if (!before->second || *before->second >= begin) {
      begin = before->first;
      end = later(end, before->second);
      intervals_.erase(before);
    }
  }
  while (next != intervals_.end() && (!end || next->first <= *end)) {
    end = later(end, next->second);
    next = intervals_.erase(next);
  }
  intervals_.emplace(std::move(begin), std::move(end));
}

bool KeyIntervals::Contains(std::string_view key, std::string_view range_end) const {
  const auto next = intervals_.upper_bound(key);
  if (next == intervals_.begin()) return false;
  const End& end = std::prev(next)->second;
  if (!end) return true;
  if (range_end == kFromKey) return false;
  return range_end <= key ? key < *end : range_end <= *end;
}

}  // namespace quorate::engine
