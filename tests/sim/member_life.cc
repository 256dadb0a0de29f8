#include "tests/sim/member_life.h"

#include <algorithm>
#include <utility>

#include "base/status_util.h"
#include "base/text.h"
#include "server/peer_endpoints.h"

namespace quorate::sim {
namespace {

constexpr uint64_t kOverheadBytes = 512 << 10;

engine::EngineOptions EngineOptionsOf(const server::ServerConfig& config, Allocator* allocator) {
  engine::EngineOptions options;
  options.allocator = allocator;
  options.chunk_bytes = std::min<uint64_t>(options.chunk_bytes, config.window_bytes_max / 4);
  options.window_bytes_max = config.window_bytes_max;
  options.request_bytes_max = config.request_bytes_max;
  options.txn_ops_max = config.txn_ops_max;
  const int64_t election_ns = config.tick_ns * config.election_ticks;
  options.lessor.ttl_min_seconds = (3 * election_ns / 2 + kNanosPerSecond - 1) / kNanosPerSecond;
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

absl::StatusOr<std::unique_ptr<MemberLife>> MemberLife::Open(const Inputs& inputs) {
  std::unique_ptr<MemberLife> life(new MemberLife(inputs));
  QR_RETURN_IF_ERROR(life->Build());
  return life;
}

MemberLife::~MemberLife() {
  ending_ = true;
  // Work that is thrown away may still speak to the loop.
  if (loop_ != nullptr) loop_->Stop();
  workers_.reset();
}

absl::Status MemberLife::Build() {
  const server::ServerConfig& config = *inputs_.config;
  QR_ASSIGN_OR_RETURN(allocator_, CreateAllocator(config.allocator, config.allocator_options));
  QR_ASSIGN_OR_RETURN(data_, server::OpenDataDir(config, inputs_.files, allocator_.get()));
  server::MemberState::Options options;
  options.config = inputs_.config;
  options.env = inputs_.files;
  options.allocator = allocator_.get();
  options.engine = EngineOptionsOf(config, allocator_.get());
  options.clock = inputs_.clock;
  options.failed = [this](std::string_view, const absl::Status& status) {
    inputs_.disk_failed(status);
  };
  state_ = std::make_unique<server::MemberState>(options, std::move(data_.backend));
  QR_RETURN_IF_ERROR(state_->OpenEngine());
  QR_RETURN_IF_ERROR(BuildRaft());
  BuildReplica();
  BuildLoops();
  BuildServices();
  return absl::OkStatus();
}

absl::Status MemberLife::BuildRaft() {
  const server::ServerConfig& config = *inputs_.config;
  consensus::Config raft_config = *inputs_.raft;
  raft_config.self = data_.identity.member;
  raft_config.election_ticks = config.election_ticks;
  raft_config.pre_vote = config.pre_vote;
  raft_config.initial_election_tick_advance = config.initial_election_tick_advance;
  consensus::InitialState initial;
  initial.hard_state = data_.log->hard_state();
  initial.conf_state = ConfStateOf(state_->engine()->members());
  initial.last_index = data_.log->last_index();
  initial.applied = state_->engine()->applied_index();
  QR_ASSIGN_OR_RETURN(initial.entries, server::EntriesAfter(*data_.log, initial.applied));
  initial.term_before_entries = data_.log->TermAt(initial.applied).value_or(Term(0));
  if (initial.applied == LogIndex(0)) {
    for (const Entry& entry : initial.entries) {
      if (entry.type == EntryType::kNormal || entry.index > initial.hard_state.commit) continue;
      QR_ASSIGN_OR_RETURN(const consensus::ConfChange change,
                          consensus::DecodeConfChange(entry.type, entry.data));
      QR_ASSIGN_OR_RETURN(initial.conf_state, consensus::ChangeConf(initial.conf_state, change));
    }
  }
  raft_ = std::make_unique<consensus::Raft>(raft_config, std::move(initial), &random_);
  return absl::OkStatus();
}

void MemberLife::BuildReplica() {
  const server::ServerConfig& config = *inputs_.config;
  state_->engine()->SetHeader({data_.identity.cluster, data_.identity.member, raft_->term()});
  engine::WatchHub::Options hub_options;
  hub_options.progress_interval_ns = config.watch_progress_interval_ns;
  hub_options.fragment_bytes = config.request_bytes_max + kOverheadBytes;
  hub_ = std::make_unique<engine::WatchHub>(hub_options, state_->engine()->mutable_watch_store(),
                                            &streams_, random_.Next());
  server::ReplicaOptions options;
  options.batch_entries_max = config.batch_entries_max;
  options.batch_bytes_max = config.batch_bytes_max;
  options.batch_linger_ns = config.batch_linger_ns;
  options.batch_pace_ns = config.batch_pace_ns;
  options.seal_interval_ns = config.backend_commit_interval_ns;
  options.compaction_steps = config.compaction_steps;
  options.request_timeout_ns = config.RequestTimeoutNs();
  options.log_kept_for_peers_max = 10 * config.catchup_entries;
  options.election_timeout_ns = config.tick_ns * config.election_ticks;
  options.first_read_context = inputs_.number << 32;
  replica_ = std::make_unique<server::Replica>(options, raft_.get(), state_->engine(), hub_.get());
  replica_->ObserveApply(inputs_.applied);
}

void MemberLife::BuildLoops() {
  const server::ServerConfig& config = *inputs_.config;
  log_writer_ = std::make_unique<server::LogWriter>(
      data_.log.get(), inputs_.clock,
      server::LogWriter::Events{[this](LogIndex index, Term term) { loop_->Durable(index, term); },
                                [this](std::vector<consensus::Message> messages) {
                                  // What they promise is on disk, also when the next thing that is
                                  // done there fails.
                                  inputs_.synced(data_.log->last_index());
                                  inputs_.peers->Send(std::move(messages));
                                },
                                [this](LogIndex through) {
                                  loop_->Run([through](server::Replica& replica) {
                                    replica.LogCompacted(through);
                                  });
                                }});
  server::BackendWriter::Options writer_options;
  writer_options.sync_every_entries = config.snapshot_count;
  writer_options.sync_every_bytes = config.snapshot_count * 100;
  writer_options.catchup_entries = config.catchup_entries;
  backend_writer_ = std::make_unique<server::BackendWriter>(
      writer_options, state_->backend(), inputs_.clock,
      server::BackendWriter::Events{[this](uint64_t sequence) { loop_->Flushed(sequence); },
                                    [this](LogIndex through) { CutLog(through); }},
      state_->engine()->applied_index());
  const auto failed = [this](std::string_view, const absl::Status& status) {
    inputs_.disk_failed(status);
  };
  log_writer_->OnFailure(failed);
  backend_writer_->OnFailure(failed);
  workers_ = std::make_unique<server::WorkerPool>(0);
  server::ReplicaLoop::Options loop_options;
  loop_options.tick_ns = config.tick_ns;
  loop_options.compaction_slice_ns = config.compaction_slice_ns;
  loop_options.warning_apply_ns = INT64_MAX;
  loop_options.warning_unary_ns = INT64_MAX;
  loop_ = std::make_unique<server::ReplicaLoop>(
      loop_options, server::ReplicaLoop::Parts{replica_.get(), data_.log.get(), log_writer_.get(),
                                               backend_writer_.get(), workers_.get(), inputs_.peers,
                                               inputs_.clock});
}

// The backend needs the log no more up to `through`; a leader's peers may.
void MemberLife::CutLog(LogIndex through) {
  if (ending_) return;
  loop_->Run([this, through](server::Replica& replica) {
    log_writer_->Submit({{}, std::nullopt, replica.LogNotNeeded(through), {}, std::nullopt});
  });
}

void MemberLife::BuildServices() {
  ids_ = std::make_unique<server::IdGenerator>(data_.identity.member, inputs_.clock->WallNs());
  context_.config = inputs_.config;
  context_.clock = inputs_.clock;
  context_.loop = loop_.get();
  context_.backend_writer = backend_writer_.get();
  context_.workers = workers_.get();
  context_.ids = ids_.get();
  context_.peer_calls = inputs_.http;
  context_.leader_streams = &leader_streams_;
  context_.peer_counters = &peer_counters_;
  context_.member = data_.identity.member;
  peer_http_ = server::MakePeerHttpHandler(&context_);
  server::AddKvService(&context_, &services_);
  server::AddWatchService(&context_, &streams_, &services_);
  server::AddLeaseService(&context_, &services_);
  server::AddMaintenanceService(&context_, &services_);
  server::AddClusterService(&context_, &services_);
  server::AddAuthService(&context_, &services_);
}

}  // namespace quorate::sim
