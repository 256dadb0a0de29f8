// The only file that knows all concrete types: builds a node from its configuration.

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "consensus/raft.h"
#include "engine/cluster/member_json.h"
#include "server/data_dir.h"
#include "server/http_endpoints.h"
#include "server/node.h"
#include "server/replica_loop.h"
#include "server/services/context.h"
#include "server/services/watch_streams.h"

namespace quorate::server {
namespace {

// With --snapshot-count's default this is the backend writer's own limit.
constexpr uint64_t kEntryBytesReckoned = 3400;
constexpr uint64_t kOverheadBytes = 512 << 10;  // etcd's allowance above --max-request-bytes

transport::ServerOptions TransportOptions(const ServerConfig& config, const Clock* clock,
                                          transport::RpcObserver* observer) {
  transport::ServerOptions options;
  options.io_threads = config.io_threads;
  options.max_concurrent_streams = config.max_concurrent_streams;
  options.receive_message_bytes_max = config.request_bytes_max + kOverheadBytes;
  options.http_body_bytes_max = config.request_bytes_max + kOverheadBytes;
  options.keepalive_interval_ns = config.keepalive_interval_ns;
  options.keepalive_timeout_ns = config.keepalive_timeout_ns;
  options.keepalive_min_time_ns = config.keepalive_min_time_ns;
  options.reuse_port = config.reuse_port;
  options.clock = clock;
  options.observer = observer;
  return options;
}

absl::Status AddListeners(const std::vector<std::string>& urls, std::string_view flag,
                          transport::ListenAddress::Serve serve,
                          transport::ServerOptions* options) {
  for (const std::string& url : urls) {
    QR_ASSIGN_OR_RETURN(transport::ListenAddress address, ParseListenUrl(url, flag));
    address.serve = serve;
    options->listen.push_back(std::move(address));
  }
  return absl::OkStatus();
}

// Names of parts are looked at before a port is bound or a folder made.
template <class Rows, class NameOf>
absl::Status CheckName(std::string_view flag, std::string_view value, const Rows& rows,
                       NameOf name_of) {
  std::vector<std::string_view> known;
  for (const auto& row : rows) known.push_back(name_of(row));
  if (std::find(known.begin(), known.end(), value) != known.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(flag, ": unknown value \"", value, "\"; known: ", StrJoin(known, ", ")));
}

absl::Status CheckNames(const ServerConfig& config) {
  const auto name_of = [](const auto& row) { return row.name; };
  QR_RETURN_IF_ERROR(CheckName("--allocator", config.allocator, AllocatorRegistry(), name_of));
  QR_RETURN_IF_ERROR(
      CheckName("--transport", config.transport, transport::ServerTransportRegistry(), name_of));
  return CheckName("--backend", config.backend, kv::KvBackendRegistry(),
                   [](const auto& row) { return row.traits.name; });
}

engine::EngineOptions EngineOptionsOf(const ServerConfig& config, Allocator* allocator) {
  engine::EngineOptions options;
  options.allocator = allocator;
  options.window_bytes_max = config.window_bytes_max;
  options.request_bytes_max = config.request_bytes_max;
  options.txn_ops_max = config.txn_ops_max;
  const int64_t election_ns = config.tick_ns * config.election_ticks;
  options.lessor.ttl_min_seconds = (3 * election_ns / 2 + kNanosPerSecond - 1) / kNanosPerSecond;
  return options;
}

// A cluster of one.
class NoPeers final : public PeerSide {
 public:
  void Send(std::vector<consensus::Message>) override {}
  void PrepareSnapshot(MemberId) override {}
  void Install(consensus::InstallRequest) override {}
  void MembersChanged(Replica&) override {}
  void Removed() override {}
};

consensus::ConfState ConfStateOf(const std::vector<etcdserverpb::Member>& members) {
  consensus::ConfState state;
  for (const etcdserverpb::Member& member : members) {
    (member.islearner() ? state.learners : state.voters).push_back(MemberId(member.id()));
  }
  return state;
}

}  // namespace

// Members in order of construction; destruction goes the other way round.
struct Node::Parts {
  explicit Parts(const ServerConfig& node_config) : config(node_config) {}

