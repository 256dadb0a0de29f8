#include "proxy/key_namespace.h"

#include <catch2/catch.hpp>

namespace quorate::proxy {
namespace {

const std::string kNoEnd(1, '\0');

TEST_CASE("keys and ends go under the prefix") {
  const KeyNamespace space("app/");
  REQUIRE(space.Enter("k") == "app/k");
  REQUIRE(space.EnterEnd("") == "");
  REQUIRE(space.EnterEnd("m") == "app/m");
  REQUIRE(space.EnterEnd(kNoEnd) == "app0");
  REQUIRE(KeyNamespace("a\xff").EnterEnd(kNoEnd) == "b");
  REQUIRE(KeyNamespace("\xff\xff").EnterEnd(kNoEnd) == kNoEnd);
}

TEST_CASE("a transaction goes under the prefix with everything in it, and its answer comes back") {
  const KeyNamespace space("app/");
  etcdserverpb::TxnRequest request;
  request.add_compare()->set_key("c");
  request.add_success()->mutable_request_put()->set_key("p");
  auto* nested = request.add_failure()->mutable_request_txn();
  auto* range = nested->add_success()->mutable_request_delete_range();
  range->set_key("a");
  range->set_range_end(kNoEnd);
  space.Enter(&request);
  REQUIRE(request.compare(0).key() == "app/c");
  REQUIRE(request.compare(0).range_end().empty());
  REQUIRE(request.success(0).request_put().key() == "app/p");
  const auto& entered = request.failure(0).request_txn().success(0).request_delete_range();
  REQUIRE(entered.key() == "app/a");
  REQUIRE(entered.range_end() == "app0");

  etcdserverpb::TxnResponse response;
  auto* inner = response.add_responses()->mutable_response_txn();
  inner->add_responses()->mutable_response_delete_range()->add_prev_kvs()->set_key("app/a");
  response.add_responses()->mutable_response_range()->add_kvs()->set_key("app/k");
  space.Leave(&response);
  const auto& left = response.responses(0).response_txn().responses(0).response_delete_range();
  REQUIRE(left.prev_kvs(0).key() == "a");
  REQUIRE(response.responses(1).response_range().kvs(0).key() == "k");
}

TEST_CASE("a lease shows the keys of the namespace only") {
  etcdserverpb::LeaseTimeToLiveResponse response;
  for (const char* key : {"app/a", "other", "ap", "app/b"}) response.add_keys(key);
  KeyNamespace("app/").Leave(&response);
  REQUIRE(response.keys_size() == 2);
  REQUIRE(response.keys(0) == "a");
  REQUIRE(response.keys(1) == "b");
}

}  // namespace
}  // namespace quorate::proxy
