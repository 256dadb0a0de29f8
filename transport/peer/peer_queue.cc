#include "transport/peer/peer_queue.h"

#include <utility>

#include "base/check.h"

namespace quorate::transport {
namespace {

// Only these can be many and large.
constexpr size_t kBulkShareNumerator = 3;
constexpr size_t kBulkShareDenominator = 4;

bool SaysTheSame(const PeerMessage& earlier, const PeerMessage& later) {
  return earlier.type == raftpb::MsgAppResp && later.type == raftpb::MsgAppResp &&
         !earlier.reject && !later.reject && earlier.term == later.term &&
         later.index >= earlier.index;
}

}  // namespace

PeerQueue::Rank PeerQueue::RankOf(const PeerMessage& message) {
  if (message.type == raftpb::MsgApp) return kAppends;
  if (message.type == raftpb::MsgProp) return kProposals;
  return kUrgent;
}

bool PeerQueue::HasRoom(Rank rank, size_t bytes) const {
  const size_t waiting = messages_.load(std::memory_order_relaxed);
  if (waiting == 0) return true;
  const size_t numerator = rank == kUrgent ? kBulkShareDenominator : kBulkShareNumerator;
  return waiting < limits_.messages_max * numerator / kBulkShareDenominator &&
         bytes_.load(std::memory_order_relaxed) + bytes <=
             limits_.bytes_max * numerator / kBulkShareDenominator;
}

PeerQueue::Pushed PeerQueue::Push(std::vector<PeerMessage> messages) {
  Pushed pushed;
  std::lock_guard lock(mutex_);
  const bool was_empty = pushed_.empty();
  for (size_t i = 0; i < messages.size(); ++i) {
    PeerMessage& message = messages[i];
    if (i + 1 < messages.size() && SaysTheSame(message, messages[i + 1])) continue;
    const size_t bytes = EncodedMessageBytes(message);
    if (!HasRoom(RankOf(message), bytes)) {
      ++pushed.dropped;
      continue;
    }
    messages_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    pushed_.push_back({std::move(message), bytes});
  }
  pushed.wake = was_empty && !pushed_.empty();
  return pushed;
}

void PeerQueue::Collect() {
  {
    std::lock_guard lock(mutex_);
    collected_.swap(pushed_);
  }
  for (Waiting& waiting : collected_) {
    ranks_[RankOf(waiting.message)].push_back(std::move(waiting));
  }
  collected_.clear();
}

bool PeerQueue::Empty(Take take) const {
  const bool others = ranks_[kUrgent].empty() && ranks_[kProposals].empty();
  switch (take) {
    case Take::kAll:
      return others && ranks_[kAppends].empty();
    case Take::kAllButAppends:
      return others;
    case Take::kAppendsOnly:
      return ranks_[kAppends].empty();
  }
  return true;
}

PeerMessage PeerQueue::Pop(Take take) {
  QR_CHECK(!Empty(take));
  size_t rank = take == Take::kAppendsOnly ? kAppends : kUrgent;
  while (ranks_[rank].empty()) ++rank;
  Waiting waiting = std::move(ranks_[rank].front());
  ranks_[rank].pop_front();
  messages_.fetch_sub(1, std::memory_order_relaxed);
  bytes_.fetch_sub(waiting.bytes, std::memory_order_relaxed);
  return std::move(waiting.message);
}

size_t PeerQueue::Clear() {
  Collect();
  size_t dropped = 0;
  while (!Empty(Take::kAll)) {
    Pop(Take::kAll);
    ++dropped;
  }
  return dropped;
}

}  // namespace quorate::transport
