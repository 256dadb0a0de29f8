// Who may call what, as a table; that it is asked is shown by tests/api/auth_test.py.
#include "server/services/gate.h"

#include <catch2/catch.hpp>
#include <string>

#include "proto/raft_internal.pb.h"

namespace quorate::server {
namespace {

TEST_CASE("gate: what is not known to be less is root's") {
  CHECK(AccessTo("/etcdserverpb.KV/Put") == Access::kAtState);
  CHECK(AccessTo("/etcdserverpb.KV/Compact") == Access::kRoot);
  CHECK(AccessTo("/etcdserverpb.KV/Puts") == Access::kRoot);
  CHECK(AccessTo("/etcdserverpb.Auth/Authenticate") == Access::kAtState);
  CHECK(AccessTo("/etcdserverpb.Lease/LeaseGrant") == Access::kSomebody);
  CHECK(AccessTo("/etcdserverpb.Maintenance/Status") == Access::kSomebody);
  for (const char* method : {"Defragment", "Hash", "HashKV", "Snapshot", "MoveLeader", "Downgrade",
                             "WhateverComesNext"}) {
    CHECK(AccessTo(std::string("/etcdserverpb.Maintenance/") + method) == Access::kRoot);
  }
  for (const char* method : {"MemberRemove", "MemberUpdate", "MemberPromote"}) {
    CHECK(AccessTo(std::string("/etcdserverpb.Cluster/") + method) == Access::kRoot);
  }
  CHECK(AccessTo("/grpc.health.v1.Health/Check") == Access::kOpen);
  CHECK(AccessTo("/some.Other/Method") == Access::kRoot);
}

TEST_CASE("gate: an entry says who asks") {
  etcdserverpb::InternalRaftRequest request;
  const Bytes nobody = WrapRequest(RaftField::kPut, "\x0a\x01k", {7, {}});
  REQUIRE(request.ParseFromArray(nobody.data(), static_cast<int>(nobody.size())));
  CHECK(request.header().id() == 7);
  CHECK(request.header().username().empty());
  CHECK(request.put().key() == "k");
  const std::string name(300, 'n');
  const Bytes somebody = WrapRequest(RaftField::kAuthRoleRevokePermission, "\x0a\x01r",
                                     {UINT64_MAX, {name, 1u << 20}});
  REQUIRE(request.ParseFromArray(somebody.data(), static_cast<int>(somebody.size())));
  CHECK(request.header().id() == UINT64_MAX);
  CHECK(request.header().username() == name);
  CHECK(request.header().auth_revision() == 1u << 20);
  CHECK(request.auth_role_revoke_permission().role() == "r");
}

}  // namespace
}  // namespace quorate::server
