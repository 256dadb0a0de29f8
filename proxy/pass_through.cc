#include "proxy/pass_through.h"

#include <memory>
#include <utility>

#include "base/clock.h"
#include "proxy/carried_call.h"

namespace quorate::proxy {

using transport::Method;
using transport::RpcStatus;

namespace {

using Kind = Method::Kind;

constexpr int kTriesMax = 10;
constexpr int64_t kRetryPauseNs = 50 * kNanosPerMilli;

constexpr PassedMethod kPlain[] = {
    {"/etcdserverpb.Cluster/MemberAdd"},
    {"/etcdserverpb.Cluster/MemberRemove"},
    {"/etcdserverpb.Cluster/MemberUpdate"},
    {"/etcdserverpb.Cluster/MemberPromote"},
    {"/etcdserverpb.Maintenance/Alarm"},
    {"/etcdserverpb.Maintenance/Status"},
    {"/etcdserverpb.Maintenance/Defragment"},
    {"/etcdserverpb.Maintenance/Hash"},
    {"/etcdserverpb.Maintenance/HashKV"},
    {"/etcdserverpb.Maintenance/MoveLeader"},
    {"/etcdserverpb.Maintenance/Downgrade"},
    {"/etcdserverpb.Maintenance/Snapshot", Kind::kServerStream},
    {"/etcdserverpb.Lease/LeaseGrant"},
    {"/etcdserverpb.Lease/LeaseLeases"},
    {"/v3lockpb.Lock/Lock"},
    {"/v3lockpb.Lock/Unlock"},
    {"/v3electionpb.Election/Campaign"},
    {"/v3electionpb.Election/Proclaim"},
    {"/v3electionpb.Election/Leader"},
    {"/v3electionpb.Election/Observe", Kind::kServerStream},
    {"/v3electionpb.Election/Resign"},
};

constexpr PassedMethod kChanging[] = {
    {"/etcdserverpb.Auth/AuthEnable"},
    {"/etcdserverpb.Auth/AuthDisable"},
    {"/etcdserverpb.Auth/AuthStatus"},
    {"/etcdserverpb.Auth/Authenticate"},
    {"/etcdserverpb.Auth/UserAdd"},
    {"/etcdserverpb.Auth/UserGet"},
    {"/etcdserverpb.Auth/UserList"},
    {"/etcdserverpb.Auth/UserDelete"},
    {"/etcdserverpb.Auth/UserChangePassword"},
    {"/etcdserverpb.Auth/UserGrantRole"},
    {"/etcdserverpb.Auth/UserRevokeRole"},
    {"/etcdserverpb.Auth/RoleAdd"},
    {"/etcdserverpb.Auth/RoleGet"},
    {"/etcdserverpb.Auth/RoleList"},
    {"/etcdserverpb.Auth/RoleDelete"},
    {"/etcdserverpb.Auth/RoleGrantPermission"},
    {"/etcdserverpb.Auth/RoleRevokePermission"},
    {"/etcdserverpb.Lease/LeaseRevoke"},
};

// One call. All of these methods have one request.
class PassedCall final : public CarriedCall, public transport::ClientStreamHandler {
 public:
  PassedCall(Upstream* upstream, std::string path, std::function<void()> after, CallPtr call)
      : upstream_(upstream),
        path_(std::move(path)),
        after_(std::move(after)),
        call_(std::move(call)) {}

  // --- the client's side
  void Received(Bytes message) override {
    request_ = std::move(message);
    Try();
  }
  void Writable() override {
    if (stream_ != nullptr) stream_->Resume();
  }
  void Ended() override {
    over_ = true;
    upstream_->loop()->CancelTimer(timer_);
    stream_.reset();
  }
  // --- the member's side
  void OnMessage(Bytes message) override {
    answered_ = true;
    call_->Send(transport::Message(std::move(message)));
    if (call_->QueuedBytes() > kQueuedBytesMax) stream_->Pause();
  }
  void OnClosed(RpcStatus status) override;

 private:
  void Try();

  Upstream* const upstream_;
  const std::string path_;
  const std::function<void()> after_;
  const CallPtr call_;
  Bytes request_;
  int tries_ = 0;
  bool answered_ = false;
  bool over_ = false;
  std::unique_ptr<transport::ClientStream> stream_;
  transport::EventLoop::TimerId timer_ = 0;
};

void PassedCall::Try() {
  if (over_) return;
  timer_ = 0;
  ++tries_;
  stream_ = upstream_->Open(path_, MetadataFor(*call_), this);
  stream_->Send(request_);
  stream_->HalfClose();
}

void PassedCall::OnClosed(RpcStatus status) {
  stream_.reset();
  if (Upstream::Unsent(status) && !answered_ && tries_ < kTriesMax) {
    transport::EventLoop* const loop = upstream_->loop();
    timer_ = loop->RunAt(loop->NowNs() + kRetryPauseNs, [this] { Try(); });
    return;
  }
  if (after_ != nullptr) after_();
  call_->Finish(std::move(status));
}

}  // namespace

void AddPassThrough(Upstream* upstream, std::span<const PassedMethod> methods,
                    std::function<void()> after, transport::ServiceTable* table) {
  for (const PassedMethod& passed : methods) {
    Method method;
    method.path = passed.path;
    method.kind = passed.kind;
    method.bidi = [upstream, path = method.path, after](CallPtr call) {
      return std::make_unique<Carrier>(
          upstream->loop(), std::make_shared<PassedCall>(upstream, path, after, std::move(call)));
    };
    table->Add(std::move(method));
  }
}

std::span<const PassedMethod> PlainMethods() { return kPlain; }
std::span<const PassedMethod> ChangingMethods() { return kChanging; }

}  // namespace quorate::proxy
