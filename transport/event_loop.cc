#include "transport/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/turn.h"

namespace quorate::transport {
namespace {

// Of a loop, by one who posted to it: what comes after that many turns is left to its own thread.
constexpr int kServedTurnsMax = 4;

// The part of a loop that other threads touch to wake it, or to take a turn of it. Shared, so that
// a WakeScope that ends after the loop is gone does no harm.
class Waker {
 public:
  // What others may run, while the loop runs.
  class Served {
   public:
    virtual ~Served() = default;
    virtual void RunOthersTurn() = 0;
    // Of the turn mutex's holder, when its state is kAsleep: nothing came meanwhile.
    virtual bool HasPosted() = 0;
    // The loop's own thread has to look at something else than what was posted.
    virtual bool WantsOwnThread() = 0;
  };

  Waker() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    QR_CHECK_MSG(fd_ >= 0, "eventfd: out of descriptors or memory");
  }
  ~Waker() { close(fd_); }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  int fd() const { return fd_; }

  // A loop that runs looks at its queue before it sleeps; only a sleeping one costs a system call,
  // and only the first who finds it asleep pays.
  void Wake() {
    State expected = State::kAsleep;
    if (!state_.compare_exchange_strong(expected, State::kWoken)) return;
    const uint64_t one = 1;
    const ssize_t written = write(fd_, &one, sizeof(one));
    QR_CHECK(written == sizeof(one) || errno == EAGAIN);
  }
  void FallAsleep() { state_.store(State::kAsleep); }
  void StayAwake() { state_.store(State::kAwake); }

  // Whoever runs a turn holds it, the loop's own thread whenever it does not sleep.
  void Lock() {
    turn_mutex_.lock();
    holder_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  void Unlock() {
    holder_.store(std::thread::id(), std::memory_order_relaxed);
    turn_mutex_.unlock();
  }
  // While locked. Null: turns are for the loop's thread alone, or over.
  void SetServed(Served* served) { served_ = served; }

  // Runs what was posted here and now, where the loop allows it and sleeps; else wakes it.
  void ServeOrWake() {
    // An awake loop looks at what was posted before it sleeps, whoever's turn it is.
    if (state_.load() == State::kAwake ||
        holder_.load(std::memory_order_relaxed) == std::this_thread::get_id() ||
        !turn_mutex_.try_lock()) {
      return Wake();
    }
    holder_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    bool served = served_ != nullptr;
    if (served) {
      bool more = true;
      for (int turn = 0; more && turn < kServedTurnsMax; ++turn) {
        StayAwake();
        served_->RunOthersTurn();
        FallAsleep();
        more = served_->HasPosted();
      }
      served = !more && !served_->WantsOwnThread();
    }
    Unlock();
    if (!served) Wake();
  }

 private:
  enum class State { kAwake, kAsleep, kWoken };
  const int fd_;
  std::atomic<State> state_{State::kAwake};
  std::mutex turn_mutex_;
  std::atomic<std::thread::id> holder_;
  Served* served_ = nullptr;  // under turn_mutex_
};

// Loops that one scope serves, at most: they may post to each other.
constexpr size_t kServedInScopeMax = 4;

thread_local int wake_scope_depth = 0;
thread_local bool wake_scope_serves = false;
thread_local std::vector<std::shared_ptr<Waker>> wake_scope_pending;

void WakeNowOrAtScopeEnd(const std::shared_ptr<Waker>& waker) {
  if (wake_scope_depth == 0) {
    waker->Wake();
    return;
  }
  if (std::find(wake_scope_pending.begin(), wake_scope_pending.end(), waker) ==
      wake_scope_pending.end()) {
    wake_scope_pending.push_back(waker);
  }
}

// Timers in a binary heap; a cancelled one stays in the heap as a dead entry until it comes up or
// the dead outnumber the living.
class TimerHeap {
 public:
  EventLoop::TimerId Add(int64_t when_ns, std::function<void()> work) {
    uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].work = std::move(work);
    const EventLoop::TimerId id = IdOf(slot);
    heap_.push_back({when_ns, next_order_++, id});
    std::push_heap(heap_.begin(), heap_.end(), Later);
    return id;
  }

  void Cancel(EventLoop::TimerId id) {
    if (!Alive(id)) return;
    Release(id);
    ++dead_;
    if (dead_ > heap_.size() / 2 && dead_ > 64) Rebuild();
  }

  // INT64_MAX when there is none.
  int64_t NextNs() {
    DropDead();
    return heap_.empty() ? INT64_MAX : heap_.front().when_ns;
  }

  // Runs what is due; timers added meanwhile wait for the next turn.
  void RunDue(int64_t now_ns) {
    const uint64_t limit = next_order_;
    while (NextNs() <= now_ns && heap_.front().order < limit) {
      const EventLoop::TimerId id = heap_.front().id;
      PopFront();
      std::function<void()> work = std::move(slots_[Slot(id)].work);
      Release(id);
      work();
    }
  }

