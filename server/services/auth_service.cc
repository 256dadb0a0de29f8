// etcdserverpb.Auth. All of it goes through the log as etcd's does, where the caller's rights are
// decided; passwords are hashed, and checked, before that and on a worker, so that none is in the
// log and nobody else waits for it.

#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/log.h"
#include "engine/auth/auth_store.h"
#include "proto/etcdserverpb.pb.h"
#include "server/auth/password.h"
#include "server/auth/password_work.h"
#include "server/services/context.h"
#include "server/services/gate.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Error;
using engine::Reply;

// --- sign-in

// A password is checked against what is stored at one revision of the auth store. If that has moved
// when the log answers, the check may have been of a password that was changed meanwhile: it is
// made anew (etcd does so too).
class SignIn final : public std::enable_shared_from_this<SignIn> {
 public:
  SignIn(ServiceContext* context, CallPtr call, etcdserverpb::AuthenticateRequest request)
      : context_(context), call_(std::move(call)), request_(std::move(request)) {}
  ~SignIn() { WipePassword(); }

  void Start() {
    ReadFor(*context_, call_, Read::Consistency::kLinearizable,
            [self = shared_from_this()](const Engine& engine) { self->Check(engine); });
  }

 private:
  void Check(const Engine& engine) {
    if (call_->cancelled()) return;
    const engine::AuthStore& auth = engine.auth();
    if (!auth.enabled()) return Fail(*call_, engine::errors::kAuthNotEnabled);
    const authpb::User* user = auth.FindUser(request_.name());
    if (user != nullptr && user->options().no_password()) {
      return Refuse(engine::errors::kNoPasswordUser);
    }
    revision_ = auth.revision();
    const bool exists = user != nullptr;
    const std::string hash = exists ? user->password() : std::string();
    const bool taken = context_->passwords->Submit([self = shared_from_this(), exists, hash] {
      if (exists ? VerifyPassword(self->request_.password(), hash) : self->Pretend()) {
        self->Propose();
      } else {
        self->Refuse(engine::errors::kAuthFailed);
      }
    });
    if (!taken) Fail(*call_, engine::errors::kTooManyRequests);
  }

  // That a user is not there must not show by how soon that is said.
  bool Pretend() const {
    VerifyNobodysPassword(request_.password(), context_->config->bcrypt_cost);
    return false;
  }

  void Refuse(const Error& error) {
    LogWarn("invalid authentication was requested",
            {{"user", request_.name()}, {"error", error.message}});
    Fail(*call_, error);
  }

  void Propose() {
    etcdserverpb::InternalAuthenticateRequest internal;
    internal.set_name(request_.name());
    internal.set_simple_token(context_->tokens->NewSecret());
    ProposeAsNobody(*context_, call_, RaftField::kAuthenticate,
                    Bytes::FromString(internal.SerializeAsString()),
                    [self = shared_from_this()](Reply reply) { self->Answered(std::move(reply)); });
  }

  void Answered(Reply reply) {
    if (!reply.error.ok()) return Answer(*call_, std::move(reply));
    ReadFor(*context_, call_, Read::Consistency::kLocal,
            [self = shared_from_this(), reply = std::move(reply)](const Engine& engine) mutable {
              if (engine.auth().revision() != self->revision_) return self->Check(engine);
              self->HandOut(std::move(reply));
            });
  }

  void HandOut(Reply reply) {
    if (context_->tokens->made_by_log()) return Answer(*call_, std::move(reply));
    const bool taken = context_->passwords->Submit(
        [self = shared_from_this(), reply = std::move(reply)]() mutable {
          auto token = self->context_->tokens->Sign(self->request_.name(), self->revision_);
          if (const auto* error = std::get_if<Error>(&token)) return Fail(*self->call_, *error);
          etcdserverpb::AuthenticateResponse response;
          response.set_token(std::get<std::string>(std::move(token)));
          reply.body += response.SerializeAsString();
          Answer(*self->call_, std::move(reply));
        });
    if (!taken) Fail(*call_, engine::errors::kTooManyRequests);
  }

  void WipePassword() {
    std::string* const password = request_.mutable_password();
    explicit_bzero(password->data(), password->size());
  }

