// Broadcast: one watch at the cluster and those of clients that share it (watch_ranges.h).
// Loop thread only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "proxy/watch_ranges.h"

namespace quorate::proxy {

class Broadcast final : public MemberWatchListener {
 public:
  Broadcast(WatchRanges* ranges, MemberWatches* stream, const Watch& first,
            WatchRanges::Position position);

  // Whether `watch` would miss nothing and would not wait for others to catch up.
  bool Suits(const Watch& watch) const;
  void Attach(Watch* watch);
  void Detach(Watch* watch);
  bool empty() const { return watches_.empty(); }
  MemberWatches* stream() const { return stream_; }

  void OnResponse(const etcdserverpb::WatchResponse& response) override;
  void OnRefused(const transport::RpcStatus& status) override;

 private:
  friend class WatchRanges;
  // Events as they are sent to all watches that want the same of them.
  class Encodings;

  void Deliver(const etcdserverpb::WatchResponse& response, Encodings* encodings, Watch* watch);
  void OnCancel(const etcdserverpb::WatchResponse& response);
  // Takes all watches out of it and itself out of the ranges.
  std::vector<Watch*> Dissolve();

  WatchRanges* const ranges_;
  MemberWatches* const stream_;
  const transport::MetadataList metadata_;  // with which the cluster is asked
  const WatchRanges::Key key_;
  int64_t next_revision_;
  bool at_the_end_;
  MemberWatches::Id id_ = 0;
  std::vector<Watch*> watches_;
};

}  // namespace quorate::proxy
