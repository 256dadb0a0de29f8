#include "transport/grpc_server.h"

#include <grpc/support/log.h>
#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "transport/grpc_wire.h"
#include "transport/listener.h"

namespace quorate::transport {
namespace {

constexpr size_t kPullBytesMax = 256 * 1024;
// Below this a copy is cheaper than keeping the piece alive.
constexpr size_t kReferBytes = 1024;

grpc::Slice SliceOf(const Bytes& piece) {
  if (piece.size() < kReferBytes) return grpc::Slice(piece.data(), piece.size());
  auto keep = std::make_unique<Bytes>(piece);
  void* const data = const_cast<char*>(keep->data());
  const auto release = [](void* bytes) { std::unique_ptr<Bytes>(static_cast<Bytes*>(bytes)); };
  return grpc::Slice(data, piece.size(), release, keep.release());
}

grpc::ByteBuffer BufferOf(const std::vector<Bytes>& pieces) {
  std::vector<grpc::Slice> slices;
  slices.reserve(pieces.size());
  for (const Bytes& piece : pieces) slices.push_back(SliceOf(piece));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

Bytes BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  QR_CHECK(buffer.Dump(&slices).ok());
  char* data = nullptr;
  Bytes bytes = Bytes::Allocate(buffer.Length(), &data);
  for (const grpc::Slice& slice : slices) {
    if (slice.size() > 0) std::memcpy(data, slice.begin(), slice.size());
    data += slice.size();
  }
  return bytes;
}

grpc::Status StatusOf(const RpcStatus& status) {
  return {static_cast<grpc::StatusCode>(status.code), status.message};
}

// "ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711".
std::string PlainPeer(std::string peer) {
  if (peer.rfind("ipv4:", 0) == 0 || peer.rfind("ipv6:", 0) == 0) peer.erase(0, 5);
  return PercentDecode(peer);
}

class GrpcCall;

// What the calls need of their server.
class GrpcHost {
 public:
  virtual ~GrpcHost() = default;
  virtual const ServerOptions& options() const = 0;
  virtual const ServiceTable& services() const = 0;
  // Asks for one more call on this queue, unless the server is stopping.
  virtual void RequestNext(grpc::ServerCompletionQueue* queue) = 0;
  enum class Admission {
    kServe,
    kDraining,  // unary calls only
    kOver,      // start nothing: the completion queues are about to go
  };
  virtual Admission Opened(const std::shared_ptr<GrpcCall>& call) = 0;
  virtual void Closed(const std::shared_ptr<GrpcCall>& call) = 0;
};

// One call. grpc++ reports each finished operation as an event on the call's completion queue,
// which one thread serves: that thread is the loop thread of rpc.h. Sends may start on any thread.
class GrpcCall final : public ServerCall, public std::enable_shared_from_this<GrpcCall> {
 public:
  struct Tag {
    GrpcCall* call;
    void (GrpcCall::*event)(bool ok);
  };

  GrpcCall(GrpcHost* host, grpc::ServerCompletionQueue* queue) : host_(host), queue_(queue) {}

  void Request(grpc::AsyncGenericService* service) {
    self_ = shared_from_this();
    context_.AsyncNotifyWhenDone(&done_tag_);
    service->RequestCall(&context_, &stream_, queue_, queue_, &accepted_tag_);
  }
  // Ends a streaming call because the server goes away.
  void EndIfStreaming() {
    if (method_ != nullptr && method_->MayLast()) {
      Finish({RpcCode::kUnavailable, "the server is shutting down"});
    }
  }

  std::optional<std::string> Metadata(std::string_view name) const override {
    const auto at =
        context_.client_metadata().lower_bound(grpc::string_ref(name.data(), name.size()));
    if (at == context_.client_metadata().end()) return std::nullopt;
    if (std::string_view(at->first.data(), at->first.size()) != name) return std::nullopt;
    return std::string(at->second.data(), at->second.size());
  }
  std::string peer() const override { return PlainPeer(context_.peer()); }
  int64_t deadline_ns() const override { return deadline_ns_; }
  int64_t received_ns() const override { return received_ns_; }
  bool cancelled() const override { return cancelled_.load(); }
  size_t QueuedBytes() const override { return queued_bytes_.load(); }

  void Send(Message message) override { Queue(std::move(message), nullptr); }
  void Reply(Message message) override {
    const RpcStatus ok;
    Queue(std::move(message), &ok);
  }
  void Finish(RpcStatus status) override {
    std::unique_lock lock(mutex_);
    SetStatus(std::move(status));
    Advance(&lock);
  }