  ServiceContext* const context_;
  const CallPtr call_;
  etcdserverpb::AuthenticateRequest request_;
  uint64_t revision_ = 0;  // of the auth store, when the password was looked up
};

void Authenticate(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::AuthenticateRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  std::make_shared<SignIn>(&context, std::move(call), std::move(request))->Start();
}

// --- passwords that are set

// Puts the hash in the place of the password and proposes the rest.
template <class Request>
void HashAndPropose(ServiceContext& context, const CallPtr& call, RaftField field,
                    Request request) {
  const bool taken =
      context.passwords->Submit([&context, call, field, request = std::move(request)]() mutable {
        const absl::StatusOr<std::string> hash =
            HashPassword(request.password(), context.config->bcrypt_cost);
        if (!hash.ok()) return Fail(*call, {2, std::string(hash.status().message())});
        request.set_hashedpassword(absl::Base64Escape(*hash));
        explicit_bzero(request.mutable_password()->data(), request.password().size());
        request.clear_password();
        ProposeFor(context, call, field, Bytes::FromString(request.SerializeAsString()));
      });
  if (!taken) Fail(*call, engine::errors::kTooManyRequests);
}

void UserAdd(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::AuthUserAddRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  if (request.options().no_password()) {
    request.clear_password();  // not for the log
    return ProposeFor(context, std::move(call), RaftField::kAuthUserAdd,
                      Bytes::FromString(request.SerializeAsString()));
  }
  HashAndPropose(context, call, RaftField::kAuthUserAdd, std::move(request));
}

void UserChangePassword(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::AuthUserChangePasswordRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  // Who brings a hash has it stored as it is.
  if (request.password().empty()) {
    return ProposeFor(context, std::move(call), RaftField::kAuthUserChangePassword,
                      std::move(bytes));
  }
  HashAndPropose(context, call, RaftField::kAuthUserChangePassword, std::move(request));
}

// --- the rest goes on as it came

template <class Request, RaftField kField>
void PassOn(ServiceContext& context, CallPtr call, Bytes bytes) {
  Request request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  ProposeFor(context, std::move(call), kField, std::move(bytes));
}

}  // namespace

void AddAuthService(ServiceContext* context, transport::ServiceTable* table) {
  using namespace etcdserverpb;  // NOLINT: a list of its messages
  AddUnaryMethods(
      context, "etcdserverpb.Auth",
      {{"AuthEnable", PassOn<AuthEnableRequest, RaftField::kAuthEnable>},
       {"AuthDisable", PassOn<AuthDisableRequest, RaftField::kAuthDisable>},
       {"AuthStatus", PassOn<AuthStatusRequest, RaftField::kAuthStatus>},
       {"Authenticate", Authenticate},
       {"UserAdd", UserAdd},
       {"UserGet", PassOn<AuthUserGetRequest, RaftField::kAuthUserGet>},
       {"UserList", PassOn<AuthUserListRequest, RaftField::kAuthUserList>},
       {"UserDelete", PassOn<AuthUserDeleteRequest, RaftField::kAuthUserDelete>},
       {"UserChangePassword", UserChangePassword},
       {"UserGrantRole", PassOn<AuthUserGrantRoleRequest, RaftField::kAuthUserGrantRole>},
       {"UserRevokeRole", PassOn<AuthUserRevokeRoleRequest, RaftField::kAuthUserRevokeRole>},
       {"RoleAdd", PassOn<AuthRoleAddRequest, RaftField::kAuthRoleAdd>},
       {"RoleGet", PassOn<AuthRoleGetRequest, RaftField::kAuthRoleGet>},
       {"RoleList", PassOn<AuthRoleListRequest, RaftField::kAuthRoleList>},
       {"RoleDelete", PassOn<AuthRoleDeleteRequest, RaftField::kAuthRoleDelete>},
       {"RoleGrantPermission",
        PassOn<AuthRoleGrantPermissionRequest, RaftField::kAuthRoleGrantPermission>},
       {"RoleRevokePermission",
        PassOn<AuthRoleRevokePermissionRequest, RaftField::kAuthRoleRevokePermission>}},
      table);
}

}  // namespace quorate::server
