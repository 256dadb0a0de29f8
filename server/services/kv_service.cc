// etcdserverpb.KV: checks, then the log for writes and a read point for reads. Large ranges leave
// as a MessageSource: the index is walked in slices on the replica thread, values are fetched and
// encoded on workers, and only as far ahead as the stream's window is open.

#include <utility>

#include "engine/auth/request_checks.h"
#include "proto/etcdserverpb.pb.h"
#include "server/services/context.h"
#include "server/services/gate.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Error;
using engine::Identity;
using engine::Reply;

// Of a large range: what the replica's step collects and a worker encodes at a time. Small, so that
// neither holds up what is short.
constexpr uint64_t kSliceBytesMax = 64 << 10;
// RangeStream sends on while less than this is queued on the stream.
constexpr size_t kStreamQueueBytes = 1 << 20;

class RangeSource final : public transport::MessageSource {
 public:
  RangeSource(ServiceContext* context, std::unique_ptr<engine::RangeCursor> cursor)
      : context_(context), size_(cursor->total_bytes()), cursor_(std::move(cursor)) {}
  // The cursor's pin belongs to the replica thread.
  ~RangeSource() override {
    context_->loop->Run([cursor = std::move(cursor_)](Replica&) {});
  }
  uint64_t size() const override { return size_; }

  void Pull(size_t max_bytes, std::function<void(absl::StatusOr<Bytes>)> done) override {
    if (!rest_.empty()) return done(TakeRest(max_bytes));
    const uint64_t bytes = std::min<uint64_t>(max_bytes, kSliceBytesMax);
    context_->loop->Run([this, context = context_, cursor = cursor_, bytes, max_bytes,
                         done = std::move(done)](Replica&) mutable {
      std::shared_ptr<engine::RangeCursor::Slice> slice = cursor->NextSlice(bytes);
      context->workers->Submit([this, slice = std::move(slice), max_bytes, done = std::move(done)] {
        if (slice == nullptr) return done(absl::InternalError("range ended before its size"));
        absl::StatusOr<std::string> encoded = slice->Encode();
        if (!encoded.ok()) return done(encoded.status());
        rest_ = Bytes::FromString(*std::move(encoded));
        done(TakeRest(max_bytes));
      });
    });
  }

 private:
  ServiceContext* const context_;
  // A slice ends with a whole pair and may be longer than was asked for.
  Bytes TakeRest(size_t max_bytes) {
    const size_t size = std::min(max_bytes, rest_.size());
    Bytes out = rest_.Slice(0, size);
    rest_ = rest_.Slice(size, rest_.size() - size);
    return out;
  }

  const uint64_t size_;
  std::shared_ptr<engine::RangeCursor> cursor_;
  Bytes rest_;  // touched by one Pull at a time
};

uint64_t PutCost(const etcdserverpb::PutRequest& put) {
  etcdserverpb::InternalRaftRequest request;
  request.unsafe_arena_set_allocated_put(const_cast<etcdserverpb::PutRequest*>(&put));
  const uint64_t cost = Engine::QuotaCost(request);
  request.unsafe_arena_release_put();
  return cost;
}

uint64_t TxnCost(const etcdserverpb::TxnRequest& txn) {
  etcdserverpb::InternalRaftRequest request;
  request.unsafe_arena_set_allocated_txn(const_cast<etcdserverpb::TxnRequest*>(&txn));
  const uint64_t cost = Engine::QuotaCost(request);
  request.unsafe_arena_release_txn();
  return cost;
}

void Put(ServiceContext& context, CallPtr call, Bytes bytes) {
  static thread_local etcdserverpb::PutRequest request;  // reused: parsing allocates nothing new
  if (!ParseOrFail(*call, bytes, &request)) return;
  const Error error = Engine::CheckPut(request);
  if (!error.ok()) return Fail(*call, error);
  if (!WithinQuota(context, *call, PutCost(request))) return;
  ProposeFor(context, std::move(call), RaftField::kPut, std::move(bytes));
}

void DeleteRange(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::DeleteRangeRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  const Error error = Engine::CheckDeleteRange(request);
  if (!error.ok()) return Fail(*call, error);
  ProposeFor(context, std::move(call), RaftField::kDeleteRange, std::move(bytes));
}

void Txn(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::TxnRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  const Error error = Engine::CheckTxn(request, context.config->txn_ops_max);
  if (!error.ok()) return Fail(*call, error);
  if (Engine::IsReadOnlyTxn(request)) {
    const Read::Consistency consistency = Engine::IsSerializableTxn(request)
                                              ? Read::Consistency::kLocal
                                              : Read::Consistency::kLinearizable;
    return ReadAs(
        context, call, consistency, [call, request](const Identity& identity, Engine& engine) {
          const Error refused =
              engine::CheckReadTxnAllowed({engine.auth(), engine.lessor()}, identity, request);
          if (!refused.ok()) return Fail(*call, refused);
          Answer(*call, engine.ReadTxn(request));
        });
  }
  if (!WithinQuota(context, *call, TxnCost(request))) return;
  ProposeFor(context, std::move(call), RaftField::kTxn, std::move(bytes));
}

Read::Consistency ConsistencyOf(const etcdserverpb::RangeRequest& request) {
  return request.serializable() ? Read::Consistency::kLocal : Read::Consistency::kLinearizable;
}

