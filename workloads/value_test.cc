#include "workloads/value.h"

#include <catch2/catch.hpp>
#include <string>

#include "base/random.h"
#include "base/test_seed.h"

namespace quorate::workload {
namespace {

std::string Make(const ValueHeader& header, size_t size) {
  std::string value(size, '\0');
  WriteValue(header, size, value.data());
  return value;
}

TEST_CASE("a value reads back what was written") {
  const uint32_t hash = KeyHash("/a/1");
  const ValueHeader header{
      .run = 7, .key_hash = hash, .writer = 3, .sequence = 9, .intended_ns = 123'456'789'012};
  for (const size_t size : {size_t{32}, size_t{33}, size_t{256}, size_t{300'000}}) {
    ValueHeader read;
    REQUIRE(ReadValue(Make(header, size), hash, &read) == ValueFault::kNone);
    CHECK(read.run == 7);
    CHECK(read.tag() == (uint64_t{3} << 32 | 9));
    CHECK(read.intended_ns == 123'456'789'012);
  }
}

TEST_CASE("any changed byte, cut or exchange of values is noticed") {
  Random random(TestSeed());
  const uint32_t hash = KeyHash("/a/1");
  const std::string value = Make({.run = 1, .key_hash = hash, .writer = 2, .sequence = 5}, 200);
  ValueHeader header;
  for (size_t i = 0; i < value.size(); ++i) {
    std::string damaged = value;
    damaged[i] = static_cast<char>(damaged[i] ^ static_cast<char>(random.Between(1, 255)));
    CAPTURE(i);
    REQUIRE(ReadValue(damaged, hash, &header) != ValueFault::kNone);
  }
  CHECK(ReadValue(value.substr(0, 199), hash, &header) == ValueFault::kSizeWrong);
  CHECK(ReadValue(value + "x", hash, &header) == ValueFault::kSizeWrong);
  CHECK(ReadValue(value.substr(0, 31), hash, &header) == ValueFault::kTooShort);
  CHECK(ReadValue("", hash, &header) == ValueFault::kTooShort);
  CHECK(ReadValue(value, KeyHash("/a/2"), &header) == ValueFault::kOtherKey);
  CHECK(ReadValue(std::string(64, 'x'), hash, &header) == ValueFault::kHeaderDamaged);
}

TEST_CASE("neighbouring keys have different hashes") {
  CHECK(KeyHash("/a/000001") != KeyHash("/a/000002"));
  CHECK(KeyHash("") != KeyHash(std::string(1, '\0')));
}

}  // namespace
}  // namespace quorate::workload
