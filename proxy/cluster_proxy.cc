#include "proxy/cluster_proxy.h"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "proxy/requests.h"

namespace quorate::proxy {

using transport::Method;
using transport::RpcStatus;

namespace {

constexpr int64_t kRegisterPauseNs = 1 * kNanosPerSecond;
constexpr char kMemberListPath[] = "/etcdserverpb.Cluster/MemberList";

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

}  // namespace

std::string EncodeEndpoint(const RegisteredEndpoint& endpoint) {
  const nlohmann::json metadata = {{"name", endpoint.name}};
  nlohmann::ordered_json value;
  value["Op"] = 0;
  value["Addr"] = endpoint.url;
  value["Metadata"] = metadata.dump();
  return value.dump();
}

std::optional<RegisteredEndpoint> DecodeEndpoint(std::string_view text) {
  const nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || !value.contains("Addr") || !value["Addr"].is_string()) {
    return std::nullopt;
  }
  RegisteredEndpoint endpoint;
  endpoint.url = value["Addr"].get<std::string>();
  if (value.contains("Metadata") && value["Metadata"].is_string()) {
    const nlohmann::json metadata =
        nlohmann::json::parse(value["Metadata"].get<std::string>(), nullptr, false);
    if (metadata.is_object() && metadata.contains("name") && metadata["name"].is_string()) {
      endpoint.name = metadata["name"].get<std::string>();
    }
  }
  return endpoint;
}

ClusterProxy::~ClusterProxy() { parts_.upstream->loop()->CancelTimer(timer_); }

void ClusterProxy::AddTo(transport::ServiceTable* table) {
  Method list;
  list.path = kMemberListPath;
  list.unary = [this](CallPtr call, Bytes body) {
    parts_.upstream->loop()->Post(
        [this, call = std::move(call), body = std::move(body)] { MemberList(call, body); });
  };
  table->Add(std::move(list));
}

void ClusterProxy::MemberList(const CallPtr& call, const Bytes& body) {
  if (options_.advertised_url.empty()) {
    UpstreamRequest request{kMemberListPath, body, MetadataFor(*call), call->deadline_ns(),
                            UpstreamRequest::Again::kAlways};
    return parts_.upstream->Call(std::move(request), [call](RpcStatus status, Bytes answer) {
      if (!status.ok()) return call->Finish(std::move(status));
      call->Reply(std::move(answer));
    });
  }
  const auto answer = [this, call](const etcdserverpb::RangeResponse& registered) {
    etcdserverpb::MemberListResponse response;
    const auto add = [&](const RegisteredEndpoint& endpoint) {
      auto* member = response.add_members();
      member->set_name(endpoint.name);
      member->add_clienturls(endpoint.url);
    };
    for (const auto& kv : registered.kvs()) {
      if (const auto endpoint = DecodeEndpoint(kv.value()); endpoint.has_value()) add(*endpoint);
    }
    if (response.members().empty()) add({options_.advertised_url, HostName()});
    call->Reply(Serialize(response));
  };
  if (options_.resolver_prefix.empty()) return answer({});
  etcdserverpb::RangeRequest request;
  request.set_key(options_.resolver_prefix + "/");
  request.set_range_end(options_.resolver_prefix + "0");  // behind all that begin so
  request.set_serializable(true);
  parts_.kv->ReadFor(call, request, [answer](const RpcStatus&, const auto& read) { answer(read); });
}

// --- registration

void ClusterProxy::Ask(const char* path, Bytes body, Upstream::Done done) {
  UpstreamRequest request;
  request.path = path;
  request.body = std::move(body);
  parts_.upstream->Call(std::move(request), std::move(done));
}

void ClusterProxy::Start() {
  if (!options_.resolver_prefix.empty()) Register();
}

void ClusterProxy::RegisterLater(std::string_view why) {
  lease_ = 0;
  LogWarn("failed to create a session", {{"error", why}});
  transport::EventLoop* const loop = parts_.upstream->loop();
  timer_ = loop->RunAt(loop->NowNs() + kRegisterPauseNs, [this] { Register(); });
}

void ClusterProxy::Register() {
  timer_ = 0;
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(options_.resolver_ttl_seconds);
  Ask("/etcdserverpb.Lease/LeaseGrant", Serialize(request),
      [this](const RpcStatus& status, const Bytes& answer) {
        etcdserverpb::LeaseGrantResponse response;
        if (!status.ok()) return RegisterLater(status.message);
        if (!Parse(answer, &response)) return RegisterLater(NoSuchAnswer().message);
        Write(response.id());
      });
}

void ClusterProxy::Write(int64_t lease) {
  lease_ = lease;
  etcdserverpb::PutRequest request;
  request.set_key(
      parts_.space->Enter(StrCat(options_.resolver_prefix, "/", options_.advertised_url)));
  request.set_value(EncodeEndpoint({options_.advertised_url, HostName()}));
  request.set_lease(lease);
  Ask("/etcdserverpb.KV/Put", Serialize(request), [this](const RpcStatus& status, const Bytes&) {
    if (!status.ok()) return RegisterLater(status.message);
    LogInfo("registered session with lease",
            {{"addr", options_.advertised_url}, {"lease-ttl", options_.resolver_ttl_seconds}});
    Renew();
  });
}

void ClusterProxy::Renew() {
  timer_ = 0;
  parts_.leases->KeepAlivesFor({})->Renew(
      lease_, this,
      [this](const etcdserverpb::LeaseKeepAliveResponse& response) {
        if (response.ttl() <= 0) return RegisterLater("the lease has expired");
        transport::EventLoop* const loop = parts_.upstream->loop();
        timer_ =
            loop->RunAt(loop->NowNs() + response.ttl() * kNanosPerSecond / 3, [this] { Renew(); });
      },
      [this](const RpcStatus& status) { RegisterLater(status.message); });
}

void ClusterProxy::Stop(std::function<void()> done) {
  parts_.upstream->loop()->CancelTimer(timer_);
  timer_ = 0;
  if (lease_ == 0) return done();
  parts_.leases->KeepAlivesFor({})->Leave(this);
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease_);
  Ask("/etcdserverpb.Lease/LeaseRevoke", Serialize(request),
      [done = std::move(done)](const RpcStatus&, const Bytes&) { done(); });
}

}  // namespace quorate::proxy
