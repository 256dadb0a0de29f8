#include "ctl/txn_language.h"

#include <catch2/catch.hpp>

namespace quorate::ctl {
namespace {

using etcdserverpb::Compare;

TEST_CASE("comparisons of every target and result") {
  auto value = ParseCompare(R"(value("k") = "v w")");
  REQUIRE(value.ok());
  CHECK(value->target() == Compare::VALUE);
  CHECK(value->result() == Compare::EQUAL);
  CHECK(value->key() == "k");
  CHECK(value->value() == "v w");

  auto mod = ParseCompare(R"(  mod("k")>"12"  )");
  REQUIRE(mod.ok());
  CHECK(mod->target() == Compare::MOD);
  CHECK(mod->result() == Compare::GREATER);
  CHECK(mod->mod_revision() == 12);

  CHECK(ParseCompare(R"(c("k") < "3")")->create_revision() == 3);
  CHECK(ParseCompare(R"(ver("k") != "0")")->result() == Compare::NOT_EQUAL);
  CHECK(ParseCompare(R"(lease("k") = "1f")")->lease() == 0x1f);
  CHECK(ParseCompare(R"(val("a\x00\"") = "\n")")->key() == std::string("a\0\"", 3));
}

TEST_CASE("comparisons that cannot be read") {
  for (const char* line :
       {"bad", "mod(k) = \"1\"", "mod(\"k\") = 1", "mod(\"k\") ~ \"1\"", "mod(\"k\") = \"x\"",
        "size(\"k\") = \"1\"", "mod(\"k\") = \"1\" more", "mod(\"k\"", "value(\"k\") = \"open"}) {
    INFO(line);
    const auto compare = ParseCompare(line);
    REQUIRE_FALSE(compare.ok());
    CHECK(compare.status().code() == absl::StatusCode::kFailedPrecondition);
  }
}

TEST_CASE("operations with their flags") {
  auto put = ParseOperation(R"(put k "a b" --prev-kv --lease=1a)");
  REQUIRE(put.ok());
  CHECK(put->request_put().key() == "k");
  CHECK(put->request_put().value() == "a b");
  CHECK(put->request_put().prev_kv());
  CHECK(put->request_put().lease() == 0x1a);

  auto get = ParseOperation("get 'a key' --prefix --limit=3");
  REQUIRE(get.ok());
  CHECK(get->request_range().key() == "a key");
  CHECK(get->request_range().range_end() == "a kez");
  CHECK(get->request_range().limit() == 3);

  auto sorted = ParseOperation("get a z --sort-by=MODIFY --order=DESCEND --min-mod-rev=7");
  REQUIRE(sorted.ok());
  CHECK(sorted->request_range().sort_target() == etcdserverpb::RangeRequest::MOD);
  CHECK(sorted->request_range().sort_order() == etcdserverpb::RangeRequest::DESCEND);
  CHECK(sorted->request_range().min_mod_revision() == 7);

  CHECK(ParseOperation("del a b")->request_delete_range().range_end() == "b");
  CHECK(ParseOperation("put k \"\"")->request_put().value().empty());
}

TEST_CASE("operations that cannot be read") {
  for (const char* line : {"inc k", "put k", "put k a b", "get", "get a b --prefix", "get a --nope",
                           "put k \"open", "put k v --lease=zz", "get k --limit=x"}) {
    INFO(line);
    CHECK_FALSE(ParseOperation(line).ok());
  }
}

}  // namespace
}  // namespace quorate::ctl
