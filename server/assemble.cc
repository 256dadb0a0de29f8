// The only file that knows all concrete types: builds a node from its configuration.

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/heap_sampler.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "consensus/raft.h"
#include "server/data_dir.h"
#include "server/force_new_cluster.h"
#include "server/http_endpoints.h"
#include "server/node_parts.h"
#include "server/peer_endpoints.h"
#include "server/replica_loop.h"
#include "transport/client.h"

namespace quorate::server {
namespace {

// With --snapshot-count's default this is the backend writer's own limit.
constexpr uint64_t kEntryBytesReckoned = 3400;
constexpr uint32_t kPeerCallThreads = 4;
constexpr int64_t kCheckpointInterval = 300 * kNanosPerSecond;  // etcd's
constexpr int64_t kHeapSampleBytes = 512 << 10;                 // Go's
constexpr uint64_t kOverheadBytes = 512 << 10;  // etcd's allowance above --max-request-bytes

transport::ServerOptions TransportOptions(const ServerConfig& config, const Clock* clock,
                                          transport::RpcObserver* observer) {
  transport::ServerOptions options;
  options.io_threads = config.io_threads;
  options.max_concurrent_streams = config.max_concurrent_streams;
  options.receive_message_bytes_max = config.request_bytes_max + kOverheadBytes;
  // JSON has bytes as base64, and blanks.
  options.http_body_bytes_max = 2 * options.receive_message_bytes_max;
  options.keepalive_interval_ns = config.keepalive_interval_ns;
  options.keepalive_timeout_ns = config.keepalive_timeout_ns;
  options.keepalive_min_time_ns = config.keepalive_min_time_ns;
  options.reuse_port = config.reuse_port;
  options.tls = config.tls.client;
  options.clock = clock;
  options.observer = observer;
  return options;
}

// http and https of one host and port share a socket.
void AddListener(transport::ListenAddress address, std::vector<transport::ListenAddress>* all) {
  for (transport::ListenAddress& other : *all) {
    if (other.host != address.host || other.port != address.port || other.port == 0 ||
        other.unix_path != address.unix_path || other.security == address.security) {
      continue;
    }
    other.security = transport::ListenAddress::Security::kBoth;
    return;
  }
  all->push_back(std::move(address));
}

absl::Status AddListeners(const std::vector<std::string>& urls, std::string_view flag,
                          transport::ListenAddress::Serve serve,
                          transport::ServerOptions* options) {
  for (const std::string& url : urls) {
    QR_ASSIGN_OR_RETURN(transport::ListenAddress address, ParseListenUrl(url, flag));
    address.serve = serve;
    AddListener(std::move(address), &options->listen);
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
  options.learners_max = config.learners_max;
  options.simple_token_ttl_ns = config.auth_token_ttl_ns;
  options.lessor.ttl_min_seconds =
      (3 * config.ElectionTimeoutNs() / 2 + kNanosPerSecond - 1) / kNanosPerSecond;
  return options;
}

consensus::ConfState ConfStateOf(const std::vector<etcdserverpb::Member>& members) {
  consensus::ConfState state;
  for (const etcdserverpb::Member& member : members) {
    (member.islearner() ? state.learners : state.voters).push_back(MemberId(member.id()));
  }
  return state;
}

}  // namespace

absl::Status Node::Parts::Bind() {
  using Serve = transport::ListenAddress::Serve;
  const bool split = !config.listen_client_http_urls.empty();
  BuildServices();
  if (config.tracing.has_value()) BuildTracing(*config.tracing);
  transport::ServerOptions options = TransportOptions(config, &clock, observer());
  if (config.gateway) {
    options.http_conversations = IsConversation;
    gateway = std::make_unique<Gateway>(
        Gateway::Parts{&context, &services, observer(), options.receive_message_bytes_max});
  }
  QR_RETURN_IF_ERROR(AddListeners(config.listen_client_urls, "listen-client-urls",
                                  split ? Serve::kGrpcOnly : Serve::kGrpcAndHttp, &options));
  QR_RETURN_IF_ERROR(AddListeners(config.listen_client_http_urls, "listen-client-http-urls",
                                  Serve::kHttpOnly, &options));
  QR_ASSIGN_OR_RETURN(
      client_transport,
      transport::CreateServerTransport(config.transport, options, &services,
                                       MakeClientHttpHandler(&context, &metrics, gateway.get())));
  const auto http_only = [&](const std::vector<std::string>& urls, std::string_view flag,
                             transport::HttpHandler handler,
                             std::unique_ptr<transport::ServerTransport>* out) -> absl::Status {
    transport::ServerOptions http = TransportOptions(config, &clock, nullptr);
    http.io_threads = 1;
    if (flag == "listen-peer-urls") http.tls = config.tls.peer;
    QR_RETURN_IF_ERROR(AddListeners(urls, flag, Serve::kHttpOnly, &http));
    QR_ASSIGN_OR_RETURN(
        *out, transport::CreateServerTransport("native", http, &services, std::move(handler)));
    return (*out)->Bind();
  };
  LogInfo("configuring peer listeners", {{"listen-peer-urls", config.listen_peer_urls}});
  // The links cannot say who they are before the data is open; that their ports are free is found
  // out before anything is touched.
  std::unique_ptr<transport::ServerTransport> probe;
  QR_RETURN_IF_ERROR(http_only(
      config.listen_peer_urls, "listen-peer-urls", [](auto, auto) {}, &probe));
  probe.reset();
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
  AddAuthService(&context, &services);
  AddClusterService(&context, &services);
  AddLockService(&context, &services);
  AddElectionService(&context, &services);
  AddHealthAndReflection(&context, &services);
  rpc_metrics = std::make_unique<RpcMetrics>(services);
}

void Node::Parts::BuildTracing(const TracingConfig& tracing) {
  SpanExporter::Options options;
  options.host = tracing.host;
  options.port = tracing.port;
  options.source = {.service_name = tracing.service_name,
                    .instance_id = tracing.instance_id,
                    .version = kQuorateVersion};
  for (const std::string& url : config.advertise_client_urls) {
    const auto address = transport::ParseEndpoint(url);
    if (!address.ok()) continue;  // a unix socket
    options.source.address = address->host;
    options.source.port = address->port;
    break;
  }
  spans = std::make_unique<SpanExporter>(std::move(options), &clock);
  rpc_tracing = std::make_unique<RpcTracing>(Sampler(tracing.sampling_rate), &clock,
                                             rpc_metrics.get(), spans.get());
  LogInfo("distributed tracing is on", {{"address", StrCat(tracing.host, ":", tracing.port)},
                                        {"service-name", tracing.service_name},
                                        {"instance-id", tracing.instance_id},
                                        {"sampling-rate", tracing.sampling_rate}});
}

transport::RpcObserver* Node::Parts::observer() const {
  if (rpc_tracing != nullptr) return rpc_tracing.get();
  return rpc_metrics.get();
}

absl::Status Node::Parts::OpenData() {
  QR_ASSIGN_OR_RETURN(allocator, CreateAllocator(config.allocator, config.allocator_options));
  if (config.enable_pprof) {
    HeapSampler::Start(kHeapSampleBytes);
    allocator = SampledAllocator(std::move(allocator));
  }
  QR_ASSIGN_OR_RETURN(data, OpenDataDir(config, PosixFileEnv(), allocator.get()));
  LogInfo("opened data directory", {{"path", config.data_dir},
                                    {"backend", config.backend},
                                    {"log-first-index", data.log->first_index().value()},
                                    {"log-last-index", data.log->last_index().value()}});
  MemberState::Options options;
  options.config = &config;
  options.env = PosixFileEnv();
  options.allocator = allocator.get();
  options.engine = EngineOptionsOf(config, allocator.get());
  options.clock = &clock;
  state = std::make_unique<MemberState>(options, std::move(data.backend));
  QR_RETURN_IF_ERROR(state->OpenEngine());
  if (!config.force_new_cluster) return absl::OkStatus();
  return ForceNewCluster(config, *state->engine(), data.log.get());
}

absl::Status Node::Parts::BuildLinks(std::function<void()> removed) {
  transport::PeerLinksOptions options;
  options.self = data.identity.member;
  options.cluster = data.identity.cluster;
  options.server_version = kEtcdVersion;
  options.advertise_urls = config.advertise_peer_urls;
  options.http_body_bytes_max = config.request_bytes_max + kOverheadBytes;
  options.clock = &clock;
  for (const std::string& url : config.listen_peer_urls) {
    QR_ASSIGN_OR_RETURN(transport::ListenAddress address, ParseListenUrl(url, "listen-peer-urls"));
    AddListener(std::move(address), &options.listen);
  }
  options.tls_listen = config.tls.peer;
  options.tls_dial = config.tls.peer_dial;
  peers = std::make_unique<ClusterPeers>(
      ClusterPeers::Options{data.identity, config.ElectionTimeoutNs(), std::move(removed)});
  links =
      std::make_unique<transport::PeerLinks>(options, peers.get(), MakePeerHttpHandler(&context));
  return links->Bind();
}

absl::Status Node::Parts::BuildRaft() {
  consensus::Config raft_config;
  raft_config.self = data.identity.member;
  raft_config.election_ticks = config.election_ticks;
  raft_config.pre_vote = config.pre_vote;
  raft_config.initial_election_tick_advance = config.initial_election_tick_advance;
  raft_config.tail_bytes_max =
      std::min(raft_config.tail_bytes_max, config.catchup_entries * kEntryBytesReckoned);
  consensus::InitialState initial;
  initial.hard_state = data.log->hard_state();
  initial.conf_state = ConfStateOf(state->engine()->members());
  initial.last_index = data.log->last_index();
  initial.applied = state->engine()->applied_index();
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
  state->engine()->SetHeader({data.identity.cluster, data.identity.member, raft->term()});
  engine::WatchHub::Options hub_options;
  hub_options.progress_interval_ns = config.watch_progress_interval_ns;
  hub_options.fragment_bytes = config.request_bytes_max + kOverheadBytes;
  hub = std::make_unique<engine::WatchHub>(hub_options, state->engine()->mutable_watch_store(),
                                           &streams, random->Next());
  ReplicaOptions replica_options;
  replica_options.batch_entries_max = config.batch_entries_max;
  replica_options.batch_bytes_max = config.batch_bytes_max;
  replica_options.batch_linger_ns = config.batch_linger_ns;
  replica_options.batch_pace_ns = config.batch_pace_ns;
  replica_options.seal_interval_ns = config.backend_commit_interval_ns;
  replica_options.compaction_steps = config.compaction_steps;
  replica_options.auto_compaction = config.auto_compaction;
  replica_options.election_timeout_ns = config.ElectionTimeoutNs();
  replica_options.request_timeout_ns = config.RequestTimeoutNs();
  const bool checkpoints = config.feature_gates.On("LeaseCheckpoint");
  if (checkpoints) replica_options.lease_checkpoint_interval_ns = kCheckpointInterval;
  replica_options.log_kept_for_peers_max = 10 * config.catchup_entries;
  // Counts on while nanoseconds go by: no two lives of a member use the same.
  replica_options.first_read_context = static_cast<uint64_t>(clock.WallNs());
  replica = std::make_unique<Replica>(replica_options, raft.get(), state->engine(), hub.get());
}

void Node::Parts::BuildLoops() {
  log_writer = std::make_unique<LogWriter>(
      data.log.get(), &clock,
      LogWriter::Events{
          [this](LogIndex index, Term term) { loop->Durable(index, term); },
          [this](std::vector<consensus::Message> messages) { peers->Send(std::move(messages)); },
          [this](LogIndex through) {
            loop->Run([through](Replica& r) { r.LogCompacted(through); });
          }});
  BackendWriter::Options writer_options;
  writer_options.sync_every_entries = config.snapshot_count;
  writer_options.sync_every_bytes =
      std::min(writer_options.sync_every_bytes, config.snapshot_count * kEntryBytesReckoned);
  writer_options.catchup_entries = config.catchup_entries;
  backend_writer = std::make_unique<BackendWriter>(
      writer_options, state->backend(), &clock,
      BackendWriter::Events{[this](uint64_t sequence) { loop->Flushed(sequence); },
                            [this](LogIndex through) { CutLog(through); }},
      state->engine()->applied_index());
  workers = std::make_unique<WorkerPool>(config.worker_threads);
  // One worker is left to others whatever happens.
  passwords = std::make_unique<PasswordWork>(
      PasswordWork::Options{.running_max = std::max(config.worker_threads, 2u) - 1}, workers.get());
  peer_calls = std::make_unique<PooledCaller>(kPeerCallThreads, config.tls.peer_dial);
  ReplicaLoop::Options loop_options;
  loop_options.tick_ns = config.tick_ns;
  loop_options.compaction_slice_ns = config.compaction_slice_ns;
  loop_options.warning_apply_ns = config.warning_apply_ns;
  loop_options.warning_unary_ns = config.warning_unary_ns;
  loop = std::make_unique<ReplicaLoop>(
      loop_options, ReplicaLoop::Parts{replica.get(), data.log.get(), log_writer.get(),
                                       backend_writer.get(), workers.get(), peers.get(), &clock});
}

// The backend needs the log no more up to `through`; a leader's peers may.
void Node::Parts::CutLog(LogIndex through) {
  {
    std::lock_guard lock(stop_mutex);
    if (stopping) {  // the replica does not answer any more
      log_writer->Submit({{}, std::nullopt, through, {}, std::nullopt});
      return;
    }
  }
  loop->Run([this, through](Replica& r) {
    log_writer->Submit({{}, std::nullopt, r.LogNotNeeded(through), {}, std::nullopt});
  });
}

void Node::Parts::ConnectServices() {
  ids = std::make_unique<IdGenerator>(data.identity.member, clock.WallNs());
  context = {
      &config,      &clock,           loop.get(),      backend_writer.get(), workers.get(),
      ids.get(),    peer_calls.get(), &leader_streams, &peer_counters,       data.identity.member,
      tokens.get(), passwords.get()};
  peers->Connect({links.get(), state.get(), log_writer.get(), backend_writer.get(), loop.get(),
                  &leader_streams, &peer_counters, &clock},
                 *state->engine(), data.known);
  version_monitor = std::make_unique<VersionMonitor>(&context);
  CorruptionMonitor::Options checks;
  checks.periodic_interval_ns = config.corrupt_check_interval_ns;
  if (config.feature_gates.On("CompactHashCheck")) {
    checks.compaction_interval_ns = config.compact_hash_check_interval_ns;
  }
  corruption_monitor = std::make_unique<CorruptionMonitor>(checks, &context);
  metrics.config = &config;
  metrics.member = data.identity.member;
  metrics.rpc = rpc_metrics.get();
  metrics.spans = spans.get();
  metrics.loop = loop.get();
  metrics.log_writer = log_writer.get();
  metrics.backend_writer = backend_writer.get();
  metrics.log = data.log.get();
  metrics.allocator = allocator.get();
  metrics.transport_stats = [this] { return client_transport->stats(); };
  metrics.peer_counters = &peer_counters;
  metrics.profiler = profiler.get();
  metrics.peer_stats = [this] { return links->stats(); };
}

absl::StatusOr<std::unique_ptr<Node>> Node::Open(const ServerConfig& config,
                                                 std::function<void()> removed) {
  QR_RETURN_IF_ERROR(CheckNames(config));
  ServerConfig ready = config;
  QR_RETURN_IF_ERROR(LoadTls(&ready));
  auto parts = std::make_unique<Parts>(ready);
  Tokens::Options token_options;
  token_options.spec = config.auth_token;
  if (config.client_cert_auth) token_options.certificates = Tokens::Certificates::kName;
  QR_ASSIGN_OR_RETURN(parts->tokens, Tokens::Create(token_options, &parts->clock));
  if (config.enable_pprof) {
    QR_ASSIGN_OR_RETURN(parts->profiler, CpuProfiler::Load());
  }
  QR_RETURN_IF_ERROR(parts->Bind());
  if (ready.memory_lock && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    return absl::FailedPreconditionError(
        "--memory-mlock: the system does not allow it; raise the memlock limit or drop the flag");
  }
  QR_RETURN_IF_ERROR(parts->OpenData());
  QR_RETURN_IF_ERROR(parts->BuildLinks(std::move(removed)));
  QR_RETURN_IF_ERROR(parts->BuildRaft());
  parts->BuildReplica();
  if (!parts->data.fresh && config.feature_gates.On("InitialCorruptCheck")) {
    QR_RETURN_IF_ERROR(CheckHistoryAtStart(config, *parts->state->engine()));
  }
  parts->BuildLoops();
  parts->ConnectServices();
  return std::unique_ptr<Node>(new Node(std::move(parts)));
}

}  // namespace quorate::server
