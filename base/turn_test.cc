#include "base/turn.h"

#include <catch2/catch.hpp>
#include <functional>
#include <thread>

namespace quorate {
namespace {

struct Counting final : TurnListener {
  void OnTurnEnd() override {
    ++calls;
    if (then) then();
  }
  int calls = 0;
  std::function<void()> then;
};

TEST_CASE("outside a turn nobody is called later") {
  Counting listener;
  CHECK_FALSE(Turn::AtEnd(&listener));
  CHECK(listener.calls == 0);
}

TEST_CASE("who asks many times in a turn is called once, at its end") {
  Counting listener;
  {
    Turn turn;
    for (int i = 0; i < 10; ++i) CHECK(Turn::AtEnd(&listener));
    CHECK(listener.calls == 0);
  }
  CHECK(listener.calls == 1);
}

TEST_CASE("an inner turn ends with the outer one") {
  Counting listener;
  {
    Turn outer;
    {
      Turn inner;
      CHECK(Turn::AtEnd(&listener));
      inner.CallListeners();
    }
    CHECK(listener.calls == 0);
    outer.CallListeners();
    CHECK(listener.calls == 1);
  }
  CHECK(listener.calls == 1);
}

TEST_CASE("a listener may ask again, for itself and for others") {
  Counting first, second;
  first.then = [&] {
    if (first.calls == 1) {
      Turn::AtEnd(&first);
      Turn::AtEnd(&second);
    }
  };
  {
    Turn turn;
    Turn::AtEnd(&first);
  }
  CHECK(first.calls == 2);
  CHECK(second.calls == 1);
}

TEST_CASE("a turn is its thread's own") {
  Turn turn;
  Counting listener;
  bool in_turn = true;
  std::thread([&] { in_turn = Turn::AtEnd(&listener); }).join();
  CHECK_FALSE(in_turn);
}

}  // namespace
}  // namespace quorate
