// KeySpace: how key numbers become key texts and back. Key `n` of a space is
//   prefix [ "g" group "/" ] n
// with zero-padded decimal numbers, so that byte order is number order, and every interval of key
// numbers is one range of keys. Immutable after construction; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "workloads/workload.h"

namespace quorate::workload {

// Key numbers [low, high) of one space.
struct Interval {
  int64_t low = 0;
  int64_t high = 0;
  int64_t size() const { return high - low; }
  bool Contains(int64_t key) const { return key >= low && key < high; }
  bool operator==(const Interval&) const = default;
};

class KeySpace {
 public:
  // The fewest bytes a key of this space can have.
  static int64_t MinKeySize(const KeySpaceSpec& spec);
  static constexpr int64_t kMaxKeySize = 1024;

  // `spec.size` is 0 or at least MinKeySize.
  explicit KeySpace(const KeySpaceSpec& spec);

  const KeySpaceSpec& spec() const { return spec_; }
  int64_t count() const { return spec_.count; }
  size_t key_size() const { return key_size_; }
  int64_t group_size() const { return group_size_; }

  // Writes key_size() bytes.
  void WriteKey(int64_t number, char* out) const;
  std::string Key(int64_t number) const;
  // The number, or -1 when this is no key of the space.
  int64_t NumberOf(std::string_view key) const;

  // The interval that `scope` means around key `number`.
  Interval Around(int64_t number, Scope scope, int64_t slice) const;
  // Interval number `i` of a scope's row of intervals, wrapping around: watch `i` gets it.
  Interval Nth(int64_t i, Scope scope, int64_t slice) const;
  // [first, end) as etcd takes them; `end` is empty for a single key.
  void RangeOf(Interval interval, std::string* first, std::string* end) const;

 private:
  size_t GroupPartSize() const { return group_digits_ == 0 ? 0 : group_digits_ + 2; }

  KeySpaceSpec spec_;
  size_t digits_ = 1;
  size_t group_digits_ = 0;  // 0 = one group, not shown in the key
  size_t key_size_ = 0;
  int64_t group_size_ = 1;
};

// The end of the range of all keys that begin with `prefix` ("\0" when there is none above).
std::string PrefixEnd(std::string_view prefix);

}  // namespace quorate::workload