 private:
  // --- events, on the queue's thread
  void OnAccepted(bool ok);
  void OnRead(bool ok);
  void OnReadEnd(bool ok);
  void OnWritten(bool ok);
  void OnFinished(bool ok);
  void OnDone(bool ok);

  void Begin();
  void StartRead();
  void Deliver(RequestMessages::Next next);
  void HalfClose();
  void Queue(Message message, const RpcStatus* then);
  void SetStatus(RpcStatus status);  // under mutex_
  // Starts what can be started next: a write, a pull, the end. Called with the lock held.
  void Advance(std::unique_lock<std::mutex>* lock);
  void PullOn();
  bool TakePulled(absl::StatusOr<Bytes> pulled);
  void OperationEnded();
  void Settle();
  void Handled(RpcOutcome outcome);
  bool dead() const { return done_ || write_failed_; }  // under mutex_

  GrpcHost* const host_;
  grpc::ServerCompletionQueue* const queue_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_{&context_};
  std::shared_ptr<GrpcCall> self_;  // until the last event
  Tag accepted_tag_{this, &GrpcCall::OnAccepted};
  Tag read_tag_{this, &GrpcCall::OnRead};
  Tag read_end_tag_{this, &GrpcCall::OnReadEnd};
  Tag written_tag_{this, &GrpcCall::OnWritten};
  Tag finished_tag_{this, &GrpcCall::OnFinished};
  Tag done_tag_{this, &GrpcCall::OnDone};

  // Set before the service sees the call.
  const Method* method_ = nullptr;
  int64_t deadline_ns_ = INT64_MAX;
  int64_t received_ns_ = 0;
  std::unique_ptr<RpcTrace> trace_;  // the observer's; goes with the status

  // Queue's thread only.
  std::unique_ptr<CallHandler> handler_;
  grpc::ByteBuffer incoming_;
  grpc::Alarm read_end_alarm_;
  grpc::Alarm pull_end_alarm_;               // set once, by whoever pulled
  std::optional<RequestMessages> requests_;  // of a method that there is
  bool above_low_ = false;

  std::atomic<bool> cancelled_{false};
  std::atomic<size_t> queued_bytes_{0};

  std::mutex mutex_;
  std::deque<Message> waiting_;
  bool writing_ = false;  // a message is being pulled or written
  size_t writing_bytes_ = 0;
  bool ended_ = false;  // status_ is set; nothing more is queued
  bool finish_started_ = false;
  bool write_failed_ = false;
  bool done_ = false;
  bool settled_ = false;
  int operations_ = 0;  // started and not yet reported
  RpcStatus status_;

  // The message that is being pulled; only one thread at a time has it.
  std::unique_ptr<MessageSource> source_;
  std::vector<Bytes> pulled_;
  uint64_t source_left_ = 0;
  enum class PullState { kStarted, kReturned, kArrived };
  std::atomic<PullState> pull_state_{PullState::kStarted};
  absl::StatusOr<Bytes> arrived_ = Bytes();
};

void GrpcCall::OnAccepted(bool ok) {
  if (!ok) {
    // The server stops; no other event will come.
    const std::shared_ptr<GrpcCall> last = std::move(self_);
    return;
  }
  method_ = host_->services().Find(context_.method());
  const GrpcHost::Admission admission = host_->Opened(self_);
  if (admission == GrpcHost::Admission::kOver) return;
  host_->RequestNext(queue_);
  Begin();
  if (admission == GrpcHost::Admission::kDraining) EndIfStreaming();
}

void GrpcCall::Begin() {
  const ServerOptions& options = host_->options();
  received_ns_ = options.clock->MonotonicNs();
  const gpr_timespec deadline =
      gpr_convert_clock_type(context_.raw_deadline(), GPR_CLOCK_MONOTONIC);
  if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) != 0) {
    const gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
    deadline_ns_ = received_ns_ + left.tv_sec * kNanosPerSecond + left.tv_nsec;
  }
  if (method_ == nullptr) {
    return Finish(UnknownMethodStatus(host_->services(), context_.method()));
  }
  if (options.observer != nullptr) trace_ = options.observer->Started(*method_, *this);
  requests_.emplace(method_->kind);
  if (method_->bidi != nullptr) handler_ = method_->bidi(shared_from_this());
  StartRead();
}

