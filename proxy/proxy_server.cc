#include "proxy/proxy_server.h"

#include <future>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "base/status_util.h"
#include "base/text.h"
#include "base/thread_name.h"
#include "proxy/pass_through.h"
#include "proxy/proxy_http.h"
#include "proxy/requests.h"

namespace quorate::proxy {

using transport::RpcStatus;

namespace {

constexpr int64_t kDrainNs = 5 * kNanosPerSecond;
constexpr uint64_t kRequestBytesMax = 4 << 20;  // gRPC's

}  // namespace

ProxyServer::ProxyServer(const ProxyConfig& config)
    : config_(config),
      space_(config.key_prefix),
      loop_(&clock_, transport::EventLoop::Turns::kServedByOthers),
      thread_([this] {
        SetThreadName("proxy");
        loop_.Run();
      }) {}

absl::StatusOr<std::unique_ptr<ProxyServer>> ProxyServer::Start(const ProxyConfig& config) {
  std::unique_ptr<ProxyServer> proxy(new ProxyServer(config));
  absl::Status status;
  proxy->OnLoop([&](const std::function<void()>& done) {
    status = proxy->Build();
    done();
  });
  if (status.ok()) status = proxy->Listen();
  if (!status.ok()) return status;
  return proxy;
}

void ProxyServer::OnLoop(const std::function<void(std::function<void()> done)>& work) {
  const auto ended = std::make_shared<std::promise<void>>();
  auto end = ended->get_future();
  loop_.Post([&work, ended] { work([ended] { ended->set_value(); }); });
  end.wait();
}

absl::Status ProxyServer::Build() {
  QR_ASSIGN_OR_RETURN(upstream_, Upstream::Create(&loop_, config_.upstream));
  kv_ = std::make_unique<KvProxy>(KvProxy::Parts{
      upstream_.get(), &space_, &counters_,
      config_.ordered_reads ? KvProxy::Order::kRisingRevisions : KvProxy::Order::kNone});
  leases_ = std::make_unique<LeaseProxy>(upstream_.get(), &space_);
  ranges_ = std::make_unique<WatchRanges>(WatchRanges::Parts{upstream_.get(), &space_, &counters_});
  watches_ =
      std::make_unique<WatchProxy>(WatchProxy::Parts{upstream_.get(), kv_.get(), ranges_.get()});
  cluster_ = std::make_unique<ClusterProxy>(
      config_.cluster, ClusterProxy::Parts{upstream_.get(), kv_.get(), leases_.get(), &space_});
  kv_->AddTo(&table_);
  watches_->AddTo(&table_);
  leases_->AddTo(&table_);
  cluster_->AddTo(&table_);
  AddPassThrough(upstream_.get(), PlainMethods(), nullptr, &table_);
  AddPassThrough(
      upstream_.get(), ChangingMethods(), [kv = kv_.get()] { kv->ForgetAll(); }, &table_);
  if (config_.endpoints_sync_interval_ns > 0) SyncEndpoints();
  return absl::OkStatus();
}

absl::Status ProxyServer::Listen() {
  rpc_metrics_.emplace(table_);
  if (config_.profiles) {
    QR_ASSIGN_OR_RETURN(profiler_, server::CpuProfiler::Load());
  }
  HttpParts http{.upstream = upstream_.get(),
                 .space = &space_,
                 .counters = &counters_,
                 .rpc = &*rpc_metrics_,
                 .workers = &workers_,
                 .profiler = profiler_.get(),
                 .metrics_url = config_.upstream.endpoints.front(),
                 .tls = config_.upstream.tls,
                 .advertised = !config_.cluster.advertised_url.empty()};
  transport::ServerOptions options = config_.server;
  options.clock = &clock_;
  call_log_.emplace(&*rpc_metrics_);
  options.observer = &*rpc_metrics_;
  if (config_.log_calls) options.observer = &*call_log_;
  options.receive_message_bytes_max = kRequestBytesMax;
  QR_ASSIGN_OR_RETURN(transport_, transport::CreateServerTransport("native", options, &table_,
                                                                   MakeProxyHttpHandler(http)));
  QR_RETURN_IF_ERROR(transport_->Bind());
  LogInfo("listening for gRPC proxy client requests", {{"address", options.listen[0].url}});
  if (config_.metrics.has_value()) {
    options.listen = {*config_.metrics};
    options.observer = nullptr;
    QR_ASSIGN_OR_RETURN(
        metrics_transport_,
        transport::CreateServerTransport("native", options, &table_, MakeProxyHttpHandler(http)));
    QR_RETURN_IF_ERROR(metrics_transport_->Bind());
    LogInfo("gRPC proxy listening for metrics", {{"address", config_.metrics->url}});
    metrics_transport_->Serve();
  }
  transport_->Serve();
  loop_.Post([this] { cluster_->Start(); });
  return absl::OkStatus();
}

// The members that there are become the ones that are called, as etcd's client does it.
void ProxyServer::SyncEndpoints() {
  sync_timer_ = 0;
  UpstreamRequest request;
  request.path = "/etcdserverpb.Cluster/MemberList";
  request.again = UpstreamRequest::Again::kAlways;
  upstream_->Call(std::move(request), [this](const RpcStatus& status, const Bytes& answer) {
    etcdserverpb::MemberListResponse response;
    std::vector<std::string> endpoints;
    if (status.ok() && Parse(answer, &response)) {
      for (const auto& member : response.members()) {
        if (member.name().empty() || member.islearner()) continue;
        endpoints.insert(endpoints.end(), member.clienturls().begin(), member.clienturls().end());
      }
    }
    if (!endpoints.empty()) {
      if (const absl::Status set = upstream_->SetEndpoints(endpoints); !set.ok()) {
        LogWarn("the members' addresses are of no use", {set});
      }
    }
    if (upstream_ == nullptr) return;
    sync_timer_ = loop_.RunAt(loop_.NowNs() + config_.endpoints_sync_interval_ns,
                              [this] { SyncEndpoints(); });
  });
}

ProxyServer::~ProxyServer() {
  if (profiler_ != nullptr) profiler_->Stop();
  const int64_t deadline_ns = clock_.MonotonicNs() + kDrainNs;
  if (transport_ != nullptr) transport_->Drain(deadline_ns);
  if (metrics_transport_ != nullptr) metrics_transport_->Drain(deadline_ns);
  OnLoop([this](std::function<void()> done) {
    if (cluster_ == nullptr) return done();
    cluster_->Stop(std::move(done));
  });
  OnLoop([this](const std::function<void()>& done) {
    loop_.CancelTimer(sync_timer_);
    cluster_.reset();
    watches_.reset();
    ranges_.reset();
    leases_.reset();
    // Ends calls whose ends the reads and writes still hear.
    upstream_.reset();
    kv_.reset();
    done();
  });
  loop_.Stop();
  thread_.join();
}

}  // namespace quorate::proxy
