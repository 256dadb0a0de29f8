// Every message, field, enum value and method of etcd 3.7.1's API is in proto/ as the tables say,
// and proto/ has nothing that etcd has not.
#include <catch2/catch.hpp>
#include <cstdlib>

#include "proto/etcdserverpb.pb.h"
#include "tests/wire/descriptor_rows.h"

namespace quorate::wire {
namespace {

std::string Directory() { return QUORATE_WIRE_TABLES; }

void Compare(const Rows& table, const Rows& compiled, size_t rows_min) {
  REQUIRE(table.size() >= rows_min);  // a truncated table must not pass
  INFO("in etcd, but not so in proto/:\n" << Missing(table, compiled));
  INFO("in proto/, but not so in etcd:\n" << Missing(compiled, table));
  CHECK((table == compiled));  // not decomposed: the differences are said above
}

TEST_CASE("messages and fields are etcd's") {
  Compare(TableMessages(Directory()), CompiledMessages(), 383);
}

TEST_CASE("enum values are etcd's") { Compare(TableEnums(Directory()), CompiledEnums(), 67); }

TEST_CASE("services and methods are etcd's") {
  Compare(TableServices(Directory()), CompiledServices(), 52);
}

TEST_CASE("a missing and a changed row are seen") {
  const Rows table = {"a | 1", "b | 2", "c | 3"};
  CHECK(Missing(table, {"a | 1", "b | 3"}) == "b | 2\nc | 3\n");
  CHECK(Missing({"a | 1"}, table).empty());
}

// The tables give numbers; this pins the bytes they stand for, once.
TEST_CASE("a request has the bytes that etcd's clients send") {
  etcdserverpb::PutRequest put;
  put.set_key("k");
  put.set_value("v");
  put.set_lease(300);
  put.set_prev_kv(true);
  CHECK(put.SerializeAsString() == std::string("\x0a\x01k\x12\x01v\x18\xac\x02\x20\x01"));
}

}  // namespace
}  // namespace quorate::wire
