#include "server/services/context.h"

#include <utility>

#include "base/text.h"
#include "engine/errors.h"
#include "server/request_id.h"

namespace quorate::server {
namespace {

size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++bytes;
  }
  return bytes;
}

char* PutVarint(char* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

constexpr uint32_t kHeaderTag = 100 << 3 | 2;  // InternalRaftRequest.header
constexpr uint32_t kHeaderIdTag = 1 << 3;      // RequestHeader.ID

}  // namespace

IdGenerator::IdGenerator(MemberId member, int64_t wall_ns) {
  const uint64_t milliseconds = static_cast<uint64_t>(wall_ns / kNanosPerMilli);
  next_ = (member.value() & 0xffff) << 48 | (milliseconds & 0xffffffffff) << 8;
}

uint64_t ServiceContext::SizeForQuota() const {
  return backend_writer->sizes().on_disk +
         loop->counters().window_bytes.load(std::memory_order_relaxed);
}

transport::RpcStatus ToStatus(const engine::Error& error) {
  return {static_cast<transport::RpcCode>(error.code), error.message};
}

void Answer(transport::ServerCall& call, engine::Reply reply) {
  if (reply.error.ok()) {
    call.Reply(Bytes::FromString(std::move(reply.body)));
  } else {
    call.Finish(ToStatus(reply.error));
  }
}

void Fail(transport::ServerCall& call, const engine::Error& error) { call.Finish(ToStatus(error)); }

Bytes WrapRequest(RaftField field, std::string_view request, uint64_t id) {
  const uint32_t tag = static_cast<uint32_t>(field) << 3 | 2;
  const size_t header_bytes = 1 + VarintBytes(id);
  const size_t total = VarintBytes(tag) + VarintBytes(request.size()) + request.size() +
                       VarintBytes(kHeaderTag) + VarintBytes(header_bytes) + header_bytes;
  char* out;
  Bytes bytes = Bytes::Allocate(total, &out);
  const char* const end = out + total;
  out = PutVarint(out, tag);
  out = PutVarint(out, request.size());
  memcpy(out, request.data(), request.size());
  out += request.size();
  out = PutVarint(out, kHeaderTag);
  out = PutVarint(out, header_bytes);
  out = PutVarint(out, kHeaderIdTag);
  out = PutVarint(out, id);
  QR_CHECK(out == end);
  return bytes;
}

bool WithinQuota(ServiceContext& context, transport::ServerCall& call, uint64_t cost) {
  if (cost == 0 || context.config->quota_bytes == 0) return true;
  if (context.SizeForQuota() + cost < static_cast<uint64_t>(context.config->quota_bytes)) {
    return true;
  }
  etcdserverpb::AlarmRequest alarm;
  alarm.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  alarm.set_memberid(context.member.value());
  alarm.set_alarm(etcdserverpb::NOSPACE);
  Proposal proposal;
  proposal.payload = WrapRequest(RaftField::kAlarm, alarm.SerializeAsString(), context.ids->Next());
  context.loop->Propose(std::move(proposal));
  Fail(call, engine::errors::kNoSpace);
  return false;
}

namespace {

engine::Error Refusal(const ServiceContext& context, const transport::ServerCall& call,
                      OnLearner on_learner) {
  const ReplicaLoop::Counters& counters = context.loop->counters();
  if (on_learner == OnLearner::kRefused && counters.learner.load(std::memory_order_relaxed)) {
    return engine::errors::kNotSupportedForLearner;
  }
  if (counters.leader.load(std::memory_order_relaxed) == 0 && RequiresLeader(call)) {
    return engine::errors::kNoLeader;
  }
  return {};
}

}  // namespace

bool Admit(ServiceContext& context, transport::ServerCall& call, OnLearner on_learner) {
  const engine::Error refusal = Refusal(context, call, on_learner);
  if (!refusal.ok()) Fail(call, refusal);
  return refusal.ok();
}

bool AdmitStream(ServiceContext& context, const CallPtr& call, OnLearner on_learner) {
  if (!Admit(context, *call, on_learner)) return false;
  context.leader_streams->Add(call);
  return true;
}

void AddUnaryMethods(ServiceContext* context, std::string_view service,
                     std::initializer_list<UnaryMethod> methods, transport::ServiceTable* table) {
  for (const UnaryMethod& unary : methods) {
    transport::Method method;
    method.path = StrCat("/", service, "/", unary.name);
    method.unary = [context, unary](CallPtr call, Bytes request) {
      const engine::Error refusal = Refusal(*context, *call, unary.on_learner);
      if (!refusal.ok()) return Fail(*call, refusal);
      unary.handler(*context, std::move(call), std::move(request));
    };
    table->Add(std::move(method));
  }
}

void ProposeThen(ServiceContext& context, CallPtr call, Bytes payload,
                 absl::AnyInvocable<void(engine::Reply)> done) {
  if (payload.size() > context.config->request_bytes_max) {
    return Fail(*call, engine::errors::kRequestTooLarge);
  }
  const int64_t now_ns = context.clock->MonotonicNs();
  Proposal proposal;
  proposal.id = RequestIdOf(EntryType::kNormal, payload.view());
  proposal.payload = std::move(payload);
  proposal.waiter.done = std::move(done);
  proposal.waiter.deadline_ns = now_ns + context.config->RequestTimeoutNs();
  proposal.waiter.stamps.Stamp(Stage::kReceived, call->received_ns());
  proposal.waiter.stamps.Stamp(Stage::kQueued, now_ns);
  if (!context.loop->Propose(std::move(proposal))) {
    Fail(*call, engine::errors::kTooManyRequests);
  }
}

void ProposeFor(ServiceContext& context, CallPtr call, Bytes payload) {
  ProposeThen(context, call, std::move(payload),
              [call](engine::Reply reply) { Answer(*call, std::move(reply)); });
}

void ReadFor(ServiceContext& context, CallPtr call, Read::Consistency consistency,
             absl::AnyInvocable<void(engine::Engine&)> run) {
  Read read;
  read.consistency = consistency;
  read.run = std::move(run);
  read.fail = [call](engine::Error error) { Fail(*call, error); };
  read.deadline_ns = context.clock->MonotonicNs() + context.config->RequestTimeoutNs();
  if (!context.loop->ReadState(std::move(read))) Fail(*call, engine::errors::kTooManyRequests);
}

void RunJob(ServiceContext& context, CallPtr call, std::unique_ptr<engine::ReadJob> job) {
  context.workers->Submit(
      [call = std::move(call), job = std::move(job)] { Answer(*call, job->Run()); });
}

void FillHeader(const engine::Engine& engine, etcdserverpb::ResponseHeader* header) {
  header->set_cluster_id(engine.header().cluster.value());
  header->set_member_id(engine.header().member.value());
  header->set_raft_term(engine.header().term.value());
  header->set_revision(engine.current_revision());
}

}  // namespace quorate::server
