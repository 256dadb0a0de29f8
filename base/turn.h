// Turn: a stretch of work of one thread, such as one round of a network loop, at whose end those
// who asked for it are called once. What many requests of a turn have in common (waking a thread,
// stepping the replica, one read index for all reads) is so done once for all of them.
// Each thread has at most one turn; a Turn inside a Turn adds nothing and ends with the outer one.
#pragma once

#include <algorithm>
#include <vector>

namespace quorate {

class TurnListener {
 public:
  virtual ~TurnListener() = default;
  // On the thread whose turn ends. May lead to more listeners, which are called as well.
  virtual void OnTurnEnd() = 0;
};

class Turn {
 public:
  Turn() : outermost_(Current() == nullptr) {
    if (outermost_) Current() = this;
  }
  ~Turn() {
    if (!outermost_) return;
    CallListeners();
    Current() = nullptr;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // Calls who asked so far, before the turn ends; nothing in an inner turn.
  void CallListeners() {
    if (!outermost_) return;
    for (size_t i = 0; i < listeners_.size(); ++i) {
      TurnListener* const listener = listeners_[i];
      listeners_[i] = nullptr;  // it may ask again
      listener->OnTurnEnd();
    }
    listeners_.clear();
  }

  // True when this thread is in a turn: `listener` is called once when it ends. It must live until
  // then. False: there is no turn, and the caller acts at once.
  static bool AtEnd(TurnListener* listener) {
    Turn* const turn = Current();
    if (turn == nullptr) return false;
    auto& listeners = turn->listeners_;
    if (std::find(listeners.begin(), listeners.end(), listener) == listeners.end()) {
      listeners.push_back(listener);
    }
    return true;
  }

 private:
  static Turn*& Current() {
    thread_local Turn* current = nullptr;
    return current;
  }

  const bool outermost_;
  std::vector<TurnListener*> listeners_;
};

}  // namespace quorate
