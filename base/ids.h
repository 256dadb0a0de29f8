// Distinct types for numbers that must not be mixed up: a term is not an index, a lease id is not
// a member id. Each wraps one integer, costs nothing, orders, hashes and prints by `value()`.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace quorate {

template <class Tag, class Rep>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const StrongId&) const = default;
  constexpr StrongId& operator++() {
    ++value_;
    return *this;
  }
  constexpr StrongId Next() const { return StrongId(value_ + 1); }
  constexpr StrongId Prev() const { return StrongId(value_ - 1); }
  template <class H>
  friend H AbslHashValue(H h, StrongId id) {
    return H::combine(std::move(h), id.value_);
  }

 private:
  Rep value_ = 0;
};

using Term = StrongId<struct TermTag, uint64_t>;          // raft term; 0 = none yet
using LogIndex = StrongId<struct LogIndexTag, uint64_t>;  // raft log index; first entry is 1
using MemberId = StrongId<struct MemberIdTag, uint64_t>;  // 0 = nobody
using ClusterId = StrongId<struct ClusterIdTag, uint64_t>;
using RequestId = StrongId<struct RequestIdTag, uint64_t>;  // etcd's InternalRaftRequest.header.ID
using LeaseId = StrongId<struct LeaseIdTag, int64_t>;       // 0 = no lease; negative is allowed

}  // namespace quorate

template <class Tag, class Rep>
struct std::hash<quorate::StrongId<Tag, Rep>> {
  size_t operator()(quorate::StrongId<Tag, Rep> id) const noexcept {
    return std::hash<Rep>()(id.value());
  }
};
