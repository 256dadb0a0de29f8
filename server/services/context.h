// What every service needs: the way into the replica, limits, and the request id generator.
// Services run on transport threads: they parse, check and hand over; answers come back on the
// replica's or a worker's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/auth/auth_store.h"
#include "engine/engine.h"
#include "google/protobuf/message.h"
#include "proto/raft_internal.pb.h"
#include "server/backend_writer.h"
#include "server/config.h"
#include "server/http_client.h"
#include "server/peer_counters.h"
#include "server/replica_loop.h"
#include "server/services/leader_streams.h"
#include "server/worker_pool.h"
#include "transport/rpc.h"

namespace quorate::server {

class PasswordWork;
class Tokens;

using CallPtr = std::shared_ptr<transport::ServerCall>;

// etcd's generator: 16 low bits of the member id, 40 bits of the start's milliseconds, 8 bits of
// room; then one more each time. Used for request ids and for lease ids chosen here.
class IdGenerator {
 public:
  IdGenerator(MemberId member, int64_t wall_ns);
  uint64_t Next() { return next_.fetch_add(1, std::memory_order_relaxed) + 1; }

 private:
  std::atomic<uint64_t> next_;
};

struct ServiceContext {
  const ServerConfig* config = nullptr;
  const Clock* clock = nullptr;
  ReplicaLoop* loop = nullptr;
  BackendWriter* backend_writer = nullptr;
  WorkerPool* workers = nullptr;
  IdGenerator* ids = nullptr;
  HttpCaller* peer_calls = nullptr;
  LeaderStreams* leader_streams = nullptr;
  PeerCounters* peer_counters = nullptr;
  MemberId member;
  const Tokens* tokens = nullptr;  // not asked before auth is on
  PasswordWork* passwords = nullptr;

  // Bytes that count against --quota-backend-bytes: the backend's and what waits to be flushed.
  uint64_t SizeForQuota() const;
};

transport::RpcStatus ToStatus(const engine::Error& error);
// Sends the reply of a unary call.
void Answer(transport::ServerCall& call, engine::Reply reply);
void Fail(transport::ServerCall& call, const engine::Error& error);

// Parses a request or fails the call as grpc-go does for bytes that are no such message, with its
// words: those for a unary call, or for a message of a stream.
enum class RequestOf { kUnary, kStream };
bool ParseOrFail(transport::ServerCall& call, const Bytes& bytes,
                 google::protobuf::Message* request, RequestOf of = RequestOf::kUnary);

// Field numbers of InternalRaftRequest, for wrapping a request's bytes untouched.
enum class RaftField : uint32_t {
  kPut = 4,
  kDeleteRange = 5,
  kTxn = 6,
  kCompaction = 7,
  kLeaseGrant = 8,
  kLeaseRevoke = 9,
  kAlarm = 10,
  kAuthEnable = 1000,
  kAuthDisable = 1011,
  kAuthenticate = 1012,
  kAuthStatus = 1013,
  kAuthUserAdd = 1100,
  kAuthUserDelete = 1101,
  kAuthUserGet = 1102,
  kAuthUserChangePassword = 1103,
  kAuthUserGrantRole = 1104,
  kAuthUserRevokeRole = 1105,
  kAuthUserList = 1106,
  kAuthRoleList = 1107,
  kAuthRoleAdd = 1200,
  kAuthRoleDelete = 1201,
  kAuthRoleGet = 1202,
  kAuthRoleGrantPermission = 1203,
  kAuthRoleRevokePermission = 1204,
  kDowngradeInfoSet = 1302,
};
// InternalRaftRequest.header: an id, and who asks (nobody while auth is off).
struct RaftHeader {
  uint64_t id;
  engine::Identity identity;
};
Bytes WrapRequest(RaftField field, std::string_view request, const RaftHeader& header);

// True when a request of this cost may go on; else the call is refused with NOSPACE and the alarm
// raised through the log.
bool WithinQuota(ServiceContext& context, transport::ServerCall& call, uint64_t cost);

// Wraps the bytes of a request with who asks, proposes them, and answers `call` with what applying
// them gives. Refuses (no valid token, too large, too many) by failing the call. Any thread.
void ProposeFor(ServiceContext& context, CallPtr call, RaftField field, Bytes request);
// The same with a hand-made continuation instead of the plain answer.
using Proposed = absl::AnyInvocable<void(engine::Reply)>;
void ProposeThen(ServiceContext& context, CallPtr call, RaftField field, Bytes request,
                 Proposed done);
// For what is open to all, whoever asks.
void ProposeAsNobody(ServiceContext& context, const CallPtr& call, RaftField field,
                     const Bytes& request, Proposed done);
// Whoever may: what hangs on the caller's rights is read by ReadAs (services/gate.h). Runs `run` at
// a linearizable or local read point; fails the call when that cannot be.
void ReadFor(ServiceContext& context, CallPtr call, Read::Consistency consistency,
             absl::AnyInvocable<void(engine::Engine&)> run);
// Runs a long read on a worker and answers the call.
void RunJob(ServiceContext& context, CallPtr call, std::unique_ptr<engine::ReadJob> job);

// Fills etcd's response header at the engine's present state.
void FillHeader(const engine::Engine& engine, etcdserverpb::ResponseHeader* header);

// A learner serves nothing but what says nothing of the present: others refuse at once.
enum class OnLearner { kRefused, kServed };

class WatchStreams;

struct UnaryMethod {
  const char* name;
  void (*handler)(ServiceContext&, CallPtr, Bytes request);
  OnLearner on_learner = OnLearner::kRefused;
};
// Refuses a call (by ending it; false) on a learner that does not serve it, and without a leader
// one that requires it.
bool Admit(ServiceContext& context, transport::ServerCall& call,
           OnLearner on_learner = OnLearner::kRefused);
// The same for a stream that just opened; keeps those in mind that have to end when the leader is
// gone for long.
bool AdmitStream(ServiceContext& context, const CallPtr& call,
                 OnLearner on_learner = OnLearner::kRefused);
// What the gate (services/gate.h) asks for is asked before a handler is called.
void AddUnaryMethods(ServiceContext* context, std::string_view service,
                     std::initializer_list<UnaryMethod> methods, transport::ServiceTable* table);

// Each adds its methods to the table; `context` outlives the table.
void AddKvService(ServiceContext* context, transport::ServiceTable* table);
void AddWatchService(ServiceContext* context, WatchStreams* streams,
                     transport::ServiceTable* table);
void AddLeaseService(ServiceContext* context, transport::ServiceTable* table);
void AddMaintenanceService(ServiceContext* context, transport::ServiceTable* table);
void AddAuthService(ServiceContext* context, transport::ServiceTable* table);
void AddClusterService(ServiceContext* context, transport::ServiceTable* table);
// Made of the ones above, which have to be in the table when a call comes.
void AddLockService(ServiceContext* context, transport::ServiceTable* table);
void AddElectionService(ServiceContext* context, transport::ServiceTable* table);
void AddHealthAndReflection(ServiceContext* context, transport::ServiceTable* table);

}  // namespace quorate::server
