#include "tests/sim/auth_client.h"

#include <utility>

#include "base/text.h"
#include "engine/errors.h"

namespace quorate::sim {
namespace {

constexpr int64_t kThinkNsMax = 2 * kNanosPerSecond;

}  // namespace

void AuthClient::TakeNewNames() {
  ++names_taken_;
  user_ = StrCat("u", place_, "/", names_taken_);
  role_ = StrCat("r", place_, "/", names_taken_);
  known_ = {};
}

void AuthClient::Later() {
  world_->kernel->After(world_->kernel->Draw(0, kThinkNsMax), [this] {
    if (!world_->stopping) Go();
  });
}

AuthClient::Step AuthClient::Draw() {
  Known after = known_;
  switch (world_->kernel->random().Below(8)) {
    case 0: {
      etcdserverpb::AuthUserAddRequest request;
      request.set_name(user_);
      request.mutable_options()->set_no_password(true);  // a hash would take real time
      after.user = true;
      return {"UserAdd", request.SerializeAsString(), !known_.user, after};
    }
    case 1: {
      etcdserverpb::AuthUserDeleteRequest request;
      request.set_name(user_);
      after.user = after.assigned = false;
      return {"UserDelete", request.SerializeAsString(), known_.user, after};
    }
    case 2: {
      etcdserverpb::AuthRoleAddRequest request;
      request.set_name(role_);
      after.role = true;
      return {"RoleAdd", request.SerializeAsString(), !known_.role, after};
    }
    case 3: {
      etcdserverpb::AuthRoleDeleteRequest request;
      request.set_role(role_);
      after.role = after.assigned = after.granted = false;
      return {"RoleDelete", request.SerializeAsString(), known_.role, after};
    }
    case 4: {
      etcdserverpb::AuthUserGrantRoleRequest request;
      request.set_user(user_);
      request.set_role(role_);
      after.assigned = true;
      return {"UserGrantRole", request.SerializeAsString(), known_.user && known_.role, after};
    }
    case 5: {
      etcdserverpb::AuthUserRevokeRoleRequest request;
      request.set_name(user_);
      request.set_role(role_);
      after.assigned = false;
      return {"UserRevokeRole", request.SerializeAsString(), known_.assigned, after};
    }
    case 6: {
      etcdserverpb::AuthRoleGrantPermissionRequest request;
      request.set_name(role_);
      request.mutable_perm()->set_permtype(authpb::Permission::READWRITE);
      request.mutable_perm()->set_key(role_);
      after.granted = true;
      return {"RoleGrantPermission", request.SerializeAsString(), known_.role, after};
    }
    default: {
      etcdserverpb::AuthRoleRevokePermissionRequest request;
      request.set_role(role_);
      request.set_key(role_);
      after.granted = false;
      return {"RoleRevokePermission", request.SerializeAsString(), known_.granted, after};
    }
  }
}

void AuthClient::Go() {
  Step step = Draw();
  Member* member = world_->members[world_->kernel->random().Below(world_->members.size())];
  const std::string path = StrCat("/etcdserverpb.Auth/", step.method);
  std::string request = step.request;
  world_->caller->Call(place_, member, path, std::move(request), world_->timeout_ns,
                       [this, step = std::move(step)](const CallResult& result) {
                         OnAnswer(step, result);
                         Later();
                       });
}

void AuthClient::OnAnswer(const Step& step, const CallResult& result) {
  if (result.kind == CallResult::Kind::kNotSent) return;
  // A learner takes no requests, whatever they ask.
  if (result.status.message == engine::errors::kNotSupportedForLearner.message) return;
  const bool answered = result.kind == CallResult::Kind::kAnswered;
  const bool done = answered && result.status.ok();
  if (!done && !(answered && SaysNothingHappened(result.status.code))) return TakeNewNames();
  world_->kernel->Note("auth", place_, done);
  if (done != step.fits) {
    wrong_ = StrCat("Auth.", step.method, " of ", user_, " and ", role_, " was ",
                    done ? "done" : StrCat("refused (", result.status.message, ")"),
                    " against what was answered before");
  }
  if (done) known_ = step.after;
}

std::string AuthClient::Judge(const engine::AuthStore& store) const {
  if (!wrong_.empty()) return wrong_;
  const authpb::Role* role = store.FindRole(role_);
  const Known held = {.user = store.FindUser(user_) != nullptr,
                      .role = role != nullptr,
                      .assigned = store.HasRole(user_, role_),
                      .granted = role != nullptr && role->keypermission_size() > 0};
  if (held == known_) return {};
  const auto text = [](const Known& known) {
    return StrCat(known.user ? "user " : "", known.role ? "role " : "",
                  known.assigned ? "assigned " : "", known.granted ? "granted " : "");
  };
  return StrCat("of ", user_, " and ", role_, " it holds: ", text(held),
                "but was answered: ", text(known_));
}

}  // namespace quorate::sim
