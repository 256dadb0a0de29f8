#include "base/thread_turns.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <thread>

namespace quorate {
namespace {

TEST_CASE("wishes of one thread leave the others alone") {
  const int before = getpriority(PRIO_PROCESS, 0);
  int giving_way = before, short_turns = before;
  std::thread([&] {
    GiveWay();
    giving_way = getpriority(PRIO_PROCESS, 0);
  }).join();
  std::thread([&] {
    AskForShortTurns();
    short_turns = getpriority(PRIO_PROCESS, 0);
  }).join();
  CHECK((giving_way > before || before == 19));
  CHECK(short_turns == before);
  CHECK(getpriority(PRIO_PROCESS, 0) == before);
}

}  // namespace
}  // namespace quorate
