#include "base/thread_turns.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace quorate {
namespace {

// struct sched_attr of sched_setattr(2), which the C library does not have; its first version.
struct SchedulingWish {
  uint32_t size = sizeof(SchedulingWish);
  uint32_t policy = 0;  // SCHED_OTHER
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // for SCHED_OTHER the length of a turn
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(SchedulingWish) == 48);

constexpr uint64_t kShortTurnNs = 100'000;
constexpr int kGivingWayNice = 5;

}  // namespace

void AskForShortTurns() {
  SchedulingWish wish;
  wish.nice = getpriority(PRIO_PROCESS, 0);
  wish.runtime_ns = kShortTurnNs;
  syscall(SYS_sched_setattr, 0, &wish, 0);
}

// On Linux a thread has a nice value of its own; 0 is the calling one.
void GiveWay() { setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + kGivingWayNice); }

}  // namespace quorate
