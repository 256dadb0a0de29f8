// PeerQueue: the messages that wait for one peer, bounded by number and bytes. Any thread pushes;
// the network thread pops. What keeps a cluster alive (heartbeats, votes, answers) overtakes
// proposals and appends and has a share of the room that those cannot take.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "transport/peer/peer_message.h"

namespace quorate::transport {

class PeerQueue {
 public:
  struct Limits {
    size_t messages_max;
    size_t bytes_max;
  };
  explicit PeerQueue(const Limits& limits) : limits_(limits) {}

  struct Pushed {
    size_t dropped = 0;
    bool wake = false;  // the network thread has to look: nobody has told it since its last Collect
  };
  // Any thread. Successive answers to appends in one call are merged to the last: it says it all.
  Pushed Push(std::vector<PeerMessage> messages);

  // --- network thread
  enum class Take : uint8_t { kAll, kAllButAppends, kAppendsOnly };
  // Makes what was pushed visible to the calls below.
  void Collect();
  bool Empty(Take take) const;
  // CHECKs that it is not empty. Gives the message's room back.
  PeerMessage Pop(Take take);
  // Drops everything that waits; how many messages that were.
  size_t Clear();
  size_t size() const { return messages_.load(std::memory_order_relaxed); }

 private:
  enum Rank : uint8_t { kUrgent, kProposals, kAppends, kRanks };
  struct Waiting {
    PeerMessage message;
    size_t bytes;
  };
  static Rank RankOf(const PeerMessage& message);
  bool HasRoom(Rank rank, size_t bytes) const;

  const Limits limits_;
  std::atomic<size_t> messages_{0};
  std::atomic<size_t> bytes_{0};
  std::mutex mutex_;
  std::vector<Waiting> pushed_;  // under mutex_
  std::vector<Waiting> collected_;
  std::array<std::deque<Waiting>, kRanks> ranks_;
};

}  // namespace quorate::transport
