// Truth: the committed log of a run and what it means. The simulation hands over each entry once it
// is committed; every checker asks here what should have been.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/sim/check/store_model.h"

namespace quorate::sim {

class Truth {
 public:
  struct Committed {
    etcdserverpb::InternalRaftRequest request;  // header taken out; empty for entries of raft
    StoreModel::Answer answer;
    int64_t seen_ns = 0;  // true time at which it was first known to be committed
  };

  explicit Truth(int64_t ttl_min_seconds) : model_(ttl_min_seconds) {}

  // The entry after last_index(). `payload` is one InternalRaftRequest, or empty: an entry that
  // changes no state of the store. False when the bytes are no such message.
  bool Append(std::string_view payload, int64_t now_ns);

  uint64_t last_index() const { return entries_.size(); }
  const Committed& entry(uint64_t index) const { return entries_[index - 1]; }  // from 1 on
  const StoreModel& model() const { return model_; }

 private:
  std::vector<Committed> entries_;
  StoreModel model_;
};

}  // namespace quorate::sim
