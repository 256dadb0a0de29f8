#include "base/bytes.h"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace quorate {
namespace {

TEST_CASE("Bytes keeps its content whatever it was made from") {
  const std::string long_text(1000, 'x');
  for (const std::string& text : {std::string(), std::string("short"), long_text}) {
    REQUIRE(Bytes::Copy(text).view() == text);
    REQUIRE(Bytes::FromString(text).view() == text);
    char* data;
    const Bytes filled = Bytes::Allocate(text.size(), &data);
    std::memcpy(data, text.data(), text.size());
    REQUIRE(filled.view() == text);
  }
  REQUIRE(Bytes::Static("literal").view() == "literal");
  REQUIRE(Bytes().empty());
}

TEST_CASE("Bytes takes over a long string without copying it") {
  std::string text(1000, 'x');
  const char* where = text.data();
  const Bytes bytes = Bytes::FromString(std::move(text));
  REQUIRE(bytes.data() == where);
}

TEST_CASE("A slice keeps the memory of the whole alive") {
  Bytes slice;
  {
    const Bytes whole = Bytes::Copy("abcdefghij");
    slice = whole.Slice(3, 4);
    REQUIRE(slice.data() == whole.data() + 3);
  }
  REQUIRE(slice.view() == "defg");
  REQUIRE(slice.Slice(4, 0).empty());
}

TEST_CASE("A pinned owner lives as long as the last Bytes that refers to it") {
  auto owner = std::make_shared<std::string>("owned text");
  const std::weak_ptr<std::string> watch = owner;
  const std::string_view view = *owner;
  {
    Bytes first = Bytes::Pinned(view, std::move(owner));
    Bytes second = first.Slice(0, 5);
    first = Bytes();
    REQUIRE(second.view() == "owned");
    REQUIRE_FALSE(watch.expired());
  }
  REQUIRE(watch.expired());
}

TEST_CASE("Bytes may be copied and dropped by many threads at once") {
  const Bytes shared = Bytes::FromString(std::string(100, 'y'));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        Bytes copy = shared;
        const Bytes slice = std::move(copy).Slice(10, 20);
        if (slice.size() != 20) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  REQUIRE(wrong == 0);
  REQUIRE(shared.view() == std::string(100, 'y'));
}

}  // namespace
}  // namespace quorate
