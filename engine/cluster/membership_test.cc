// What configuration entries do to the members: etcd's rules, and that a change which does not fit
// is answered and changes nothing.

#include "engine/cluster/membership.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/allocator.h"
#include "proto/raftpb.pb.h"

namespace quorate::engine {
namespace {

using raftpb::ConfChange;

struct World {
  std::unique_ptr<Allocator> allocator = *CreateAllocator("malloc", {});
  Window window{{}, allocator.get()};
  Membership members{{.learners_max = 1}, &window};
  uint64_t index = 0;

  Error Change(raftpb::ConfChangeType type, uint64_t id, const MemberContext& context) {
    ConfChange change;
    change.set_type(type);
    change.set_node_id(id);
    change.set_context(MemberContextToJson(context));
    Entry entry;
    entry.index = LogIndex(++index);
    entry.term = Term(1);
    entry.type = EntryType::kConfChange;
    entry.data = Bytes::FromString(change.SerializeAsString());
    return members.ApplyConfChange(entry);
  }
  Error Add(uint64_t id, const std::string& url) {
    return Change(raftpb::ConfChangeAddNode, id, Context(id, url));
  }
  Error AddLearner(uint64_t id, const std::string& url) {
    return Change(raftpb::ConfChangeAddLearnerNode, id, Context(id, url));
  }
  Error Promote(uint64_t id) {
    MemberContext context = Context(id, "");
    context.promote = true;
    return Change(raftpb::ConfChangeAddNode, id, context);
  }
  Error Remove(uint64_t id) { return Change(raftpb::ConfChangeRemoveNode, id, {}); }
  Error Update(uint64_t id, const std::string& url) {
    return Change(raftpb::ConfChangeUpdateNode, id, Context(id, url));
  }

  static MemberContext Context(uint64_t id, const std::string& url) {
    MemberContext context;
    context.member.set_id(id);
    if (!url.empty()) context.member.add_peerurls(url);
    return context;
  }
  std::string Shown() const {
    std::string out;
    for (const etcdserverpb::Member& member : members.members()) {
      out += MemberToJson(member) + "\n";
    }
    return out;
  }
};

TEST_CASE("members are added, updated and removed, and a removed id never comes back") {
  World world;
  CHECK(world.Add(1, "http://a:1").ok());
  CHECK(world.Add(2, "http://b:1").ok());
  CHECK(world.Update(2, "http://c:1").ok());
  CHECK(world.Shown() ==
        "{\"id\":1,\"peerURLs\":[\"http://a:1\"]}\n{\"id\":2,\"peerURLs\":[\"http://c:1\"]}\n");
  CHECK(world.Remove(2).ok());
  CHECK(world.members.removed().contains(2));
  const std::string before = world.Shown();
  CHECK(world.Add(2, "http://d:1").message == errors::kMemberNotFound.message);
  CHECK(world.Remove(2).message == errors::kMemberNotFound.message);
  CHECK(world.Update(2, "http://d:1").message == errors::kMemberNotFound.message);
  CHECK(world.Shown() == before);
}

TEST_CASE("an id or a peer URL that is in use is refused") {
  World world;
  REQUIRE(world.Add(1, "http://a:1").ok());
  REQUIRE(world.Add(2, "http://b:1").ok());
  const std::string before = world.Shown();
  CHECK(world.Add(1, "http://z:1").message == errors::kMemberExist.message);
  CHECK(world.Add(3, "http://b:1").message == errors::kPeerURLExist.message);
  CHECK(world.Update(1, "http://b:1").message == errors::kPeerURLExist.message);
  CHECK(world.Update(3, "http://z:1").message == errors::kMemberNotFound.message);
  CHECK(world.Shown() == before);
  CHECK(world.Update(1, "http://a:1").ok());  // its own URL
}

TEST_CASE("learners: as many as allowed, promoted once") {
  World world;
  REQUIRE(world.Add(1, "http://a:1").ok());
  CHECK(world.AddLearner(2, "http://b:1").ok());
  CHECK(world.AddLearner(3, "http://c:1").message == errors::kTooManyLearners.message);
  CHECK(world.Promote(1).message == errors::kMemberNotLearner.message);
  CHECK(world.Promote(9).message == errors::kMemberNotFound.message);
  CHECK(world.members.members()[1].islearner());
  CHECK(world.Promote(2).ok());
  CHECK_FALSE(world.members.members()[1].islearner());
  CHECK(world.Promote(2).message == errors::kMemberNotLearner.message);
  CHECK(world.AddLearner(3, "http://c:1").ok());
}

TEST_CASE("a configuration entry that cannot be read is data loss and changes nothing") {
  World world;
  Entry entry;
  entry.index = LogIndex(1);
  entry.type = EntryType::kConfChange;
  entry.data = Bytes::Static("\xff\xff");
  CHECK(world.members.ApplyConfChange(entry).code == 15);
  CHECK(world.members.members().empty());
}

}  // namespace
}  // namespace quorate::engine
