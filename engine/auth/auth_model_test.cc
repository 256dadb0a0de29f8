// The auth rules of a whole engine beside a naive model: random users, roles and permissions, and
// requests of random callers at random auth revisions through the log; after each the same error,
// and nothing changed where there was one. The engine is opened anew now and then.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "base/test_seed.h"
#include "engine/auth/auth_store.h"
#include "engine/engine.h"

namespace quorate::engine {
namespace {

using etcdserverpb::InternalRaftRequest;

constexpr int kSteps = 6000;
const std::string kFromKey(1, '\0');

template <class T>
T Must(absl::StatusOr<T> made) {
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  return *std::move(made);
}

// Keys are one of nine letters; an interval is a set of them, and "behind the last" for those that
// go on for ever. What lies between two letters belongs to the lower one's part.
constexpr int kKeys = 9;
std::string KeyName(int i) { return std::string(1, static_cast<char>('a' + i)); }

// Each key is two points: itself, and all that is between it and the next.
std::set<int> PointsOf(const std::string& key, const std::string& end) {
  std::set<int> points;
  const int first = 2 * (key[0] - 'a');
  if (end.empty()) return {first};
  const int last = end == kFromKey ? 2 * kKeys : 2 * (end[0] - 'a');
  for (int i = first; i < last; ++i) points.insert(i);
  if (points.empty()) points.insert(first);  // without keys: its first one counts
  return points;
}

struct Model {
  struct User {
    std::set<std::string> roles;
    bool no_password = false;
  };
  struct Grant {
    std::string key, end;
    int type;
  };
  std::map<std::string, User> users;
  std::map<std::string, std::vector<Grant>> roles;
  bool enabled = false;
  uint64_t revision = 1;

  std::string Admin(const Identity& who) const {
    if (!enabled) return "";
    if (who.username.empty()) return "user name is empty";
    const auto user = users.find(who.username);
    if (user == users.end()) return "user name not found";
    return user->second.roles.contains("root") ? "" : "permission denied";
  }

  std::string Keys(const Identity& who, const std::string& key, const std::string& end,
                   bool write) const {
    if (!enabled) return "";
    if (who.auth_revision == 0) return "user name is empty";
    if (who.auth_revision < revision) return "revision of auth store is old";
    const auto user = users.find(who.username);
    if (user == users.end()) return "permission denied";
    if (user->second.roles.contains("root")) return "";
    std::set<int> allowed;
    for (const std::string& name : user->second.roles) {
      const auto role = roles.find(name);
      if (role == roles.end()) continue;
      for (const Grant& grant : role->second) {
        if (grant.type != 2 && grant.type != (write ? 1 : 0)) continue;
        const std::set<int> points = PointsOf(grant.key, grant.end);
        allowed.insert(points.begin(), points.end());
      }
    }
    const std::set<int> asked = PointsOf(key, end);
    const bool all = std::includes(allowed.begin(), allowed.end(), asked.begin(), asked.end());
    return all ? "" : "permission denied";
  }

  std::string Txn(const Identity& who, const etcdserverpb::TxnRequest& txn) const {
    std::string error;
    const auto also = [&](const std::string& next) { error = error.empty() ? next : error; };
    for (const auto& compare : txn.compare()) {
      also(Keys(who, compare.key(), compare.range_end(), false));
    }
    for (const auto* branch : {&txn.success(), &txn.failure()}) {
      for (const auto& op : *branch) {
        if (op.has_request_range()) {
          also(Keys(who, op.request_range().key(), op.request_range().range_end(), false));
        } else if (op.has_request_put()) {
          also(Keys(who, op.request_put().key(), "", true));
          if (op.request_put().prev_kv()) also(Keys(who, op.request_put().key(), "", false));
        } else if (op.has_request_txn()) {
          also(Txn(who, op.request_txn()));
        }
      }
    }
    return error;
  }

  // The error of an entry, after the prefix; "" and its effect when there is none.
  std::string Apply(const Identity& who, const InternalRaftRequest& request) {
    if (request.has_put()) {
      const auto& put = request.put();
      std::string error = Keys(who, put.key(), "", true);
      if (error.empty() && put.prev_kv()) error = Keys(who, put.key(), "", false);
      return error;
    }
    if (request.has_delete_range()) {
      const auto& wanted = request.delete_range();
      std::string error = Keys(who, wanted.key(), wanted.range_end(), true);
      if (error.empty() && wanted.prev_kv()) {
        error = Keys(who, wanted.key(), wanted.range_end(), false);
      }
      return error;
    }
    if (request.has_txn()) return Txn(who, request.txn());
    if (const std::string error = Admin(who); !error.empty()) return error;
    const std::string error = Change(request);
    const bool same = !error.empty() || request.has_auth_enable() || unchanged;
    if (!same) ++revision;
    unchanged = false;
    return error;
  }

  bool unchanged = false;  // nothing to do, and no error