void Range(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::RangeRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  const Error error = Engine::CheckRange(request);
  if (!error.ok()) return Fail(*call, error);
  if (!request.serializable() && context.loop->counters().learner.load()) {
    return Fail(*call, engine::errors::kNotSupportedForLearner);
  }
  const Read::Consistency consistency = ConsistencyOf(request);
  ReadAs(context, call, consistency,
         [context = &context, call, request = std::move(request)](const Identity& identity,
                                                                  Engine& engine) {
           if (call->cancelled()) return;
           const Error refused =
               engine::CheckRangeAllowed({engine.auth(), engine.lessor()}, identity, request);
           if (!refused.ok()) return Fail(*call, refused);
           auto result = engine.Range(request);
           if (auto* reply = std::get_if<Reply>(&result)) return Answer(*call, std::move(*reply));
           call->Reply(transport::Message(std::make_unique<RangeSource>(
               context, std::get<std::unique_ptr<engine::RangeCursor>>(std::move(result)))));
         });
}

void Compact(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::CompactionRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  if (!request.physical()) {
    return ProposeFor(context, std::move(call), RaftField::kCompaction, std::move(bytes));
  }
  ProposeThen(
      context, call, RaftField::kCompaction, std::move(bytes),
      [&context, call, revision = request.revision()](Reply reply) {
        if (!reply.error.ok()) return Answer(*call, std::move(reply));
        Completion completion;
        completion.waiter.done = [call](Reply done) { Answer(*call, std::move(done)); };
        completion.reply = std::move(reply);
        context.loop->Run([revision, completion = std::move(completion)](Replica& replica) mutable {
          replica.WaitPhysicallyCompacted(revision, std::move(completion));
        });
      });
}

// One RangeStream: parts are made on the replica thread while the stream has room.
class RangeStreamCall final : public transport::CallHandler {
 public:
  RangeStreamCall(ServiceContext* context, CallPtr call)
      : context_(context), call_(std::move(call)), state_(std::make_shared<State>()) {}

  void OnMessage(Bytes bytes) override {
    if (started_) return;
    started_ = true;
    etcdserverpb::RangeRequest request;
    if (!ParseOrFail(*call_, bytes, &request, RequestOf::kStream)) return;
    Error error = Engine::CheckRange(request);
    if (error.ok()) error = Engine::CheckRangeStream(request);
    if (!error.ok()) return Fail(*call_, error);
    const Read::Consistency consistency = ConsistencyOf(request);
    ReadAs(*context_, call_, consistency,
           [call = call_, state = state_, request = std::move(request)](const Identity& identity,
                                                                        Engine& engine) {
             const Error refused =
                 engine::CheckRangeAllowed({engine.auth(), engine.lessor()}, identity, request);
             if (!refused.ok()) return Fail(*call, refused);
             auto result = engine.RangeStream(request);
             if (auto* reply = std::get_if<Reply>(&result)) {
               return Answer(*call, std::move(*reply));
             }
             state->cursor =
                 std::get<std::unique_ptr<Engine::RangeStreamCursor>>(std::move(result));
             state->auth_revision = identity.auth_revision;
             Pump(*call, *state, engine);
           });
  }
  void OnHalfClose() override {}
  void OnWritable() override {
    context_->loop->Run(
        [call = call_, state = state_](Replica& r) { Pump(*call, *state, r.engine()); });
  }
  void OnClosed() override {
    context_->leader_streams->Remove(call_.get());
    context_->loop->Run([state = state_](Replica&) { state->cursor.reset(); });
  }

 private:
  struct State {  // replica thread only
    std::unique_ptr<Engine::RangeStreamCursor> cursor;
    uint64_t auth_revision = 0;  // under which it was allowed; 0 = nobody was asked
  };

  static void Pump(transport::ServerCall& call, State& state, const Engine& engine) {
    while (state.cursor != nullptr && call.QueuedBytes() < kStreamQueueBytes) {
      std::optional<Reply> part = state.cursor->Next();
      if (part && part->error.ok()) {
        call.Send(Bytes::FromString(std::move(part->body)));
        continue;
      }
      Error end = part ? part->error : Error();
      if (state.auth_revision != 0 && state.auth_revision != engine.auth().revision()) {
        end = engine::errors::kAuthOldRevision;
      }
      call.Finish(ToStatus(end));
      state.cursor.reset();
    }
  }

  ServiceContext* const context_;
  const CallPtr call_;
  const std::shared_ptr<State> state_;
  bool started_ = false;
};

}  // namespace

void AddKvService(ServiceContext* context, transport::ServiceTable* table) {
  AddUnaryMethods(context, "etcdserverpb.KV",
                  {{"Range", Range, OnLearner::kServed},
                   {"Put", Put},
                   {"DeleteRange", DeleteRange},
                   {"Txn", Txn},
                   {"Compact", Compact}},
                  table);
  transport::Method stream;
  stream.path = "/etcdserverpb.KV/RangeStream";
  stream.kind = transport::Method::Kind::kServerStream;
  stream.bidi = [context](CallPtr call) {
    AdmitStream(*context, call);
    return std::make_unique<RangeStreamCall>(context, std::move(call));
  };
  table->Add(std::move(stream));
}

}  // namespace quorate::server