 private:
  struct Entry {
    int64_t when_ns;
    uint64_t order;
    EventLoop::TimerId id;
  };
  struct TimerSlot {
    std::function<void()> work;
    uint32_t generation = 1;
  };

  static bool Later(const Entry& a, const Entry& b) {
    return a.when_ns != b.when_ns ? a.when_ns > b.when_ns : a.order > b.order;
  }
  static uint32_t Slot(EventLoop::TimerId id) { return static_cast<uint32_t>(id); }
  EventLoop::TimerId IdOf(uint32_t slot) const {
    return uint64_t{slots_[slot].generation} << 32 | slot;
  }
  bool Alive(EventLoop::TimerId id) const {
    return Slot(id) < slots_.size() && IdOf(Slot(id)) == id;
  }
  void Release(EventLoop::TimerId id) {
    TimerSlot& slot = slots_[Slot(id)];
    slot.work = nullptr;
    ++slot.generation;
    free_.push_back(Slot(id));
  }
  void PopFront() {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    heap_.pop_back();
  }
  void DropDead() {
    while (!heap_.empty() && !Alive(heap_.front().id)) {
      PopFront();
      --dead_;
    }
  }
  void Rebuild() {
    std::erase_if(heap_, [this](const Entry& entry) { return !Alive(entry.id); });
    std::make_heap(heap_.begin(), heap_.end(), Later);
    dead_ = 0;
  }

  std::vector<Entry> heap_;
  std::vector<TimerSlot> slots_;
  std::vector<uint32_t> free_;
  size_t dead_ = 0;
  uint64_t next_order_ = 0;
};

}  // namespace

struct EventLoop::Impl final : Waker::Served {
  struct Watched {
    int fd;
    bool gone = false;
    std::function<void(uint32_t)> on_ready;
  };

  Impl(const Clock* the_clock, Turns the_turns)
      : clock(the_clock), turns(the_turns), epoll_fd(epoll_create1(EPOLL_CLOEXEC)) {
    QR_CHECK(clock != nullptr);
    QR_CHECK_MSG(epoll_fd >= 0, "epoll_create1: out of descriptors or memory");
    epoll_event event{};
    // Edge-triggered: each write is one event and nobody has to read the counter back.
    event.events = EPOLLIN | EPOLLET;
    event.data.ptr = nullptr;
    QR_CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, waker->fd(), &event) == 0);
    now_ns = clock->MonotonicNs();
  }
  ~Impl() override { close(epoll_fd); }

  bool HasPosted() override {
    std::lock_guard lock(mutex);
    return !posted.empty();
  }

  void RunPosted() {
    {
      std::lock_guard lock(mutex);
      if (posted.empty()) return;
      running_posts.swap(posted);
    }
    for (auto& work : running_posts) work();
    running_posts.clear();
  }

  void RunEndOfTurn() {
    while (!end_of_turn.empty()) {
      running_end.swap(end_of_turn);
      for (auto& work : running_end) work();
      running_end.clear();
    }
  }

  int Wait(epoll_event* events, int capacity) {
    waker->FallAsleep();
    const int64_t next_ns = timers.NextNs();
    int64_t wait_ns = next_ns == INT64_MAX ? -1 : std::max<int64_t>(0, next_ns - now_ns);
    // Before the first turn there may be end-of-turn work already.
    if (stop.load() || !end_of_turn.empty() || HasPosted()) wait_ns = 0;
    sleeps_until_ns = next_ns;
    timespec timeout{};
    timeout.tv_sec = wait_ns / kNanosPerSecond;
    timeout.tv_nsec = wait_ns % kNanosPerSecond;
    waker->Unlock();
    const int ready =
        epoll_pwait2(epoll_fd, events, capacity, wait_ns < 0 ? nullptr : &timeout, nullptr);
    QR_CHECK(ready >= 0 || errno == EINTR);
    waker->Lock();
    waker->StayAwake();
    return std::max(ready, 0);
  }

  void RunOthersTurn() override {
    const quorate::Turn turn;
    now_ns = clock->MonotonicNs();
    RunPosted();
    RunEndOfTurn();
  }

  bool WantsOwnThread() override { return stop.load() || timers.NextNs() < sleeps_until_ns; }

  void Turn() {
    std::array<epoll_event, 256> events;
    const int ready = Wait(events.data(), static_cast<int>(events.size()));
    quorate::Turn turn;
    now_ns = clock->MonotonicNs();
    for (int i = 0; i < ready; ++i) {
      auto* watched = static_cast<Watched*>(events[i].data.ptr);
      if (watched != nullptr && !watched->gone) watched->on_ready(events[i].events);
    }
    RunPosted();
    timers.RunDue(now_ns);
    // What they answer leaves with this turn's writes.
    turn.CallListeners();
    RunPosted();
    RunEndOfTurn();
    // Not in others' turns: this thread may hold events that were taken before.
    graveyard.clear();
  }

  const Clock* const clock;
  const Turns turns;
  const std::shared_ptr<Waker> waker = std::make_shared<Waker>();
  const int epoll_fd;
  std::atomic<bool> stop{false};
  std::atomic<std::thread::id> thread;

  std::mutex mutex;
  std::vector<std::function<void()>> posted;  // under mutex

  // Loop thread only.
  int64_t now_ns = 0;
  int64_t sleeps_until_ns = 0;  // of the own thread; INT64_MAX = no timer wakes it
  std::vector<std::function<void()>> running_posts;
  std::vector<std::function<void()>> end_of_turn;
  std::vector<std::function<void()>> running_end;
  std::vector<std::unique_ptr<Watched>> watched_by_fd;
  // Unwatched in this turn: events of the same batch may still point here.
  std::vector<std::unique_ptr<Watched>> graveyard;
  TimerHeap timers;
};