  std::string Change(const InternalRaftRequest& request) {
    if (request.has_auth_enable()) {
      if (enabled) return "";
      if (!users.contains("root")) return "root user does not exist";
      if (!users["root"].roles.contains("root")) return "root user does not have root role";
      enabled = true;
    } else if (request.has_auth_disable()) {
      unchanged = !enabled;
      enabled = false;
    } else if (request.has_auth_user_add()) {
      if (users.contains(request.auth_user_add().name())) return "user name already exists";
      users[request.auth_user_add().name()].no_password =
          request.auth_user_add().options().no_password();
    } else if (request.has_auth_user_delete()) {
      const std::string& name = request.auth_user_delete().name();
      if (enabled && name == "root") return "invalid auth management";
      if (users.erase(name) == 0) return "user name not found";
    } else if (request.has_auth_user_grant_role()) {
      const auto& grant = request.auth_user_grant_role();
      if (!users.contains(grant.user())) return "user name not found";
      if (grant.role() != "root" && !roles.contains(grant.role())) return "role name not found";
      unchanged = !users[grant.user()].roles.insert(grant.role()).second;
    } else if (request.has_auth_user_revoke_role()) {
      const auto& revoke = request.auth_user_revoke_role();
      const bool protects = enabled && revoke.name() == "root" && revoke.role() == "root";
      if (protects) return "invalid auth management";
      if (!users.contains(revoke.name())) return "user name not found";
      if (users[revoke.name()].roles.erase(revoke.role()) == 0) {
        return "role is not granted to the user";
      }
    } else {
      return ChangeRole(request);
    }
    return "";
  }

  std::string ChangeRole(const InternalRaftRequest& request) {
    if (request.has_auth_role_add()) {
      if (!roles.try_emplace(request.auth_role_add().name()).second) {
        return "role name already exists";
      }
    } else if (request.has_auth_role_delete()) {
      const std::string& name = request.auth_role_delete().role();
      if (enabled && name == "root") return "invalid auth management";
      if (roles.erase(name) == 0) return "role name not found";
      for (auto& [user_name, user] : users) user.roles.erase(name);
    } else if (request.has_auth_role_grant_permission()) {
      const auto& perm = request.auth_role_grant_permission().perm();
      const bool from_key = perm.range_end() == kFromKey;
      const bool valid = perm.range_end().empty() || from_key || perm.key() < perm.range_end();
      if (!valid) return "invalid auth management";
      const auto role = roles.find(request.auth_role_grant_permission().name());
      if (role == roles.end()) return "role name not found";
      const auto first = std::find_if(role->second.begin(), role->second.end(),
                                      [&](const Grant& g) { return g.key == perm.key(); });
      if (first != role->second.end() && first->end == perm.range_end()) {
        first->type = perm.permtype();
      } else {
        role->second.push_back({perm.key(), perm.range_end(), perm.permtype()});
        std::stable_sort(role->second.begin(), role->second.end(),
                         [](const Grant& a, const Grant& b) { return a.key < b.key; });
      }
    } else {
      const auto& revoke = request.auth_role_revoke_permission();
      const auto role = roles.find(revoke.role());
      if (role == roles.end()) return "role name not found";
      const auto matches = [&](const Grant& grant) {
        return grant.key == revoke.key() && grant.end == revoke.range_end();
      };
      if (std::erase_if(role->second, matches) == 0) {
        return "permission is not granted to the role";
      }
    }
    return "";
  }
};

class Draws {
 public:
  explicit Draws(Random* random) : random_(random) {}

  std::string User() {
    static constexpr const char* kUsers[] = {"root", "ann", "ben", "eve"};
    return kUsers[random_->Below(4)];
  }
  std::string Role() {
    static constexpr const char* kRoles[] = {"root", "r", "s", "t"};
    return kRoles[random_->Below(4)];
  }
  std::string Key() { return KeyName(static_cast<int>(random_->Below(kKeys))); }
  std::string End() {
    const uint64_t roll = random_->Below(6);
    return roll < 2 ? "" : roll == 2 ? kFromKey : Key();
  }

  Identity Caller(uint64_t revision) {
    if (random_->OneIn(12)) return {};
    Identity who{User(), revision};
    if (random_->OneIn(8)) who.auth_revision = random_->Below(revision) + 1;
    return who;
  }

  InternalRaftRequest Request() {
    InternalRaftRequest request;
    switch (random_->Below(15)) {
      case 0:
        request.mutable_auth_enable();
        break;
      case 1:
        if (random_->OneIn(4))
          request.mutable_auth_disable();
        else
          request.mutable_auth_enable();
        break;
      case 2:
        request.mutable_auth_user_add()->set_name(User());
        request.mutable_auth_user_add()->mutable_options()->set_no_password(random_->OneIn(3));
        break;
      case 3:
        request.mutable_auth_user_delete()->set_name(User());
        break;
      case 4:
      case 5:
        request.mutable_auth_user_grant_role()->set_user(User());
        request.mutable_auth_user_grant_role()->set_role(Role());
        break;
      case 6:
        request.mutable_auth_user_revoke_role()->set_name(User());
        request.mutable_auth_user_revoke_role()->set_role(Role());
        break;
      default:
        if (random_->OneIn(3)) {
          Roles(&request);
        } else {
          Data(&request);
        }
    }
    return request;
  }

