#include "ctl/lease_session.h"

#include <algorithm>

#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {
namespace {

constexpr int64_t kReopenPauseNs = 200 * kNanosPerMilli;

}  // namespace

transport::RpcStatus LeaseSession::Start(SyncClient* client, int64_t ttl_s, Interruption* lost,
                                         std::unique_ptr<LeaseSession>* session) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(ttl_s);
  etcdserverpb::LeaseGrantResponse response;
  const auto status = client->Call("/etcdserverpb.Lease/LeaseGrant", request, &response);
  if (!status.ok()) return status;
  // The server may have granted more than was asked for.
  session->reset(new LeaseSession(client, response.id(), response.ttl(), lost));
  return {};
}

LeaseSession::LeaseSession(SyncClient* client, int64_t id, int64_t ttl_s, Interruption* lost)
    : client_(client), id_(id), ttl_ns_(ttl_s * kNanosPerSecond), lost_(lost) {
  thread_ = std::thread([this] { Run(); });
}

LeaseSession::~LeaseSession() {
  stop_.Raise(Interruption::Cause::kStopped);
  thread_.join();
}

transport::RpcStatus LeaseSession::Revoke() {
  stop_.Raise(Interruption::Cause::kStopped);
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(id_);
  etcdserverpb::LeaseRevokeResponse response;
  return client_->Call("/etcdserverpb.Lease/LeaseRevoke", request, &response);
}

void LeaseSession::Run() {
  int64_t ends_ns = clock_.MonotonicNs() + ttl_ns_;
  while (RenewOnOneStream(&ends_ns)) {
    if (stop_.raised()) return;
    client_->TryNextEndpoint();
    if (!Pause(kReopenPauseNs, &stop_)) return;
    client_->SignIn();  // the next stream tells whether that helped
    if (clock_.MonotonicNs() >= ends_ns) break;
  }
  if (!stop_.raised()) lost_->Raise(Interruption::Cause::kSessionLost);
}

bool LeaseSession::RenewOnOneStream(int64_t* ends_ns) {
  auto stream = client_->Open("/etcdserverpb.Lease/LeaseKeepAlive");
  etcdserverpb::LeaseKeepAliveRequest request;
  request.set_id(id_);
  while (true) {
    stream->Send(request);
    const int64_t left_ns = std::max<int64_t>(0, *ends_ns - clock_.MonotonicNs());
    const auto message = stream->Receive(left_ns, &stop_);
    etcdserverpb::LeaseKeepAliveResponse response;
    if (!message || !response.ParseFromArray(message->data(), static_cast<int>(message->size()))) {
      return true;
    }
    if (response.ttl() <= 0) return false;
    *ends_ns = clock_.MonotonicNs() + response.ttl() * kNanosPerSecond;
    // Nothing comes before the next request: this waits a third of the time, or for the end.
    stream->Receive(response.ttl() * kNanosPerSecond / 3, &stop_);
    if (stop_.raised() || stream->closed()) return true;
  }
}

}  // namespace quorate::ctl
