#include "transport/whole_messages.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace quorate::transport {
namespace {

constexpr uint64_t kPullBytesMax = 256 * 1024;

Bytes Joined(std::vector<Bytes> pieces) {
  if (pieces.size() == 1) return std::move(pieces.front());
  std::string whole;
  for (const Bytes& piece : pieces) whole.append(piece.view());
  return Bytes::FromString(std::move(whole));
}

}  // namespace

void WholeMessages::Push(Message message) { Put({std::move(message), false, {}}); }

void WholeMessages::End(RpcStatus status) { Put({Message(), true, std::move(status)}); }

void WholeMessages::Drop() {
  std::lock_guard lock(mutex_);
  dropped_ = true;
  items_.clear();
}

void WholeMessages::Put(Item item) {
  {
    std::lock_guard lock(mutex_);
    if (dropped_ || ended_) return;
    ended_ = item.end;
    items_.push_back(std::move(item));
    if (busy_) return;
    busy_ = true;
  }
  Work();
}

void WholeMessages::Work() {
  while (TakeNext()) {
    const bool pull = item_.message.source != nullptr && item_.message.source->size() > 0;
    if (pull && !PullOn()) return;
    Emit();
  }
}

bool WholeMessages::TakeNext() {
  std::lock_guard lock(mutex_);
  busy_ = !dropped_ && !items_.empty();
  if (!busy_) return false;
  item_ = std::move(items_.front());
  items_.pop_front();
  return true;
}

void WholeMessages::Emit() {
  Item item = std::exchange(item_, Item());
  {
    std::lock_guard lock(mutex_);
    if (dropped_) return;
  }
  if (item.end) {
    events_.ended(std::move(item.status));
  } else {
    events_.message(Joined(std::move(item.message.pieces)));
  }
}

// A loop, because a source may answer at once and a large one would fill the stack.
bool WholeMessages::PullOn() {
  for (;;) {
    const uint64_t left = item_.message.source->size() - pulled_.size();
    pull_state_.store(PullState::kStarted);
    item_.message.source->Pull(
        std::min(kPullBytesMax, left), [self = shared_from_this()](absl::StatusOr<Bytes> pulled) {
          self->arrived_ = std::move(pulled);
          if (self->pull_state_.exchange(PullState::kArrived) == PullState::kStarted) {
            return;  // still inside Pull: its caller goes on
          }
          if (self->TakePulled(std::move(self->arrived_)) && !self->PullOn()) return;
          self->Emit();
          self->Work();
        });
    if (pull_state_.exchange(PullState::kReturned) != PullState::kArrived) return false;
    if (!TakePulled(std::move(arrived_))) return true;
  }
}

bool WholeMessages::TakePulled(absl::StatusOr<Bytes> pulled) {
  if (!pulled.ok()) {
    item_ = {Message(), true, {RpcCode::kInternal, std::string(pulled.status().message())}};
    pulled_.clear();
    std::lock_guard lock(mutex_);
    ended_ = true;
    items_.clear();
    return false;
  }
  const uint64_t size = item_.message.source->size();
  QR_CHECK(!pulled->empty() && pulled->size() <= size - pulled_.size());
  pulled_.append(pulled->view());
  {
    std::lock_guard lock(mutex_);
    if (pulled_.size() < size && !dropped_) return true;
  }
  item_.message = Message(Bytes::FromString(std::exchange(pulled_, std::string())));
  return false;
}

}  // namespace quorate::transport