EventLoop::EventLoop(const Clock* clock, Turns turns)
    : impl_(std::make_unique<Impl>(clock, turns)) {}
EventLoop::~EventLoop() = default;

void EventLoop::Run() {
  impl_->thread.store(std::this_thread::get_id());
  impl_->waker->Lock();
  if (impl_->turns == Turns::kServedByOthers) impl_->waker->SetServed(impl_.get());
  while (!impl_->stop.load()) impl_->Turn();
  impl_->waker->SetServed(nullptr);
  // Work posted before Stop still runs.
  impl_->RunPosted();
  impl_->RunEndOfTurn();
  impl_->graveyard.clear();
  impl_->stop.store(false);
  impl_->thread.store(std::thread::id());
  impl_->waker->Unlock();
}

void EventLoop::Stop() {
  impl_->stop.store(true);
  impl_->waker->Wake();
}

bool EventLoop::InLoopThread() const { return impl_->thread.load() == std::this_thread::get_id(); }

void EventLoop::Post(std::function<void()> work) {
  // Kept apart from impl_: once the work is in the queue, a Stop inside it may end the loop.
  const std::shared_ptr<Waker> waker = impl_->waker;
  {
    std::lock_guard lock(impl_->mutex);
    impl_->posted.push_back(std::move(work));
  }
  WakeNowOrAtScopeEnd(waker);
}

void EventLoop::Watch(int fd, uint32_t events, std::function<void(uint32_t events)> on_ready) {
  QR_CHECK(fd >= 0);
  auto& table = impl_->watched_by_fd;
  if (static_cast<size_t>(fd) >= table.size()) table.resize(static_cast<size_t>(fd) + 1);
  QR_CHECK(table[fd] == nullptr);
  table[fd] = std::make_unique<Impl::Watched>();
  table[fd]->fd = fd;
  table[fd]->on_ready = std::move(on_ready);
  epoll_event event{};
  event.events = events;
  event.data.ptr = table[fd].get();
  QR_CHECK(epoll_ctl(impl_->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void EventLoop::Change(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = impl_->watched_by_fd[fd].get();
  QR_CHECK(event.data.ptr != nullptr);
  QR_CHECK(epoll_ctl(impl_->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0);
}

void EventLoop::Unwatch(int fd) {
  auto& watched = impl_->watched_by_fd[fd];
  QR_CHECK(watched != nullptr);
  QR_CHECK(epoll_ctl(impl_->epoll_fd, EPOLL_CTL_DEL, fd, nullptr) == 0);
  watched->gone = true;
  impl_->graveyard.push_back(std::move(watched));
}

EventLoop::TimerId EventLoop::RunAt(int64_t when_ns, std::function<void()> work) {
  return impl_->timers.Add(when_ns, std::move(work));
}

void EventLoop::CancelTimer(TimerId id) { impl_->timers.Cancel(id); }

void EventLoop::AtEndOfTurn(std::function<void()> work) {
  impl_->end_of_turn.push_back(std::move(work));
}

int64_t EventLoop::NowNs() const { return impl_->now_ns; }

WakeScope::WakeScope() { ++wake_scope_depth; }

WakeScope::~WakeScope() {
  if (wake_scope_depth == 1) {
    // What is posted meanwhile joins the list.
    for (size_t i = 0; i < wake_scope_pending.size(); ++i) {
      const std::shared_ptr<Waker> waker = std::move(wake_scope_pending[i]);
      wake_scope_serves&& i < kServedInScopeMax ? waker->ServeOrWake() : waker->Wake();
    }
    wake_scope_pending.clear();
    wake_scope_serves = false;
  }
  --wake_scope_depth;
}

void WakeScope::ServeLoops() {
  if (wake_scope_depth == 1) wake_scope_serves = true;
}

}  // namespace quorate::transport