void GrpcCall::StartRead() {
  {
    std::lock_guard lock(mutex_);
    if (done_ || finish_started_) return;
    ++operations_;
  }
  stream_.Read(&incoming_, &read_tag_);
}

void GrpcCall::OnRead(bool ok) {
  if (!ok) {
    // The client's end, or the call's: the event that tells which may be the next in the queue.
    read_end_alarm_.Set(queue_, gpr_now(GPR_CLOCK_MONOTONIC), &read_end_tag_);
    return;
  }
  Bytes message = BytesOf(incoming_);
  incoming_.Clear();
  RpcObserver* const observer = host_->options().observer;
  if (observer != nullptr) observer->MessageReceived(*method_, message.size());
  Deliver(requests_->OnMessage(std::move(message)));
  if (!requests_->complete()) StartRead();
  OperationEnded();
}

void GrpcCall::OnReadEnd(bool) {
  bool over;
  {
    std::lock_guard lock(mutex_);
    over = done_ || ended_;
  }
  if (!over) HalfClose();
  OperationEnded();
}

void GrpcCall::Deliver(RequestMessages::Next next) {
  if (next.refuse.has_value()) return Finish(*std::move(next.refuse));
  if (!next.deliver.has_value()) return;
  if (method_->bidi == nullptr) {
    received_ns_ = host_->options().clock->MonotonicNs();
    method_->unary(shared_from_this(), *std::move(next.deliver));
  } else if (handler_ != nullptr) {
    handler_->OnMessage(*std::move(next.deliver));
  }
}

void GrpcCall::HalfClose() {
  Deliver(requests_->OnHalfClose());
  if (handler_ != nullptr) handler_->OnHalfClose();
}

void GrpcCall::Queue(Message message, const RpcStatus* then) {
  const uint64_t size = message.size();
  std::unique_lock lock(mutex_);
  if (ended_ || dead()) return;
  if (size > INT32_MAX) {
    SetStatus({RpcCode::kResourceExhausted, "grpc: trying to send message larger than max (" +
                                                std::to_string(size) + " vs. " +
                                                std::to_string(INT32_MAX) + ")"});
    return Advance(&lock);
  }
  RpcObserver* const observer = host_->options().observer;
  if (observer != nullptr) observer->MessageSent(*method_, size);
  queued_bytes_ += size + kMessagePrefixBytes;
  waiting_.push_back(std::move(message));
  if (then != nullptr) SetStatus(*then);
  Advance(&lock);
}

void GrpcCall::SetStatus(RpcStatus status) {
  if (ended_) return;
  ended_ = true;
  status_ = std::move(status);
  if (method_ != nullptr) Handled({status_.code, status_.message});
}

void GrpcCall::Handled(RpcOutcome outcome) {
  RpcObserver* const observer = host_->options().observer;
  if (observer == nullptr) return;
  outcome.took_ns = host_->options().clock->MonotonicNs() - received_ns_;
  observer->Handled(*method_, outcome, std::move(trace_));
}

void GrpcCall::Advance(std::unique_lock<std::mutex>* lock) {
  if (writing_ || dead()) return;
  if (!waiting_.empty()) {
    writing_ = true;
    Message message = std::move(waiting_.front());
    waiting_.pop_front();
    writing_bytes_ = message.size() + kMessagePrefixBytes;
    ++operations_;
    if (message.source == nullptr) return stream_.Write(BufferOf(message.pieces), &written_tag_);
    source_ = std::move(message.source);
    source_left_ = source_->size();
    pulled_.clear();
    lock->unlock();
    return PullOn();
  }
  if (ended_ && !finish_started_) {
    finish_started_ = true;
    ++operations_;
    stream_.Finish(StatusOf(status_), &finished_tag_);
  }
}

// grpc++ sends whole messages only, so the source is pulled to its end first. A loop, because a
// source may answer at once and a large one would fill the stack.
void GrpcCall::PullOn() {
  bool more = true;
  while (more) {
    pull_state_.store(PullState::kStarted);
    source_->Pull(std::min<uint64_t>(kPullBytesMax, source_left_),
                  [self = shared_from_this()](absl::StatusOr<Bytes> pulled) {
                    self->arrived_ = std::move(pulled);
                    if (self->pull_state_.exchange(PullState::kArrived) == PullState::kStarted) {
                      return;  // still inside Pull: its caller goes on
                    }
                    if (self->TakePulled(std::move(self->arrived_))) self->PullOn();
                  });
    if (pull_state_.exchange(PullState::kReturned) != PullState::kArrived) return;
    more = TakePulled(std::move(arrived_));
  }
}

