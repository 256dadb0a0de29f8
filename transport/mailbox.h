// Mailbox: what other threads want done to the calls of one event loop, handed over a batch at a
// time. The push that finds it empty posts one drain to the loop; WakeScope merges the wake-ups.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "transport/event_loop.h"
#include "transport/rpc.h"

namespace quorate::transport {

class NativeCall;

struct Completion {
  enum class Kind : uint8_t { kSend, kFinish, kReply, kPulled, kPullFailed };
  Kind kind;
  std::shared_ptr<NativeCall> call;
  Message message;   // kSend, kReply; kPulled: its only piece
  RpcStatus status;  // kFinish, kPullFailed
};

class Mailbox {
 public:
  // `drain` is posted to the loop; it calls Take.
  Mailbox(EventLoop* loop, std::function<void()> drain) : loop_(loop), drain_(std::move(drain)) {}

  // Any thread. Dropped when closed: the calls are over by then.
  void Push(Completion completion) {
    std::lock_guard lock(mutex_);
    if (loop_ == nullptr) return;
    items_.push_back(std::move(completion));
    if (items_.size() == 1) loop_->Post(drain_);
  }

  // Any thread. Runs `work` on the loop; dropped when closed.
  void RunOnLoop(std::function<void()> work) {
    std::lock_guard lock(mutex_);
    if (loop_ != nullptr) loop_->Post(std::move(work));
  }

  // Loop thread. Replaces *batch by all items in order.
  void Take(std::vector<Completion>* batch) {
    batch->clear();
    std::lock_guard lock(mutex_);
    items_.swap(*batch);
  }

  // After the loop's last turn; later pushes go nowhere.
  void Close() {
    std::vector<Completion> dropped;
    std::lock_guard lock(mutex_);
    loop_ = nullptr;
    items_.swap(dropped);
  }

  // The mailbox whose loop runs on this thread.
  static const Mailbox*& OfThisThread() {
    thread_local const Mailbox* current = nullptr;
    return current;
  }

 private:
  std::mutex mutex_;
  EventLoop* loop_;
  const std::function<void()> drain_;
  std::vector<Completion> items_;
};

}  // namespace quorate::transport
