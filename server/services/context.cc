#include "server/services/context.h"

#include <utility>

#include "base/text.h"
#include "engine/errors.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "server/request_id.h"
#include "server/services/gate.h"

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

constexpr int kMessageDepthMax = 100;  // the parser's

// Whether the bytes are fields, in messages within too, whatever is wrong with their texts.
bool AreFields(std::string_view bytes, const google::protobuf::Descriptor& type, int depth_left) {
  google::protobuf::UnknownFieldSet fields;
  if (depth_left == 0 || !fields.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return false;
  }
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    const google::protobuf::FieldDescriptor* known = type.FindFieldByNumber(field.number());
    if (known == nullptr || known->message_type() == nullptr ||
        field.type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED) {
      continue;
    }
    if (!AreFields(field.length_delimited(), *known->message_type(), depth_left - 1)) return false;
  }
  return true;
}

constexpr uint32_t kHeaderTag = 100 << 3 | 2;  // InternalRaftRequest.header
constexpr uint32_t kHeaderIdTag = 1 << 3;      // RequestHeader.ID
constexpr uint32_t kHeaderUserTag = 2 << 3 | 2;
constexpr uint32_t kHeaderRevisionTag = 3 << 3;

size_t HeaderBytes(const RaftHeader& header) {
  size_t bytes = 1 + VarintBytes(header.id);
  const std::string& user = header.identity.username;
  if (!user.empty()) bytes += 1 + VarintBytes(user.size()) + user.size();
  const uint64_t revision = header.identity.auth_revision;
  if (revision != 0) bytes += 1 + VarintBytes(revision);
  return bytes;
}

char* PutBytes(char* out, std::string_view bytes) {
  out = PutVarint(out, bytes.size());
  memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

char* PutHeader(char* out, const RaftHeader& header) {
  out = PutVarint(PutVarint(out, kHeaderIdTag), header.id);
  const std::string& user = header.identity.username;
  if (!user.empty()) out = PutBytes(PutVarint(out, kHeaderUserTag), user);
  const uint64_t revision = header.identity.auth_revision;
  if (revision != 0) out = PutVarint(PutVarint(out, kHeaderRevisionTag), revision);
  return out;
}

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

bool ParseOrFail(transport::ServerCall& call, const Bytes& bytes,
                 google::protobuf::Message* request, RequestOf of) {
  if (request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return true;
  const bool texts_alone = AreFields(std::string_view(bytes.data(), bytes.size()),
                                     *request->GetDescriptor(), kMessageDepthMax);
  call.Finish({transport::RpcCode::kInternal,
               StrCat(of == RequestOf::kUnary ? "grpc: error unmarshalling request: "
                                              : "grpc: failed to unmarshal the received message: ",
                      texts_alone ? "string field contains invalid UTF-8"
                                  : "proto: cannot parse invalid wire-format data")});
  return false;
}

Bytes WrapRequest(RaftField field, std::string_view request, const RaftHeader& header) {
  const uint32_t tag = static_cast<uint32_t>(field) << 3 | 2;
  const size_t header_bytes = HeaderBytes(header);
  const size_t total = VarintBytes(tag) + VarintBytes(request.size()) + request.size() +
                       VarintBytes(kHeaderTag) + VarintBytes(header_bytes) + header_bytes;
  char* out;
  Bytes bytes = Bytes::Allocate(total, &out);
  const char* const end = out + total;
  out = PutBytes(PutVarint(out, tag), request);
  out = PutVarint(PutVarint(out, kHeaderTag), header_bytes);
  out = PutHeader(out, header);
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
  proposal.payload =
      WrapRequest(RaftField::kAlarm, alarm.SerializeAsString(), {context.ids->Next(), {}});
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
    method.unary = [context, unary, access = AccessTo(method.path)](CallPtr call, Bytes request) {
      const engine::Error refusal = Refusal(*context, *call, unary.on_learner);
      if (!refusal.ok()) return Fail(*call, refusal);
      if (access == Access::kAtState) {
        return unary.handler(*context, std::move(call), std::move(request));
      }
      Permit(*context, call, access,
             [context, unary, call, request = std::move(request)]() mutable {
               unary.handler(*context, std::move(call), std::move(request));
             });
    };
    table->Add(std::move(method));
  }
}

namespace {

void Submit(ServiceContext& context, const CallPtr& call, Bytes payload, Proposed done) {
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

}  // namespace

void ProposeAsNobody(ServiceContext& context, const CallPtr& call, RaftField field,
                     const Bytes& request, Proposed done) {
  Submit(context, call, WrapRequest(field, request.view(), {context.ids->Next(), {}}),
         std::move(done));
}

void ProposeThen(ServiceContext& context, CallPtr call, RaftField field, Bytes request,
                 Proposed done) {
  if (!AuthIsOn(context)) {
    return ProposeAsNobody(context, call, field, request, std::move(done));
  }
  IdentifyCaller(context, call,
                 [&context, call, field, request = std::move(request), done = std::move(done)](
                     const engine::Identity& identity, const engine::Engine&) mutable {
                   Submit(context, call,
                          WrapRequest(field, request.view(), {context.ids->Next(), identity}),
                          std::move(done));
                 });
}

void ProposeFor(ServiceContext& context, CallPtr call, RaftField field, Bytes request) {
  ProposeThen(context, call, field, std::move(request),
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
