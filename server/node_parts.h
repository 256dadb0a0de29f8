// What a Node is made of. assemble.cc puts it together, node.cc runs it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "server/auth/password_work.h"
#include "server/auth/tokens.h"
#include "server/cluster_peers.h"
#include "server/corruption_monitor.h"
#include "server/data_dir.h"
#include "server/gateway/gateway.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/services/context.h"
#include "server/services/watch_streams.h"
#include "server/tracing/rpc_tracing.h"
#include "server/tracing/span_exporter.h"
#include "server/version_monitor.h"
#include "transport/peer/peer_links.h"
#include "transport/server.h"

namespace quorate::server {

// Asks other members, each question on a thread that may wait.
class PooledCaller final : public HttpCaller {
 public:
  PooledCaller(uint32_t threads, std::shared_ptr<transport::TlsContext> tls)
      : tls_(std::move(tls)), pool_(threads) {}
  void Call(HttpCall call, std::function<void(absl::StatusOr<HttpAnswer>)> done) override {
    call.tls = tls_;
    pool_.Submit([call = std::move(call), done = std::move(done)] { done(CallHttp(call)); });
  }

 private:
  const std::shared_ptr<transport::TlsContext> tls_;
  WorkerPool pool_;
};

// Members in order of construction; destruction goes the other way round.
struct Node::Parts {
  explicit Parts(const ServerConfig& node_config) : config(node_config) {}

  // --- assemble.cc
  absl::Status Bind();
  absl::Status OpenData();
  absl::Status BuildLinks(std::function<void()> removed);
  absl::Status BuildRaft();
  void BuildReplica();
  void BuildLoops();
  void ConnectServices();
  void BuildServices();
  void BuildTracing(const TracingConfig& tracing);
  // What the client port tells of its calls.
  transport::RpcObserver* observer() const;
  void CutLog(LogIndex through);

  // --- node.cc
  // Until it worked; false = this node stops first.
  bool Publish();
  bool ProposeAndWait(const etcdserverpb::InternalRaftRequest& request);
  void ServeClients();
  void HandOverLead();

  const ServerConfig config;
  SystemClock clock;
  std::unique_ptr<Allocator> allocator;
  DataDir data;
  std::unique_ptr<Random> random;
  std::unique_ptr<MemberState> state;
  std::unique_ptr<consensus::Raft> raft;
  WatchStreams streams;
  LeaderStreams leader_streams;
  std::unique_ptr<engine::WatchHub> hub;
  std::unique_ptr<Replica> replica;
  PeerCounters peer_counters;
  std::unique_ptr<ClusterPeers> peers;
  std::unique_ptr<LogWriter> log_writer;
  std::unique_ptr<BackendWriter> backend_writer;
  std::unique_ptr<WorkerPool> workers;
  std::unique_ptr<PooledCaller> peer_calls;
  std::unique_ptr<ReplicaLoop> loop;
  std::unique_ptr<IdGenerator> ids;
  std::unique_ptr<Tokens> tokens;
  std::unique_ptr<PasswordWork> passwords;
  ServiceContext context;
  transport::ServiceTable services;
  std::unique_ptr<RpcMetrics> rpc_metrics;
  std::unique_ptr<SpanExporter> spans;  // with --enable-distributed-tracing, as ...
  std::unique_ptr<RpcTracing> rpc_tracing;
  MetricsSources metrics;
  std::unique_ptr<CpuProfiler> profiler;  // may be null
  std::unique_ptr<Gateway> gateway;       // null: switched off
  std::unique_ptr<transport::ServerTransport> client_transport;
  std::unique_ptr<transport::ServerTransport> metrics_transport;  // may be null
  std::unique_ptr<transport::PeerLinks> links;
  std::unique_ptr<VersionMonitor> version_monitor;
  std::unique_ptr<CorruptionMonitor> corruption_monitor;

  // --- life cycle (node.cc)
  std::thread publisher;
  std::mutex stop_mutex;
  std::condition_variable stop_wake;
  bool stopping = false;
};

}  // namespace quorate::server
