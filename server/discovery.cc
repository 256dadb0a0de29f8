#include "server/discovery.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/stop_signals.h"
#include "transport/dns_srv.h"
#include "transport/tls/tls_context.h"

namespace quorate::server {
namespace {

constexpr int64_t kStopLookNs = 200 * kNanosPerMilli;
constexpr int kBackoffDoublingsMax = 8;

absl::Status JoinError(std::string_view why) {
  return absl::FailedPreconditionError(
      StrCat("failed to join discovery cluster (discovery: ", why, ")"));
}

// The first text behind all that begin with `prefix`, which does not end with \xff.
std::string BehindPrefix(std::string prefix) {
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

class Registry {
 public:
  Registry(const DiscoveryConfig& config, MemberId self) : config_(config), self_(self) {}

  absl::Status Connect();
  absl::StatusOr<std::string> Join(const std::string& own);

 private:
  struct State {
    size_t size = 0;
    DiscoveredMembers members;
    int64_t revision = 0;
  };

  // Asks until there is an answer.
  template <class Response>
  Response Ask(std::string_view path, const google::protobuf::Message& request,
               std::string_view step);
  void BackOff(std::string_view step);
  absl::StatusOr<State> Look();
  void Register(const std::string& key, const std::string& own);
  void WaitForOthers(State* state);
  static void Add(const mvccpb::KeyValue& kv, DiscoveredMembers* members);

  const DiscoveryConfig& config_;
  const MemberId self_;
  std::unique_ptr<ctl::SyncClient> client_;
  int failures_ = 0;
};

absl::Status Registry::Connect() {
  ctl::ClientOptions options;
  options.endpoints = config_.endpoints;
  options.command_timeout_ns = config_.request_timeout_ns;
  options.dial_timeout_ns = config_.dial_timeout_ns;
  options.keepalive_time_ns = config_.keepalive_time_ns;
  options.keepalive_timeout_ns = config_.keepalive_timeout_ns;
  options.credentials.name = config_.user;
  options.credentials.password = config_.password;
  if (!config_.insecure_transport || !config_.tls.empty() || config_.tls.trusted_ca.given()) {
    QR_ASSIGN_OR_RETURN(options.tls, transport::TlsContext::Create(
                                         transport::TlsContext::Side::kClient, config_.tls));
  }
  QR_ASSIGN_OR_RETURN(client_, ctl::SyncClient::Create(options));
  return absl::OkStatus();
}

void Registry::BackOff(std::string_view step) {
  failures_ = std::min(failures_ + 1, kBackoffDoublingsMax);
  const int64_t pause_ns = (int64_t{1} << failures_) * kNanosPerSecond;
  LogWarn("retry connecting to discovery service",
          {{"reason", step}, {"backoff", FormatGoDuration(pause_ns)}});
  const SystemClock clock;
  const int64_t end_ns = clock.MonotonicNs() + pause_ns;
  while (clock.MonotonicNs() < end_ns) {
    EndIfStopIsAsked();
    std::this_thread::sleep_for(std::chrono::nanoseconds(kStopLookNs));
  }
}

template <class Response>
Response Registry::Ask(std::string_view path, const google::protobuf::Message& request,
                       std::string_view step) {
  while (true) {
    Response response;
    transport::RpcStatus status = client_->SignIn();
    if (status.ok()) status = client_->Call(path, request, &response);
    if (status.ok()) {
      failures_ = 0;
      return response;
    }
    LogWarn("failed to ask the discovery service", {{"path", path}, {"error", status.message}});
    BackOff(step);
  }
}

void Registry::Add(const mvccpb::KeyValue& kv, DiscoveredMembers* members) {
  if (members->Add(kv.key(), kv.value(), kv.create_revision())) {
    LogInfo("found peer from discovery service",
            {{"memberKey", kv.key()}, {"memberInfo", kv.value()}});
  } else {
    LogWarn("invalid or known peer from discovery service",
            {{"memberKey", kv.key()}, {"memberInfo", kv.value()}});
  }
}

absl::StatusOr<Registry::State> Registry::Look() {
  constexpr char kRangePath[] = "/etcdserverpb.KV/Range";
  constexpr char kStep[] = "cluster status check";
  State state{.members = DiscoveredMembers(config_.token)};
  etcdserverpb::RangeRequest request;
  request.set_key(state.members.size_key());
  auto response = Ask<etcdserverpb::RangeResponse>(kRangePath, request, kStep);
  if (response.kvs().empty()) return JoinError("size key not found");
  if (!absl::SimpleAtoi(response.kvs(0).value(), &state.size) || state.size == 0) {
    return JoinError("size key is bad");
  }
  request.set_key(state.members.members_prefix());
  request.set_range_end(BehindPrefix(state.members.members_prefix()));
  response = Ask<etcdserverpb::RangeResponse>(kRangePath, request, kStep);
  state.revision = response.header().revision();
  for (const mvccpb::KeyValue& kv : response.kvs()) Add(kv, &state.members);
  if (!state.members.HasPlaceFor(state.members.KeyOf(self_), state.size)) {
    return JoinError("cluster is full");
  }
  return state;
}

void Registry::Register(const std::string& key, const std::string& own) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(own);
  Ask<etcdserverpb::PutResponse>("/etcdserverpb.KV/Put", request, "register member itself");
  LogInfo("register member itself successfully", {{"memberKey", key}, {"memberInfo", own}});
}

void Registry::WaitForOthers(State* state) {
  LogInfo("waiting for peers from discovery service",
          {{"clusterSize", static_cast<uint64_t>(state->size)},
           {"found-peers", static_cast<uint64_t>(state->members.count())}});
  etcdserverpb::WatchRequest request;
  auto* create = request.mutable_create_request();
  create->set_key(state->members.members_prefix());
  create->set_range_end(BehindPrefix(state->members.members_prefix()));
  create->set_start_revision(state->revision + 1);
  std::unique_ptr<ctl::SyncStream> stream;
  while (state->members.count() < state->size) {
    EndIfStopIsAsked();
    if (stream == nullptr) {
      stream = client_->Open("/etcdserverpb.Watch/Watch");
      stream->Send(request);
    }
    const std::optional<Bytes> message = stream->Receive(kStopLookNs);
    if (!message.has_value() && stream->closed()) {
      LogWarn("the discovery service ended the watch", {{"error", stream->status().message}});
      stream.reset();
      client_->TryNextEndpoint();
      BackOff("watch for peers");
      continue;
    }
    etcdserverpb::WatchResponse response;
    if (!message.has_value() ||
        !response.ParseFromArray(message->data(), static_cast<int>(message->size()))) {
      continue;
    }
    for (const mvccpb::Event& event : response.events()) {
      if (event.type() == mvccpb::Event::PUT) Add(event.kv(), &state->members);
    }
  }
  LogInfo("found all needed peers from discovery service",
          {{"clusterSize", static_cast<uint64_t>(state->size)}});
}

absl::StatusOr<std::string> Registry::Join(const std::string& own) {
  QR_ASSIGN_OR_RETURN(const State before, Look());
  Register(before.members.KeyOf(self_), own);
  // Others may have been quicker.
  QR_ASSIGN_OR_RETURN(State state, Look());
  WaitForOthers(&state);
  return state.members.InitialClusterText(state.size);
}

absl::StatusOr<InitialCluster> AskRegistry(const ServerConfig& config) {
  LogInfo("Bootstrapping cluster using v3 discovery.",
          {{"discovery-token", config.discovery.token},
           {"discovery-endpoints", config.discovery.endpoints}});
  std::vector<std::string> own;
  for (const std::string& url : config.advertise_peer_urls) {
    own.push_back(StrCat(config.name, "=", url));
  }
  std::sort(own.begin(), own.end());
  Registry registry(config.discovery,
                    ComputeMemberId(config.advertise_peer_urls, config.discovery.token));
  QR_RETURN_IF_ERROR(registry.Connect());
  QR_ASSIGN_OR_RETURN(const std::string found, registry.Join(StrJoin(own, ",")));
  LogInfo("discovery joined cluster successfully", {{"cluster", found}});
  return InitialCluster{found, config.discovery.token};
}

// --- DNS

// The scheme and port of a URL of this member's that leads to `host` and `port`; empty where none
// does.
bool IsOwn(const ServerConfig& config, const std::string& url) {
  for (const std::string& own : config.advertise_peer_urls) {
    const absl::StatusOr<bool> same = PeerUrlsEqual({own}, {url}, /*patience_ns=*/0);
    if (same.ok() && *same) return true;
  }
  return false;
}

absl::StatusOr<InitialCluster> AskDns(const ServerConfig& config) {
  const std::string& domain = config.discovery.srv_domain;
  std::vector<std::string> items;
  std::string errors;
  bool found_self = false;
  for (const bool https : {true, false}) {
    const std::string service =
        transport::SrvServiceName("etcd-server", config.discovery.srv_name, https);
    const auto records = transport::LookUpSrv(service, domain);
    if (!records.ok()) {
      StrAppend(&errors, errors.empty() ? "" : "; ", "error querying DNS SRV records for _",
                service, " ", ToStd(records.status().message()));
      continue;
    }
    int unnamed = 0;
    for (const transport::SrvRecord& record : *records) {
      const std::string url =
          StrCat(https ? "https" : "http", "://", record.host, ":", record.port);
      const bool own = IsOwn(config, url);
      found_self |= own;
      items.push_back(StrCat(own ? config.name : StrCat(unnamed++), "=", url));
      LogInfo("got bootstrap from DNS for etcd-server", {{"node", items.back()}});
    }
  }
  if (items.empty()) return absl::NotFoundError(errors);
  if (!found_self) {
    return absl::InvalidArgumentError(
        StrCat("cannot find local etcd member \"", config.name, "\" in SRV records"));
  }
  return InitialCluster{StrJoin(items, ","), config.initial_cluster_token};
}

}  // namespace

// --- members that have registered

DiscoveredMembers::DiscoveredMembers(std::string_view token)
    : size_key_(StrCat("/_etcd/registry/", token, "/_config/size")),
      members_prefix_(StrCat("/_etcd/registry/", token, "/members")) {}

std::string DiscoveredMembers::KeyOf(MemberId id) const {
  return StrCat(members_prefix_, "/", HexText(id.value()));
}

bool DiscoveredMembers::Add(std::string_view key, std::string_view value, int64_t create_revision) {
  const std::string_view info = ToStd(absl::StripAsciiWhitespace(ToAbsl(value)));
  const auto same = [&](const Entry& entry) { return entry.key == key; };
  if (info.find('=') == std::string_view::npos ||
      std::any_of(members_.begin(), members_.end(), same)) {
    return false;
  }
  members_.push_back({std::string(key), std::string(info), create_revision});
  std::stable_sort(members_.begin(), members_.end(), [](const Entry& a, const Entry& b) {
    return a.create_revision < b.create_revision;
  });
  return true;
}

bool DiscoveredMembers::HasPlaceFor(std::string_view key, size_t size) const {
  for (size_t i = 0; i < members_.size() && i < size; ++i) {
    if (members_[i].key == key) return true;
  }
  return members_.size() < size;
}

std::string DiscoveredMembers::InitialClusterText(size_t size) const {
  std::vector<std::string> items;
  for (const Entry& entry : members_) {
    if (items.size() < size) items.push_back(entry.value);
  }
  return StrJoin(items, ",");
}

absl::StatusOr<DiscoveryConfig> MakeDiscoveryConfig(const OptionValues& values) {
  const auto file = [&](const std::string& name) {
    return transport::TlsFile{"--" + name, values.GetString(name)};
  };
  DiscoveryConfig config;
  config.token = values.GetString("discovery-token");
  config.endpoints = values.GetList("discovery-endpoints");
  config.dial_timeout_ns = values.GetInt("discovery-dial-timeout");
  config.request_timeout_ns = values.GetInt("discovery-request-timeout");
  config.keepalive_time_ns = values.GetInt("discovery-keepalive-time");
  config.keepalive_timeout_ns = values.GetInt("discovery-keepalive-timeout");
  config.insecure_transport = values.GetBool("discovery-insecure-transport");
  config.tls.cert = file("discovery-cert");
  config.tls.key = file("discovery-key");
  config.tls.trusted_ca = file("discovery-cacert");
  if (!values.GetBool("discovery-insecure-skip-tls-verify")) {
    config.tls.other_side = transport::TlsOptions::OtherSide::kRequired;
  }
  const auto [user, password] = SplitOnce(values.GetString("discovery-user"), ':');
  config.user = std::string(user);
  config.password = values.GetString("discovery-password");
  if (config.password.empty()) config.password = std::string(password);
  config.srv_domain = values.GetString("discovery-srv");
  config.srv_name = values.GetString("discovery-srv-name");
  const bool initial = values.Source("initial-cluster") != OptionSource::kDefault;
  if ((initial ? 1 : 0) + (config.srv_domain.empty() ? 0 : 1) + (config.endpoints.empty() ? 0 : 1) >
      1) {
    return absl::InvalidArgumentError(
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", "
        "\"discovery-endpoints\" or \"discovery-srv\"");
  }
  if (config.token.empty() != config.endpoints.empty()) {
    return absl::InvalidArgumentError(
        "both --discovery-token and --discovery-endpoints must be set");
  }
  return config;
}

absl::StatusOr<InitialCluster> FindInitialCluster(const ServerConfig& config) {
  if (!config.discovery.endpoints.empty()) return AskRegistry(config);
  if (!config.discovery.srv_domain.empty()) return AskDns(config);
  return InitialCluster{config.initial_cluster, config.initial_cluster_token};
}

}  // namespace quorate::server