  absl::Status Bind();
  absl::Status OpenData();
  absl::Status BuildRaft();
  void BuildReplica();
  void BuildLoops();
  void ConnectServices();
  void BuildServices();
  absl::Status ProposeAndWait(const etcdserverpb::InternalRaftRequest& request);
  absl::Status Publish();

  const ServerConfig config;
  SystemClock clock;
  std::unique_ptr<Allocator> allocator;
  DataDir data;
  std::unique_ptr<Random> random;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<consensus::Raft> raft;
  WatchStreams streams;
  std::unique_ptr<engine::WatchHub> hub;
  std::unique_ptr<Replica> replica;
  NoPeers peers;
  std::unique_ptr<LogWriter> log_writer;
  std::unique_ptr<BackendWriter> backend_writer;
  std::unique_ptr<WorkerPool> workers;
  std::unique_ptr<ReplicaLoop> loop;
  std::unique_ptr<IdGenerator> ids;
  ServiceContext context;
  transport::ServiceTable services;
  std::unique_ptr<RpcMetrics> rpc_metrics;
  MetricsSources metrics;
  std::unique_ptr<transport::ServerTransport> client_transport;
  std::unique_ptr<transport::ServerTransport> metrics_transport;  // may be null
  std::unique_ptr<transport::ServerTransport> peer_transport;
};

absl::Status Node::Parts::Bind() {
  using Serve = transport::ListenAddress::Serve;
  const bool split = !config.listen_client_http_urls.empty();
  BuildServices();
  transport::ServerOptions options = TransportOptions(config, &clock, rpc_metrics.get());
  QR_RETURN_IF_ERROR(AddListeners(config.listen_client_urls, "listen-client-urls",
                                  split ? Serve::kGrpcOnly : Serve::kGrpcAndHttp, &options));
  QR_RETURN_IF_ERROR(AddListeners(config.listen_client_http_urls, "listen-client-http-urls",
                                  Serve::kHttpOnly, &options));
  QR_ASSIGN_OR_RETURN(client_transport,
                      transport::CreateServerTransport(config.transport, options, &services,
                                                       MakeClientHttpHandler(&context, &metrics)));
  const auto http_only = [&](const std::vector<std::string>& urls, std::string_view flag,
                             transport::HttpHandler handler,
                             std::unique_ptr<transport::ServerTransport>* out) -> absl::Status {
    transport::ServerOptions http = TransportOptions(config, &clock, nullptr);
    http.io_threads = 1;
    QR_RETURN_IF_ERROR(AddListeners(urls, flag, Serve::kHttpOnly, &http));
    QR_ASSIGN_OR_RETURN(
        *out, transport::CreateServerTransport("native", http, &services, std::move(handler)));
    return (*out)->Bind();
  };
  LogInfo("configuring peer listeners", {{"listen-peer-urls", config.listen_peer_urls}});
  QR_RETURN_IF_ERROR(http_only(config.listen_peer_urls, "listen-peer-urls",
                               MakePeerHttpHandler(&context), &peer_transport));
  LogInfo("configuring client listeners", {{"listen-client-urls", config.listen_client_urls}});
  QR_RETURN_IF_ERROR(client_transport->Bind());
  if (!config.listen_metrics_urls.empty()) {
    QR_RETURN_IF_ERROR(http_only(config.listen_metrics_urls, "listen-metrics-urls",
                                 MakeMetricsHttpHandler(&context, &metrics), &metrics_transport));
  }
  return absl::OkStatus();
}

void Node::Parts::BuildServices() {
  AddKvService(&context, &services);
  AddWatchService(&context, &streams, &services);
  AddLeaseService(&context, &services);
  AddMaintenanceService(&context, &services);
  AddClusterService(&context, &services);
  AddHealthAndReflection(&context, &services);
  rpc_metrics = std::make_unique<RpcMetrics>(services);
}

absl::Status Node::Parts::OpenData() {
  QR_ASSIGN_OR_RETURN(allocator, CreateAllocator(config.allocator, config.allocator_options));
  QR_ASSIGN_OR_RETURN(data, OpenDataDir(config, PosixFileEnv(), allocator.get()));
  LogInfo("opened data directory", {{"path", config.data_dir},
                                    {"backend", config.backend},
                                    {"log-first-index", data.log->first_index().value()},
                                    {"log-last-index", data.log->last_index().value()}});
  const int64_t start_ns = clock.MonotonicNs();
  int64_t told_ns = start_ns;
  uint64_t records_read = 0;
  QR_ASSIGN_OR_RETURN(
      engine, engine::Engine::Open(EngineOptionsOf(config, allocator.get()), data.backend.get(),
                                   [&](uint64_t records) {
                                     records_read = records;
                                     const int64_t now_ns = clock.MonotonicNs();
                                     if (now_ns - told_ns < kNanosPerSecond) return;
                                     told_ns = now_ns;
                                     LogInfo("rebuilding index", {{"records", records}});
                                   }));
  LogInfo("restored state from backend",
          {{"records", records_read},
           {"revision", engine->current_revision()},
           {"applied-index", engine->applied_index().value()},
           {"took", FormatGoDuration(clock.MonotonicNs() - start_ns)}});
  return absl::OkStatus();
}

absl::Status Node::Parts::BuildRaft() {
  consensus::Config raft_config;
  raft_config.self = data.identity.member;
  raft_config.election_ticks = config.election_ticks;
  raft_config.pre_vote = config.pre_vote;
  raft_config.initial_election_tick_advance = config.initial_election_tick_advance;
  consensus::InitialState initial;
  initial.hard_state = data.log->hard_state();
  initial.conf_state = ConfStateOf(engine->members());
  initial.last_index = data.log->last_index();
  initial.applied = engine->applied_index();
  QR_ASSIGN_OR_RETURN(initial.entries, EntriesAfter(*data.log, initial.applied));
  initial.term_before_entries = data.log->TermAt(initial.applied).value_or(Term(0));
  if (initial.applied == LogIndex(0)) {
    // A first start: as etcd, raft knows the members that the log begins with from the beginning.
    for (const Entry& entry : initial.entries) {
      if (entry.type == EntryType::kNormal || entry.index > initial.hard_state.commit) continue;
      QR_ASSIGN_OR_RETURN(const consensus::ConfChange change,
                          consensus::DecodeConfChange(entry.type, entry.data));
      QR_ASSIGN_OR_RETURN(initial.conf_state, consensus::ChangeConf(initial.conf_state, change));
    }
  }
  random = std::make_unique<Random>(static_cast<uint64_t>(clock.WallNs()) ^
                                    data.identity.member.value());
  LogInfo(data.fresh ? "starting local member" : "restarting local member",
          {{"local-member-id", HexText(data.identity.member.value())},
           {"cluster-id", HexText(data.identity.cluster.value())},
           {"commit-index", initial.hard_state.commit.value()},
           {"entries-to-replay", static_cast<uint64_t>(initial.entries.size())}});
  raft = std::make_unique<consensus::Raft>(raft_config, std::move(initial), random.get());
  return absl::OkStatus();
}

void Node::Parts::BuildReplica() {
  engine->SetHeader({data.identity.cluster, data.identity.member, raft->term()});
  engine::WatchHub::Options hub_options;
  hub_options.progress_interval_ns = config.watch_progress_interval_ns;
  hub_options.fragment_bytes = config.request_bytes_max + kOverheadBytes;
  hub = std::make_unique<engine::WatchHub>(hub_options, engine->mutable_watch_store(), &streams,
                                           random->Next());
  ReplicaOptions replica_options;
  replica_options.batch_entries_max = config.batch_entries_max;
  replica_options.batch_bytes_max = config.batch_bytes_max;
  replica_options.batch_linger_ns = config.batch_linger_ns;
  replica_options.seal_interval_ns = config.backend_commit_interval_ns;
  replica_options.compaction_steps = config.compaction_steps;
  replica_options.election_timeout_ns = config.tick_ns * config.election_ticks;
  replica = std::make_unique<Replica>(replica_options, raft.get(), engine.get(), hub.get());
}

void Node::Parts::BuildLoops() {
  log_writer = std::make_unique<LogWriter>(
      data.log.get(), &clock,
      LogWriter::Events{
          [this](LogIndex index, Term term) { loop->Durable(index, term); },
          [this](std::vector<consensus::Message> messages) { peers.Send(std::move(messages)); },
          [this](LogIndex through) {
            loop->Run([through](Replica& r) { r.LogCompacted(through); });
          }});
  BackendWriter::Options writer_options;
  writer_options.sync_every_entries = config.snapshot_count;
  writer_options.sync_every_bytes =
      std::min(writer_options.sync_every_bytes, config.snapshot_count * kEntryBytesReckoned);
  writer_options.catchup_entries = config.catchup_entries;
  backend_writer = std::make_unique<BackendWriter>(
      writer_options, data.backend.get(), &clock,
      BackendWriter::Events{[this](uint64_t sequence) { loop->Flushed(sequence); },
                            [this](LogIndex through) {
                              log_writer->Submit({{}, std::nullopt, through, {}, std::nullopt});
                            }},
      engine->applied_index());
  workers = std::make_unique<WorkerPool>(config.worker_threads);
  ReplicaLoop::Options loop_options;
  loop_options.tick_ns = config.tick_ns;
  loop_options.compaction_slice_ns = config.compaction_slice_ns;
  loop_options.warning_apply_ns = config.warning_apply_ns;
  loop_options.warning_unary_ns = config.warning_unary_ns;
  loop = std::make_unique<ReplicaLoop>(
      loop_options, ReplicaLoop::Parts{replica.get(), data.log.get(), log_writer.get(),
                                       backend_writer.get(), workers.get(), &peers, &clock});
}

void Node::Parts::ConnectServices() {
  ids = std::make_unique<IdGenerator>(data.identity.member, clock.WallNs());
  context = {&config,       &clock,    loop.get(),          backend_writer.get(),
             workers.get(), ids.get(), data.identity.member};
  metrics.config = &config;
  metrics.member = data.identity.member;
  metrics.rpc = rpc_metrics.get();
  metrics.loop = loop.get();
  metrics.log_writer = log_writer.get();
  metrics.backend_writer = backend_writer.get();
  metrics.log = data.log.get();
  metrics.allocator = allocator.get();
  metrics.transport_stats = [this] { return client_transport->stats(); };
}

absl::Status Node::Parts::ProposeAndWait(const etcdserverpb::InternalRaftRequest& request) {
  std::promise<engine::Error> answer;
  Proposal proposal;
  proposal.payload = Bytes::FromString(request.SerializeAsString());
  proposal.waiter.done = [&answer](engine::Reply reply) { answer.set_value(reply.error); };
  QR_CHECK(loop->Propose(std::move(proposal)));
  const engine::Error error = answer.get_future().get();
  return error.ok() ? absl::OkStatus() : absl::InternalError(error.message);
}

absl::Status Node::Parts::Publish() {
  etcdserverpb::InternalRaftRequest publish;
  publish.mutable_header()->set_id(ids->Next());
  auto* attributes = publish.mutable_cluster_member_attr_set();
  attributes->set_member_id(data.identity.member.value());
  attributes->mutable_member_attributes()->set_name(config.name);
  for (const std::string& url : config.advertise_client_urls) {
    attributes->mutable_member_attributes()->add_client_urls(url);
  }
  QR_RETURN_IF_ERROR(ProposeAndWait(publish));
  LogInfo("published local member to cluster through raft",
          {{"local-member-id", HexText(data.identity.member.value())},
           {"local-member-attributes", StrCat("{Name:", config.name, " ClientURLs:[",
                                              StrJoin(config.advertise_client_urls, " "), "]}")},
           {"cluster-id", HexText(data.identity.cluster.value())},
           {"publish-timeout", FormatGoDuration(config.RequestTimeoutNs())}});
  std::promise<std::string> version;
  loop->Run([&](Replica& r) { version.set_value(r.engine().cluster_version()); });
  if (version.get_future().get() == kClusterVersion) return absl::OkStatus();
  etcdserverpb::InternalRaftRequest set_version;
  set_version.mutable_header()->set_id(ids->Next());
  set_version.mutable_cluster_version_set()->set_ver(kClusterVersion);
  QR_RETURN_IF_ERROR(ProposeAndWait(set_version));
  LogInfo("set initial cluster version",
          {{"cluster-id", HexText(data.identity.cluster.value())},
           {"local-member-id", HexText(data.identity.member.value())},
           {"cluster-version", "3.7"}});
  return absl::OkStatus();
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Node::~Node() { Stop(); }

absl::StatusOr<std::unique_ptr<Node>> Node::Open(const ServerConfig& config) {
  QR_RETURN_IF_ERROR(CheckNames(config));
  auto parts = std::make_unique<Parts>(config);
  QR_RETURN_IF_ERROR(parts->Bind());
  if (config.memory_lock && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    return absl::FailedPreconditionError(
        "--memory-mlock: the system does not allow it; raise the memlock limit or drop the flag");
  }
  QR_RETURN_IF_ERROR(parts->OpenData());
  QR_RETURN_IF_ERROR(parts->BuildRaft());
  parts->BuildReplica();
  parts->BuildLoops();
  parts->ConnectServices();
  return std::unique_ptr<Node>(new Node(std::move(parts)));
}

absl::Status Node::Start() {
  Parts& p = *parts_;
  LogInfo("starting etcd server",
          {{"local-member-id", HexText(p.data.identity.member.value())},
           {"local-server-version", kEtcdVersion},
           {"cluster-version", p.engine->cluster_version().empty() ? "to_be_decided" : "3.7"}});
  p.log_writer->Start();
  p.backend_writer->Start();
  p.loop->Start();
  QR_RETURN_IF_ERROR(p.Publish());
  const uint64_t term = p.loop->counters().term.load();
  const std::string self = HexText(p.data.identity.member.value());
  Log(LogLevel::kInfo, StrCat(self, " became leader at term ", term), {}, "raft");
  Log(LogLevel::kInfo, StrCat("raft.node: ", self, " elected leader ", self, " at term ", term), {},
      "raft");
  p.peer_transport->Serve();
  LogInfo("serving peer traffic", {{"address", StrJoin(p.config.listen_peer_urls, ",")}});
  if (p.metrics_transport != nullptr) {
    p.metrics_transport->Serve();
    LogInfo("serving metrics", {{"address", StrJoin(p.config.listen_metrics_urls, ",")}});
  }
  p.client_transport->Serve();
  LogInfo("now serving peer/client/metrics",
          {{"local-member-id", self},
           {"listen-peer-urls", p.config.listen_peer_urls},
           {"listen-client-urls", p.config.listen_client_urls},
           {"listen-metrics-urls", p.config.listen_metrics_urls}});
  LogInfo("ready to serve client requests");
  for (const std::string& url : p.config.listen_client_urls) {
    LogInfo("serving client traffic insecurely; this is strongly discouraged!",
            {{"traffic", p.config.transport == "native" ? "grpc+http" : "grpc"},
             {"address", url.substr(url.find("//") + 2)}});
  }
  return absl::OkStatus();
}

void Node::Stop() {
  if (parts_ == nullptr) return;
  Parts& p = *parts_;
  LogInfo("closing etcd server", {{"name", p.config.name}, {"data-dir", p.config.data_dir}});
  const int64_t deadline_ns = p.clock.MonotonicNs() + p.config.RequestTimeoutNs();
  p.client_transport->Drain(deadline_ns);
  if (p.metrics_transport != nullptr) p.metrics_transport->Drain(deadline_ns);
  p.peer_transport->Drain(deadline_ns);
  if (p.loop != nullptr) {
    // Everything applied goes to the backend, so that the next start replays nothing.
    std::promise<void> sealed;
    p.loop->Run([&](Replica& replica) {
      replica.SealNow();
      sealed.set_value();
    });
    sealed.get_future().wait();
    p.loop->Stop();
    p.workers.reset();
    // The backend's last sync still tells the log what it may drop.
    p.backend_writer.reset();
    p.log_writer.reset();
  }
  LogInfo("closed etcd server", {{"name", p.config.name}, {"data-dir", p.config.data_dir}});
  parts_.reset();
}

}  // namespace quorate::server