// False when nothing more is to be pulled.
bool GrpcCall::TakePulled(absl::StatusOr<Bytes> pulled) {
  std::unique_lock lock(mutex_);
  if (pulled.ok() && !dead()) {
    QR_CHECK(!pulled->empty() && pulled->size() <= source_left_);
    source_left_ -= pulled->size();
    pulled_.push_back(*std::move(pulled));
    if (source_left_ > 0) return true;
    source_.reset();
    stream_.Write(BufferOf(std::exchange(pulled_, {})), &written_tag_);
    return false;
  }
  source_.reset();
  pulled_.clear();
  write_failed_ = true;
  const bool cancel = !done_;
  lock.unlock();
  if (cancel) context_.TryCancel();
  // Its end is an event like that of a write; it must come by way of the queue's thread.
  pull_end_alarm_.Set(queue_, gpr_now(GPR_CLOCK_MONOTONIC), &written_tag_);
  return false;
}

void GrpcCall::OnWritten(bool ok) {
  size_t before;
  size_t after;
  {
    std::unique_lock lock(mutex_);
    writing_ = false;
    if (!ok) write_failed_ = true;
    before = queued_bytes_.fetch_sub(writing_bytes_);
    after = before - writing_bytes_;
    if (ok) Advance(&lock);
  }
  const size_t low = host_->options().writable_low_bytes;
  if (ok && handler_ != nullptr && before > low && after <= low) handler_->OnWritable();
  OperationEnded();
}

void GrpcCall::OnFinished(bool) { OperationEnded(); }

void GrpcCall::OnDone(bool) {
  if (context_.IsCancelled()) cancelled_.store(true);
  {
    std::lock_guard lock(mutex_);
    done_ = true;
    waiting_.clear();
    if (!ended_ && method_ != nullptr) Handled({RpcCode::kCanceled, {}});
    ended_ = true;
  }
  Settle();
}

void GrpcCall::OperationEnded() {
  {
    std::lock_guard lock(mutex_);
    --operations_;
  }
  Settle();
}

// The call is over when it is done and no operation is out: nothing can refer to it any more.
void GrpcCall::Settle() {
  {
    std::lock_guard lock(mutex_);
    if (settled_ || !done_ || operations_ > 0) return;
    settled_ = true;
  }
  const std::unique_ptr<CallHandler> handler = std::move(handler_);
  if (handler != nullptr) handler->OnClosed();
  queued_bytes_.store(0);
  const std::shared_ptr<GrpcCall> keep = std::move(self_);
  host_->Closed(keep);
}

// grpc's own log lines would spoil ours.
void RouteGrpcLog() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function([](gpr_log_func_args* args) {
      const LogLevel level =
          args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarn : LogLevel::kDebug;
      if (LogEnabled(level)) Log(level, args->message, {}, "grpc");
    });
  });
}

int Milliseconds(int64_t ns) {
  return static_cast<int>(std::clamp<int64_t>(ns / kNanosPerMilli, 1, INT32_MAX));
}

class GrpcServer final : public ServerTransport, public GrpcHost {
 public:
  GrpcServer(const ServerOptions& options, const ServiceTable* services)
      : options_(options), services_(services) {
    QR_CHECK(options_.clock != nullptr && services_ != nullptr && options_.io_threads > 0);
    RouteGrpcLog();
  }
  ~GrpcServer() override { Drain(options_.clock->MonotonicNs()); }

  absl::Status Bind() override;
  void Serve() override;
  std::vector<uint16_t> ports() const override { return {ports_.begin(), ports_.end()}; }
  void Drain(int64_t deadline_ns) override;
  ServerStats stats() const override {
    ServerStats stats;
    std::lock_guard lock(mutex_);
    stats.streams = calls_.size();
    return stats;
  }

  const ServerOptions& options() const override { return options_; }
  const ServiceTable& services() const override { return *services_; }
  void RequestNext(grpc::ServerCompletionQueue* queue) override;
  Admission Opened(const std::shared_ptr<GrpcCall>& call) override {
    std::lock_guard lock(mutex_);
    if (over_) return Admission::kOver;
    calls_.insert(call);
    return stopping_ ? Admission::kDraining : Admission::kServe;
  }
  void Closed(const std::shared_ptr<GrpcCall>& call) override {
    std::lock_guard lock(mutex_);
    calls_.erase(call);
    if (calls_.empty()) changed_.notify_all();
  }

