#include "server/discovery.h"

#include <catch2/catch.hpp>

namespace quorate::server {
namespace {

TEST_CASE("keys of the registry are etcd's") {
  const DiscoveredMembers members("tok");
  REQUIRE(members.size_key() == "/_etcd/registry/tok/_config/size");
  REQUIRE(members.KeyOf(MemberId(0xab)) == "/_etcd/registry/tok/members/ab");
}

TEST_CASE("those who came first are the cluster") {
  DiscoveredMembers members("t");
  const auto key = [&](uint64_t id) { return members.KeyOf(MemberId(id)); };
  REQUIRE(members.Add(key(3), "c=http://c:1", 30));
  REQUIRE(members.HasPlaceFor(key(1), 2));
  REQUIRE(members.Add(key(1), " a=http://a:1,a=http://a:2\n", 10));
  REQUIRE_FALSE(members.Add(key(1), "a=http://a:3", 40));
  REQUIRE_FALSE(members.Add(key(4), "no member", 40));
  REQUIRE(members.InitialClusterText(2) == "a=http://a:1,a=http://a:2,c=http://c:1");
  REQUIRE_FALSE(members.HasPlaceFor(key(2), 2));
  // Who was there before keeps his place.
  REQUIRE(members.HasPlaceFor(key(3), 2));
  REQUIRE(members.Add(key(2), "b=http://b:1", 20));
  REQUIRE_FALSE(members.HasPlaceFor(key(3), 2));
  REQUIRE(members.InitialClusterText(2) == "a=http://a:1,a=http://a:2,b=http://b:1");
}

}  // namespace
}  // namespace quorate::server
