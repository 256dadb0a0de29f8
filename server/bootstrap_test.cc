#include "server/bootstrap.h"

#include <catch2/catch.hpp>

namespace quorate::server {
namespace {

std::vector<MemberId> IdsOf(const std::vector<etcdserverpb::Member>& members) {
  std::vector<MemberId> ids;
  for (const auto& member : members) ids.push_back(MemberId(member.id()));
  return ids;
}

TEST_CASE("ids are those that a real etcd computes") {
  // As etcd's documentation shows them for its default member and for its local cluster of three.
  const auto one = ParseInitialCluster("default=http://localhost:2380", "etcd-cluster");
  REQUIRE(one.ok());
  CHECK(IdsOf(*one) == std::vector{MemberId(0x8e9e05c52164694d)});
  CHECK(ComputeClusterId(IdsOf(*one)) == ClusterId(0xcdf818194e3a8c32));

  const auto three = ParseInitialCluster(
      "infra1=http://127.0.0.1:12380,infra2=http://127.0.0.1:22380,infra3=http://127.0.0.1:32380",
      "etcd-cluster-1");
  REQUIRE(three.ok());
  CHECK(IdsOf(*three) == std::vector{MemberId(0x8211f1d0f64f3269), MemberId(0x91bc3c398fb3c146),
                                     MemberId(0xfd422379fda50e48)});
  CHECK((*three)[0].name() == "infra1");
  CHECK(ComputeClusterId(IdsOf(*three)) == ClusterId(0xef37ad9dc622a7c4));
}

TEST_CASE("a member of several URLs is written with its name repeated, in any order") {
  const auto a = ParseInitialCluster("a=http://h:2,b=http://x:1, a=http://h:1", "t");
  const auto b = ParseInitialCluster("a=http://h:1,a=http://h:2,b=http://x:1", "t");
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  CHECK(IdsOf(*a) == IdsOf(*b));
  CHECK(a->size() == 2);
}

TEST_CASE("a malformed initial cluster is refused with its place") {
  CHECK(ParseInitialCluster("a", "t").status().message() ==
        "--initial-cluster: \"a\" is not of the form name=url");
  CHECK(ParseInitialCluster("=http://h:1", "t").status().message() ==
        "--initial-cluster: \"=http://h:1\" is not of the form name=url");
  CHECK(ParseInitialCluster("a=http://h:1,b=http://h:1", "t").status().message() ==
        "initial cluster a=http://h:1,b=http://h:1 has duplicate url http://h:1");
}

TEST_CASE("peer URLs are equal as texts or by the addresses that they name") {
  CHECK(*PeerUrlsEqual({"http://a:1", "http://b:1"}, {"http://b:1", "http://a:1"}, 0));
  CHECK_FALSE(*PeerUrlsEqual({"http://a:1"}, {"http://a:1", "http://b:1"}, 0));
  CHECK_FALSE(*PeerUrlsEqual({"http://127.0.0.1:1"}, {"http://127.0.0.1:2"}, 0));
  CHECK_FALSE(*PeerUrlsEqual({"http://localhost:1"}, {"http://127.0.0.1:1"}, 0));
  CHECK_FALSE(PeerUrlsEqual({"http://name.invalid:1"}, {"http://127.0.0.1:1"}, 0).ok());
}

TEST_CASE("the answer of GET /members is read whole or not at all") {
  const auto members = ParseMembersJson(
      R"([{"id":18446744073709551615,"peerURLs":["http://a:1"],"isLearner":true,"name":"n"}])");
  REQUIRE(members.ok());
  CHECK((*members)[0].id() == UINT64_MAX);
  CHECK((*members)[0].islearner());
  CHECK_FALSE(ParseMembersJson("{}").ok());
  CHECK_FALSE(ParseMembersJson(R"([{"id":"1"}])").ok());
  CHECK_FALSE(ParseMembersJson("404 page not found").ok());
}

}  // namespace
}  // namespace quorate::server