 private:
  void SetOptions(grpc::ServerBuilder* builder) const;
  static void Work(grpc::ServerCompletionQueue* queue);

  const ServerOptions options_;
  const ServiceTable* const services_;
  grpc::AsyncGenericService service_;
  std::vector<int> ports_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::thread> threads_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool over_ = false;
  std::unordered_set<std::shared_ptr<GrpcCall>> calls_;
};

void GrpcServer::SetOptions(grpc::ServerBuilder* builder) const {
  const uint64_t message_max = std::min<uint64_t>(options_.receive_message_bytes_max, INT32_MAX);
  builder->SetMaxReceiveMessageSize(static_cast<int>(message_max));
  builder->SetMaxSendMessageSize(-1);
  // Two servers on one port would take each other's connections in silence.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, options_.reuse_port ? 1 : 0);
  if (options_.max_concurrent_streams <= INT32_MAX) {
    builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                                static_cast<int>(options_.max_concurrent_streams));
  }
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE,
                              static_cast<int>(options_.header_list_bytes_max));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS,
                              Milliseconds(options_.keepalive_interval_ns));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              Milliseconds(options_.keepalive_timeout_ns));
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              Milliseconds(options_.keepalive_min_time_ns));
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
}

absl::Status GrpcServer::Bind() {
  grpc::ServerBuilder builder;
  SetOptions(&builder);
  ports_.resize(options_.listen.size());
  for (size_t i = 0; i < options_.listen.size(); ++i) {
    const ListenAddress& address = options_.listen[i];
    if (address.serve == ListenAddress::Serve::kHttpOnly) {
      return absl::InvalidArgumentError(address.url +
                                        ": the transport \"grpc\" serves no HTTP; use \"native\"");
    }
    // grpc++ does not say why a port cannot be had: ours, opened and closed again, does.
    const absl::StatusOr<Listener> probe = Listener::Bind(address, options_);
    if (!probe.ok()) return probe.status();
    const bool v6 = address.host.find(':') != std::string::npos;
    const std::string host = v6 ? "[" + address.host + "]" : address.host;
    const std::string target = address.unix_path.empty() ? host + ":" + std::to_string(address.port)
                                                         : "unix:" + address.unix_path;
    builder.AddListeningPort(target, grpc::InsecureServerCredentials(), &ports_[i]);
  }
  builder.RegisterAsyncGenericService(&service_);
  for (uint32_t i = 0; i < options_.io_threads; ++i) {
    queues_.push_back(builder.AddCompletionQueue());
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    queues_.clear();
    return absl::UnavailableError("listen: grpc++ refused " + options_.listen.front().url);
  }
  return absl::OkStatus();
}

void GrpcServer::Serve() {
  for (const auto& queue : queues_) {
    threads_.emplace_back([raw = queue.get()] { Work(raw); });
    RequestNext(queue.get());
  }
}

void GrpcServer::Work(grpc::ServerCompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) {
    const GrpcCall::Tag& event = *static_cast<GrpcCall::Tag*>(tag);
    (event.call->*event.event)(ok);
  }
}

void GrpcServer::RequestNext(grpc::ServerCompletionQueue* queue) {
  std::lock_guard lock(mutex_);
  if (!stopping_) std::make_shared<GrpcCall>(this, queue)->Request(&service_);
}

void GrpcServer::Drain(int64_t deadline_ns) {
  std::vector<std::shared_ptr<GrpcCall>> calls;
  {
    std::lock_guard lock(mutex_);
    if (stopping_ || server_ == nullptr) return;
    stopping_ = true;
    calls.assign(calls_.begin(), calls_.end());
  }
  for (const auto& call : calls) call->EndIfStreaming();
  calls.clear();
  const int64_t left_ns = std::max<int64_t>(0, deadline_ns - options_.clock->MonotonicNs());
  const std::chrono::nanoseconds left(std::min<int64_t>(left_ns, 3600 * kNanosPerSecond));
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::microseconds>(left));
  {
    // All is cancelled by now; the last events of the calls still need their queues.
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return calls_.empty(); });
    over_ = true;
  }
  for (const auto& queue : queues_) queue->Shutdown();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace

std::unique_ptr<ServerTransport> CreateGrpcServer(const ServerOptions& options,
                                                  const ServiceTable* services, HttpHandler) {
  return std::make_unique<GrpcServer>(options, services);
}

}  // namespace quorate::transport