 private:
  void Roles(InternalRaftRequest* request) {
    const uint64_t roll = random_->Below(8);
    if (roll < 2) {
      request->mutable_auth_role_add()->set_name(Role());
    } else if (roll == 2) {
      request->mutable_auth_role_delete()->set_role(Role());
    } else if (roll < 7) {
      auto* grant = request->mutable_auth_role_grant_permission();
      grant->set_name(Role());
      grant->mutable_perm()->set_key(Key());
      grant->mutable_perm()->set_range_end(End());
      grant->mutable_perm()->set_permtype(static_cast<authpb::Permission::Type>(random_->Below(3)));
    } else {
      auto* revoke = request->mutable_auth_role_revoke_permission();
      revoke->set_role(Role());
      revoke->set_key(Key());
      revoke->set_range_end(End());
    }
  }

  void Data(InternalRaftRequest* request) {
    const uint64_t roll = random_->Below(3);
    if (roll == 0) {
      Put(request->mutable_put());
    } else if (roll == 1) {
      auto* wanted = request->mutable_delete_range();
      wanted->set_key(Key());
      wanted->set_range_end(End());
      wanted->set_prev_kv(random_->OneIn(3));
    } else {
      Txn(request->mutable_txn(), 0);
    }
  }

  void Put(etcdserverpb::PutRequest* put) {
    put->set_key(Key());
    put->set_value("v");
    put->set_prev_kv(random_->OneIn(3));
  }

  // One put at most in each branch, so that no two of one key meet.
  void Txn(etcdserverpb::TxnRequest* txn, int depth) {
    for (uint64_t i = random_->Below(2); i > 0; --i) {
      auto* compare = txn->add_compare();
      compare->set_key(Key());
      compare->set_range_end(End());
    }
    for (auto* branch : {txn->mutable_success(), txn->mutable_failure()}) {
      if (random_->OneIn(2)) {
        auto* range = branch->Add()->mutable_request_range();
        range->set_key(Key());
        range->set_range_end(End());
      }
      const uint64_t roll = random_->Below(4);
      if (roll == 0) Put(branch->Add()->mutable_request_put());
      if (roll == 1 && depth < 2) Txn(branch->Add()->mutable_request_txn(), depth + 1);
    }
  }

  Random* const random_;
};

class World {
 public:
  World() {
    kv::KvOptions options;
    options.dir = folder_.path();
    options.env = PosixFileEnv();
    options.allocator = allocator_.get();
    backend_ = Must(kv::OpenKvBackend("memory", options));
    Open();
  }

  void Open() {
    if (engine != nullptr) {
      for (const auto& chunk : engine->TakeSealed(Engine::Seal::kNow)) {
        REQUIRE(backend_->Write(chunk->ops()).ok());
        engine->Flushed(chunk->sequence());
      }
    }
    EngineOptions options;
    options.allocator = allocator_.get();
    engine = Must(Engine::Open(options, backend_.get(), [](uint64_t) {}));
  }

  Reply Apply(const Identity& who, InternalRaftRequest request) {
    request.mutable_header()->set_id(7);
    request.mutable_header()->set_username(who.username);
    request.mutable_header()->set_auth_revision(who.auth_revision);
    Entry entry;
    entry.index = engine->applied_index().Next();
    entry.term = Term(1);
    entry.type = EntryType::kNormal;
    entry.data = Bytes::FromString(request.SerializeAsString());
    return engine->Apply(entry, Engine::Answer::kWanted);
  }

 private:
  TempDir folder_;
  const std::unique_ptr<Allocator> allocator_ = *CreateAllocator("malloc", {});
  std::unique_ptr<kv::KvBackend> backend_;

 public:
  std::unique_ptr<Engine> engine;  // goes before what it stands on
};

bool IsAuthError(const std::string& text) {
  return text.find("permission denied") != std::string::npos ||
         text.find("auth store") != std::string::npos ||
         text.find("user name") != std::string::npos;
}

TEST_CASE("auth: every request by everybody, as the model has it") {
  const uint64_t seed = TestSeed();
  INFO("seed " << seed);
  Random random(seed);
  World world;
  Model model;
  Draws draws(&random);
  for (int step = 0; step < kSteps; ++step) {
    const Identity who = draws.Caller(model.revision);
    const InternalRaftRequest request = draws.Request();
    const int64_t revision = world.engine->current_revision();
    const std::string expected = model.Apply(who, request);
    const Reply reply = world.Apply(who, request);
    INFO("step " << step << ": " << who.username << " at " << who.auth_revision << " of "
                 << model.revision << ": " << request.ShortDebugString());
    if (expected.empty()) {
      REQUIRE(!IsAuthError(reply.error.message));
    } else {
      REQUIRE(reply.error.message == "etcdserver: " + expected);
      REQUIRE(world.engine->current_revision() == revision);
    }
    REQUIRE(world.engine->auth().revision() == model.revision);
    REQUIRE(world.engine->auth().enabled() == model.enabled);
    if (random.OneIn(50)) world.Open();
  }
}

}  // namespace
}  // namespace quorate::engine
