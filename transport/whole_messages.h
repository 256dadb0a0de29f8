// WholeMessages: turns the messages of an answer into whole runs of bytes, one after the other in
// their order, pulling those that come from a source. For what cannot send a message bit by bit: a
// call made inside the process, an answer that is translated to JSON.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "transport/rpc.h"

namespace quorate::transport {

// Any thread. Kept alive by whoever uses it and, while it pulls, by itself.
class WholeMessages final : public std::enable_shared_from_this<WholeMessages> {
 public:
  // Called in order, never two at a time, on the thread that made the next piece complete, which
  // may be inside Push or End; `ended` is the last.
  struct Events {
    std::function<void(Bytes)> message;
    std::function<void(RpcStatus)> ended;
  };

  explicit WholeMessages(Events events) : events_(std::move(events)) {}

  void Push(Message message);
  // A source that fails ends it earlier, with kInternal. What comes after the end is dropped.
  void End(RpcStatus status);
  // No event begins after this has returned, but one may still be under way on another thread.
  void Drop();

 private:
  struct Item {
    Message message;
    bool end = false;
    RpcStatus status;
  };
  enum class PullState { kStarted, kReturned, kArrived };

  void Put(Item item);
  // Emits what is first in line until nothing is left or a source has to answer. One thread at a
  // time: the one that set busy_.
  void Work();
  bool TakeNext();
  void Emit();
  // Pulls the source of item_ to its end; false when it will go on later, on another thread.
  bool PullOn();
  // False: nothing more is to be pulled.
  bool TakePulled(absl::StatusOr<Bytes> pulled);

  const Events events_;
  std::mutex mutex_;
  std::deque<Item> items_;
  bool busy_ = false;
  bool ended_ = false;
  bool dropped_ = false;

  // Of whoever set busy_.
  Item item_;
  std::string pulled_;
  std::atomic<PullState> pull_state_{PullState::kStarted};
  absl::StatusOr<Bytes> arrived_ = Bytes();
};

}  // namespace quorate::transport
