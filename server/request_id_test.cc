#include "server/request_id.h"

#include <catch2/catch.hpp>
#include <string>

#include "proto/raft_internal.pb.h"
#include "proto/raftpb.pb.h"

namespace quorate::server {
namespace {

TEST_CASE("the id of a request is found wherever its header stands") {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_put()->set_key(std::string(300, 'k'));
  request.mutable_put()->set_lease(7);
  CHECK(RequestIdOf(EntryType::kNormal, request.SerializeAsString()) == RequestId(0));
  request.mutable_header()->set_username("root");
  request.mutable_header()->set_id(0xfedcba9876543210);
  const std::string bytes = request.SerializeAsString();
  CHECK(RequestIdOf(EntryType::kNormal, bytes) == RequestId(0xfedcba9876543210));

  etcdserverpb::InternalRaftRequest header_alone;
  *header_alone.mutable_header() = request.header();
  request.clear_header();
  CHECK(RequestIdOf(EntryType::kNormal,
                    header_alone.SerializeAsString() + request.SerializeAsString()) ==
        RequestId(0xfedcba9876543210));
}

TEST_CASE("the id of a configuration change is its own") {
  raftpb::ConfChange change;
  change.set_id(42);
  change.set_type(raftpb::ConfChangeAddNode);
  change.set_node_id(9);
  change.set_context("{}");
  CHECK(RequestIdOf(EntryType::kConfChange, change.SerializeAsString()) == RequestId(42));
  change.clear_id();
  CHECK(RequestIdOf(EntryType::kConfChange, change.SerializeAsString()) == RequestId(0));
}

TEST_CASE("bytes that are no request have no id") {
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header()->set_id(42);
  const std::string bytes = request.SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK(RequestIdOf(EntryType::kNormal, bytes.substr(0, size)) == RequestId(0));
  }
  CHECK(RequestIdOf(EntryType::kNormal, "") == RequestId(0));
  CHECK(RequestIdOf(EntryType::kNormal, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") ==
        RequestId(0));
}

}  // namespace
}  // namespace quorate::server
