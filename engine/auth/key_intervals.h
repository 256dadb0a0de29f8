// KeyIntervals: a set of keys made of intervals, for the question whether a requested interval lies
// in the union of granted ones (wire facts, semantics §7).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace quorate::engine {

// An interval is written as in requests: no end is the key alone, an end of one zero byte is
// everything from the key on.
class KeyIntervals {
 public:
  // An interval without keys adds nothing.
  void Add(std::string_view key, std::string_view range_end);
  // Whether every key of the interval is in the set. For an interval without keys its first one
  // counts, as etcd has it.
  bool Contains(std::string_view key, std::string_view range_end) const;

 private:
  using End = std::optional<std::string>;  // nullopt: none

  // Begin -> end, disjoint and not even adjacent.
  std::map<std::string, End, std::less<>> intervals_;
};

}  // namespace quorate::engine
