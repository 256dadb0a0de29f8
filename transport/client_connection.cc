#include "transport/client_connection.h"

#include <netdb.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "transport/grpc_wire.h"
#include "transport/tls/tls_socket.h"

namespace quorate::transport {
namespace {

constexpr size_t kReadBufferBytes = 256 * 1024;
constexpr size_t kOutputBytesMax = 256 * 1024;
constexpr size_t kSpareCallsMax = 1024;
constexpr std::string_view kUserAgent = "quorate-client/1";

// One for all connections of a thread: what is read is taken at once.
char* ReadBuffer() {
  thread_local const std::unique_ptr<char[]> buffer =
      std::make_unique_for_overwrite<char[]>(kReadBufferBytes);
  return buffer.get();
}

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

nghttp2_nv Field(std::string_view name, std::string_view value, uint8_t flags) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          flags};
}

constexpr uint8_t kStatic = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

std::string HostPort(const ChannelOptions& options) {
  const bool v6 = options.host.find(':') != std::string::npos;
  return (v6 ? "[" + options.host + "]" : options.host) + ":" + std::to_string(options.port);
}

RpcStatus StatusOfReset(uint32_t error_code) {
  switch (error_code) {
    case NGHTTP2_REFUSED_STREAM:
      return {RpcCode::kUnavailable, "the server refused the stream"};
    case NGHTTP2_CANCEL:
      return {RpcCode::kCanceled, "the server cancelled the stream"};
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return {RpcCode::kResourceExhausted, "the server asks to send less"};
    default:
      return {RpcCode::kInternal,
              "the server reset the stream: " + std::string(nghttp2_http2_strerror(error_code))};
  }
}

}  // namespace

struct ClientConnection::Address {
  sockaddr_storage storage;
  socklen_t size;

  // Appends what `host` and `port` stand for. Answers the reason when that is nothing.
  static std::string Find(const std::string& host, uint16_t port, int flags,
                          std::vector<Address>* out) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (error != 0) return gai_strerror(error);
    for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
      Address& address = out->emplace_back();
      std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
      address.size = info->ai_addrlen;
    }
    freeaddrinfo(found);
    return "";
  }
};

struct ClientConnection::Lookup {
  std::mutex mutex;
  EventLoop* loop = nullptr;  // under mutex; null once nobody waits any more
  // Loop thread, and the looking one until it has posted.
  ClientConnection* owner = nullptr;
  std::vector<Address> addresses;
  std::string error;
};

struct ClientConnection::Callbacks {
  static ClientConnection* Self(void* user_data) {
    return static_cast<ClientConnection*>(user_data);
  }
  static ClientCall* CallOf(nghttp2_session* session, int32_t stream_id) {
    return static_cast<ClientCall*>(nghttp2_session_get_stream_user_data(session, stream_id));
  }

  static int Header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user_data) {
    ClientCall* call = CallOf(session, frame->hd.stream_id);
    if (call != nullptr) {
      Self(user_data)->OnHeader(call, View(name, name_size), View(value, value_size));
    }
    return 0;
  }

  static int FrameReceived(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    const bool ends_stream =
        (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    // The answer is complete; what we had still to say is of no interest any more.
    if (ends_stream && nghttp2_session_get_stream_local_close(session, frame->hd.stream_id) == 0) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static int DataChunk(nghttp2_session* session, uint8_t, int32_t stream_id, const uint8_t* data,
                       size_t size, void* user_data) {
    nghttp2_session_consume_connection(session, size);
    ClientCall* call = CallOf(session, stream_id);
    if (call == nullptr) return 0;
    if (call->paused) {
      call->unconsumed_bytes += size;
    } else {
      nghttp2_session_consume_stream(session, stream_id, size);
    }
    Self(user_data)->OnData(call, View(data, size));
    return 0;
  }

  static int StreamClosed(nghttp2_session* session, int32_t stream_id, uint32_t error_code,
                          void* user_data) {
    ClientCall* call = CallOf(session, stream_id);
    if (call != nullptr) Self(user_data)->OnStreamClosed(call, error_code);
    return 0;
  }

  // A request that GOAWAY overtook: it never was on the wire.
  static int FrameNotSent(nghttp2_session* session, const nghttp2_frame* frame, int,
                          void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    ClientCall* call = CallOf(session, frame->hd.stream_id);
    if (call != nullptr) Self(user_data)->OnStreamClosed(call, NGHTTP2_REFUSED_STREAM);
    return 0;
  }

  static ssize_t Read(nghttp2_session* session, int32_t stream_id, uint8_t*, size_t length,
                      uint32_t* flags, nghttp2_data_source*, void* user_data) {
    ClientCall* call = CallOf(session, stream_id);
    if (call == nullptr) return NGHTTP2_ERR_DEFERRED;  // cancelled; its reset is on the way
    return Self(user_data)->ReadData(call, length, flags);
  }

  static int SendData(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* frame_header,
                      size_t length, nghttp2_data_source*, void* user_data) {
    constexpr size_t kFrameHeaderBytes = 9;
    OutputBuffer* out = &Self(user_data)->output_;
    out->Append(View(frame_header, kFrameHeaderBytes));
    CallOf(session, frame->hd.stream_id)->queue.Take(length, out);
    return out->size() < kOutputBytesMax ? 0 : NGHTTP2_ERR_PAUSE;
  }

  static const nghttp2_option* Options();
  static const nghttp2_session_callbacks* Get() {
    static const nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* made = nullptr;
      QR_CHECK(nghttp2_session_callbacks_new(&made) == 0);
      nghttp2_session_callbacks_set_on_header_callback(made, Header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, FrameReceived);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, DataChunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, StreamClosed);
      nghttp2_session_callbacks_set_on_frame_not_send_callback(made, FrameNotSent);
      nghttp2_session_callbacks_set_send_data_callback(made, SendData);
      return made;
    }();
    return table;
  }
};

const nghttp2_option* ClientConnection::Callbacks::Options() {
  static const nghttp2_option* const options = [] {
    nghttp2_option* made = nullptr;
    QR_CHECK(nghttp2_option_new(&made) == 0);
    // Requests wait for the server's SETTINGS, so that none exceeds a limit it did not know of.
    nghttp2_option_set_peer_max_concurrent_streams(made, 0);
    // A stream that is paused keeps its window shut; the connection's stays open for the others.
    nghttp2_option_set_no_auto_window_update(made, 1);
    return made;
  }();
  return options;
}

ClientConnection::ClientConnection(EventLoop* loop, const ChannelOptions& options, OnGone on_gone)
    : loop_(loop), options_(options), on_gone_(std::move(on_gone)), authority_(HostPort(options)) {
  QR_CHECK(nghttp2_session_client_new2(&session_, Callbacks::Get(), this, Callbacks::Options()) ==
           0);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.initial_window_bytes}};
  QR_CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 2) == 0);
  QR_CHECK(nghttp2_session_set_local_window_size(
               session_, NGHTTP2_FLAG_NONE, 0,
               static_cast<int32_t>(options_.initial_window_bytes)) == 0);
  connect_timer_ = loop_->RunAt(loop_->NowNs() + options_.connect_timeout_ns, [this] {
    connect_timer_ = 0;
    Lose("connecting took longer than " +
         std::to_string(options_.connect_timeout_ns / kNanosPerMilli) + " ms");
  });
  Resolve();
}

ClientConnection::~ClientConnection() {
  QR_CHECK(state_ == State::kGone && calls_ == nullptr);
  nghttp2_session_del(session_);
}

bool ClientConnection::usable() const {
  return state_ != State::kGone && nghttp2_session_check_request_allowed(session_) != 0;
}

// --- connecting

void ClientConnection::Resolve() {
  if (Address::Find(options_.host, options_.port, AI_NUMERICHOST, &addresses_).empty()) {
    // Not from here: the caller is about to add the first call.
    loop_->AtEndOfTurn([this] { ConnectNext(); });
    return;
  }
  // A name server that does not answer holds getaddrinfo up for half a minute and more, and on the
  // loop's thread with it every deadline. Nothing can interrupt it, so its thread is left behind
  // when nobody waits for it any more.
  lookup_ = std::make_shared<Lookup>();
  lookup_->loop = loop_;
  lookup_->owner = this;
  std::thread([lookup = lookup_, host = options_.host, port = options_.port] {
    lookup->error = Address::Find(host, port, 0, &lookup->addresses);
    const std::lock_guard lock(lookup->mutex);
    if (lookup->loop == nullptr) return;
    lookup->loop->Post([lookup] {
      if (lookup->owner != nullptr) lookup->owner->OnResolved();
    });
  }).detach();
}

void ClientConnection::OnResolved() {
  addresses_ = std::move(lookup_->addresses);
  connect_error_ = lookup_->error;
  lookup_.reset();
  ConnectNext();
}

void ClientConnection::ConnectNext() {
  if (state_ == State::kGone) return;
  while (next_address_ < addresses_.size()) {
    const Address& address = addresses_[next_address_++];
    const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      connect_error_ = std::strerror(errno);
      continue;
    }
    socket_ = MakeSocket(fd);
    TuneTcp(fd);
    const int result =
        connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size);
    if (result != 0 && errno != EINPROGRESS) {
      connect_error_ = std::strerror(errno);
      socket_.reset();
      continue;
    }
    interest_ = EPOLLOUT;
    loop_->Watch(fd, interest_, [this](uint32_t events) { OnReady(events); });
    return;
  }
  Lose(connect_error_.empty() ? "no address" : connect_error_);
}

void ClientConnection::OnConnectReady() {
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    connect_error_ = std::strerror(error);
    loop_->Unwatch(socket_->fd());
    socket_.reset();
    return ConnectNext();
  }
  state_ = State::kHandshake;
  if (socket_->established()) return OnEstablished();
  Flush();
}

void ClientConnection::OnEstablished() {
  state_ = State::kConnected;
  loop_->CancelTimer(connect_timer_);
  connect_timer_ = 0;
  last_read_ns_ = loop_->NowNs();
  if (options_.keepalive_time_ns > 0) KeepAlive();
  Flush();
}

std::unique_ptr<ByteSocket> ClientConnection::MakeSocket(int fd) const {
  if (options_.tls == nullptr) return MakePlainSocket(fd);
  return MakeTlsClientSocket(fd, options_.tls, options_.host, TlsProtocols::kHttp2);
}

// Asks when it is time, and looks again when it will be.
void ClientConnection::KeepAlive() {
  const int64_t now_ns = loop_->NowNs();
  if (ping_out_) return Lose("no answer to a PING");
  const bool asks = calls_ != nullptr || options_.keepalive_without_calls;
  int64_t next_ns = now_ns + options_.keepalive_time_ns;
  if (asks && now_ns - last_read_ns_ >= options_.keepalive_time_ns) {
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
    ping_out_ = true;
    next_ns = now_ns + options_.keepalive_timeout_ns;
    FlushSoon();
  } else if (asks) {
    next_ns = last_read_ns_ + options_.keepalive_time_ns;
  }
  keepalive_timer_ = loop_->RunAt(next_ns, [this] { KeepAlive(); });
}

void ClientConnection::OnReady(uint32_t events) {
  if (state_ == State::kConnecting) return OnConnectReady();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Read();
  if (state_ != State::kGone && (events & EPOLLOUT) != 0) FlushSoon();
}

void ClientConnection::Read() {
  const IoResult result = socket_->Read(ReadBuffer(), kReadBufferBytes);
  if (result.kind == IoResult::Kind::kClosed) {
    const std::string error = socket_->error();
    return Lose(error.empty() ? "closed by the server" : error);
  }
  if (state_ == State::kHandshake && socket_->established()) OnEstablished();
  if (state_ == State::kGone) return;
  if (result.kind == IoResult::Kind::kBlocked) return FlushSoon();
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(ReadBuffer()), result.bytes);
  if (taken < 0) return Lose(nghttp2_strerror(static_cast<int>(taken)));
  last_read_ns_ = loop_->NowNs();
  if (ping_out_) {  // answered: the next one is due when it would have been without
    ping_out_ = false;
    loop_->CancelTimer(keepalive_timer_);
    KeepAlive();
  }
  FlushSoon();
}

void ClientConnection::FlushSoon() {
  if (flush_scheduled_ || state_ == State::kGone) return;
  flush_scheduled_ = true;
  loop_->AtEndOfTurn([this] { Flush(); });
}

void ClientConnection::Flush() {
  flush_scheduled_ = false;
  if (state_ != State::kConnected && state_ != State::kHandshake) return;
  if (!socket_->established() && socket_->Write(nullptr, 0).kind == IoResult::Kind::kClosed) {
    return LoseBroken();
  }
  while (socket_->established()) {
    while (output_.size() < kOutputBytesMax) {
      const uint8_t* data = nullptr;
      const size_t before = output_.size();
      const ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size < 0) return Lose(nghttp2_strerror(static_cast<int>(size)));
      if (size > 0) output_.Append(View(data, static_cast<size_t>(size)));
      if (size == 0 && output_.size() == before) break;
    }
    if (output_.empty() && !socket_->WaitsForWritable(ByteSocket::Output::kNone)) break;
    const size_t before = output_.size();
    const IoResult result = output_.WriteTo(socket_.get());
    if (result.kind == IoResult::Kind::kClosed) return LoseBroken();
    if (result.kind == IoResult::Kind::kBlocked || before < kOutputBytesMax) break;
  }
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
    return Lose("the server is going away");
  }
  const bool writes = socket_->WaitsForWritable(output_.empty() ? ByteSocket::Output::kNone
                                                                : ByteSocket::Output::kWaiting);
  const uint32_t wanted = EPOLLIN | (writes ? EPOLLOUT : 0u);
  if (wanted != interest_) {
    interest_ = wanted;
    loop_->Change(socket_->fd(), interest_);
  }
}

void ClientConnection::LoseBroken() {
  // What the server said before it closed tells more: a TLS alert waits to be read.
  if (options_.tls != nullptr) socket_->Read(ReadBuffer(), kReadBufferBytes);
  const std::string error = socket_->error();
  Lose(error.empty() ? "broken connection" : error);
}

void ClientConnection::Lose(const std::string& reason) {
  if (state_ == State::kGone) return;
  const bool was_connected = state_ == State::kConnected;
  Shut({RpcCode::kUnavailable,
        (was_connected ? "connection to " : "cannot connect to ") + authority_ + ": " + reason});
  if (on_gone_ != nullptr) on_gone_(this);
}

void ClientConnection::Close() {
  on_gone_ = nullptr;
  if (state_ != State::kGone) Shut({RpcCode::kCanceled, "the channel is closed"});
}

void ClientConnection::Shut(const RpcStatus& status) {
  state_ = State::kGone;
  loop_->CancelTimer(connect_timer_);
  loop_->CancelTimer(keepalive_timer_);
  if (lookup_ != nullptr) {
    const std::lock_guard lock(lookup_->mutex);
    lookup_->loop = nullptr;
    lookup_->owner = nullptr;
  }
  if (socket_ != nullptr) {
    loop_->Unwatch(socket_->fd());
    socket_.reset();
  }
  while (calls_ != nullptr) {
    ClientCall* call = calls_;
    End(call, call->have_status ? call->status : status);
  }
}

// --- calls

ClientCall* ClientConnection::NewCall() {
  ClientCall* call;
  if (spare_.empty()) {
    call = std::make_unique<ClientCall>(options_.receive_message_bytes_max).release();
    call->connection = this;
  } else {
    call = spare_.back().release();
    spare_.pop_back();
  }
  call->next = calls_;
  if (calls_ != nullptr) calls_->previous = call;
  calls_ = call;
  return call;
}

ClientCall* ClientConnection::StartUnary(const RequestOptions& request, Bytes body,
                                         Channel::UnaryCallback done) {
  ClientCall* call = NewCall();
  call->done = std::move(done);
  call->queue.Push(std::move(body), SendQueue::Compress::kNo);
  call->half_closed = true;
  Submit(call, request);
  return call;
}

ClientCall* ClientConnection::StartStream(const RequestOptions& request,
                                          ClientStreamHandler* handler,
                                          ClientStreamHandle* handle) {
  ClientCall* call = NewCall();
  call->handler = handler;
  call->handle = handle;
  Submit(call, request);
  return call;
}

void ClientConnection::Submit(ClientCall* call, const RequestOptions& request) {
  constexpr uint8_t kNoCopyName = NGHTTP2_NV_FLAG_NO_COPY_NAME;
  constexpr size_t kOwnFields = 8;
  nghttp2_nv fields[kOwnFields + 24];
  const size_t room = std::size(fields) - kOwnFields;
  QR_CHECK_MSG(request.metadata->size() <= room, "too many metadata entries in a call");
  size_t count = 0;
  fields[count++] = Field(":method", "POST", kStatic);
  fields[count++] = Field(":scheme", "http", kStatic);
  fields[count++] = Field(":path", request.path, kNoCopyName);
  // The connection outlives its frames.
  fields[count++] = Field(":authority", authority_, kStatic);
  fields[count++] = Field("content-type", "application/grpc", kStatic);
  fields[count++] = Field("te", "trailers", kStatic);
  fields[count++] = Field("user-agent", kUserAgent, kStatic);
  std::string timeout;
  if (request.timeout_ns > 0) {
    timeout = FormatGrpcTimeout(request.timeout_ns);
    fields[count++] = Field("grpc-timeout", timeout, kNoCopyName);
  }
  std::vector<std::string> encoded;  // `-bin` values
  encoded.reserve(request.metadata->size());
  for (const auto& [name, value] : *request.metadata) {
    const bool binary = name.size() > 4 && name.compare(name.size() - 4, 4, "-bin") == 0;
    if (binary) encoded.push_back(EncodeBase64(value));
    fields[count++] = Field(name, binary ? encoded.back() : value, NGHTTP2_NV_FLAG_NONE);
  }
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::Read;
  call->stream_id = nghttp2_submit_request(session_, nullptr, fields, count, &provider,
                                           /*stream_user_data=*/call);
  if (call->stream_id < 0) {
    // Stream ids are used up: the channel takes a new connection for the next call. The user is
    // told from the loop, not from inside its own call.
    const RpcStatus status{RpcCode::kUnavailable, nghttp2_strerror(call->stream_id)};
    call->timer = loop_->RunAt(0, [this, call, status] {
      call->timer = 0;
      End(call, status);
    });
    return;
  }
  if (request.timeout_ns > 0) {
    call->deadline_ns = loop_->NowNs() + request.timeout_ns;
    call->timer = loop_->RunAt(call->deadline_ns, [this, call] {
      call->timer = 0;
      Cancel(call, {RpcCode::kDeadlineExceeded, std::string(kDeadlineText)});
    });
  }
  FlushSoon();
}

void ClientConnection::OnHeader(ClientCall* call, std::string_view name, std::string_view value) {
  if (name == ":status") {
    call->http_ok = value == "200";
    if (!call->http_ok) call->http_status = value;
  } else if (name == "grpc-status") {
    call->have_status = true;
    call->status.code = ParseRpcCode(value);
  } else if (name == "grpc-message") {
    call->status.message = PercentDecode(value);
  } else if (name == "grpc-encoding") {
    if (value == "gzip") call->decoder.set_encoding(MessageDecoder::Encoding::kGzip);
  }
}

void ClientConnection::OnData(ClientCall* call, std::string_view data) {
  const int32_t stream_id = call->stream_id;
  while (true) {
    Bytes message;
    RpcStatus error;
    const MessageDecoder::Result result = call->decoder.Next(&data, &message, &error);
    if (result == MessageDecoder::Result::kNeedMore) return;
    if (result == MessageDecoder::Result::kError) return Cancel(call, std::move(error));
    if (call->handler == nullptr) {
      call->response = std::move(message);
      call->have_response = true;
      continue;
    }
    call->handler->OnMessage(std::move(message));
    // The handler may have cancelled the call.
    if (nghttp2_session_get_stream_user_data(session_, stream_id) != call) return;
  }
}

void ClientConnection::OnStreamClosed(ClientCall* call, uint32_t error_code) {
  if (call->have_status) return End(call, std::move(call->status));
  if (error_code == NGHTTP2_CANCEL && loop_->NowNs() >= call->deadline_ns) {
    // The server's clock was first.
    return End(call, {RpcCode::kDeadlineExceeded, std::string(kDeadlineText)});
  }
  if (error_code != NGHTTP2_NO_ERROR) return End(call, StatusOfReset(error_code));
  if (!call->http_ok && !call->http_status.empty()) {
    return End(call, {RpcCodeOfHttpStatus(call->http_status),
                      "the server answered with HTTP status " + call->http_status});
  }
  End(call, {RpcCode::kInternal, "the server ended the stream without a status"});
}

void ClientConnection::End(ClientCall* call, RpcStatus status) {
  (call->previous != nullptr ? call->previous->next : calls_) = call->next;
  if (call->next != nullptr) call->next->previous = call->previous;
  call->next = call->previous = nullptr;
  if (call->stream_id > 0) {
    nghttp2_session_set_stream_user_data(session_, call->stream_id, nullptr);
  }
  if (call->timer != 0) loop_->CancelTimer(call->timer);
  if (call->handle != nullptr) call->handle->call_ = nullptr;
  const Channel::UnaryCallback done = std::move(call->done);
  ClientStreamHandler* const handler = call->handler;
  Bytes response = std::move(call->response);
  if (done != nullptr && status.ok() && !call->have_response) {
    status = {RpcCode::kInternal, "the server answered without a message"};
  }
  // Made ready for the next call before the user, who may start one, is told.
  Recycle(std::unique_ptr<ClientCall>(call));
  if (done != nullptr) done(std::move(status), std::move(response));
  if (handler != nullptr) handler->OnClosed(std::move(status));
}

void ClientConnection::Recycle(std::unique_ptr<ClientCall> call) {
  if (!call->decoder.fresh() || spare_.size() >= kSpareCallsMax) return;
  call->stream_id = 0;
  call->done = nullptr;
  call->handler = nullptr;
  call->handle = nullptr;
  call->response = Bytes();
  call->have_response = call->have_status = call->half_closed = false;
  call->deferred = call->http_ok = call->paused = false;
  call->unconsumed_bytes = 0;
  call->status = RpcStatus();
  call->http_status.clear();
  call->queue.Clear();
  call->timer = 0;
  call->deadline_ns = INT64_MAX;
  spare_.push_back(std::move(call));
}

ssize_t ClientConnection::ReadData(ClientCall* call, size_t length, uint32_t* flags) {
  const SendQueue::Available ready = call->queue.Ready(length);
  const bool last = call->half_closed && ready.all;
  if (ready.bytes == 0 && !last) {
    call->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (last) *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (ready.bytes > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  return static_cast<ssize_t>(ready.bytes);
}

void ClientConnection::Continue(ClientCall* call) {
  if (call->deferred) {
    call->deferred = false;
    nghttp2_session_resume_data(session_, call->stream_id);
  }
  FlushSoon();
}

void ClientConnection::Send(ClientCall* call, Bytes message) {
  if (call->half_closed) return;
  call->queue.Push(std::move(message), SendQueue::Compress::kNo);
  Continue(call);
}

void ClientConnection::HalfClose(ClientCall* call) {
  call->half_closed = true;
  Continue(call);
}

void ClientConnection::Resume(ClientCall* call) {
  call->paused = false;
  nghttp2_session_consume_stream(session_, call->stream_id, call->unconsumed_bytes);
  call->unconsumed_bytes = 0;
  FlushSoon();
}

void ClientConnection::Cancel(ClientCall* call, RpcStatus status) {
  if (call->stream_id > 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
    FlushSoon();
  }
  End(call, std::move(status));
}

ClientStreamHandle::~ClientStreamHandle() {
  if (call_ == nullptr) return;
  call_->handler = nullptr;  // its user has gone
  call_->connection->Cancel(call_, RpcStatus{RpcCode::kCanceled, ""});
}

void ClientStreamHandle::Send(Bytes message) {
  if (call_ != nullptr) call_->connection->Send(call_, std::move(message));
}

void ClientStreamHandle::HalfClose() {
  if (call_ != nullptr) call_->connection->HalfClose(call_);
}

void ClientStreamHandle::Pause() {
  if (call_ != nullptr) call_->paused = true;
}

void ClientStreamHandle::Resume() {
  if (call_ != nullptr) call_->connection->Resume(call_);
}

void ClientStreamHandle::Cancel() {
  if (call_ != nullptr) {
    call_->connection->Cancel(call_, {RpcCode::kCanceled, "cancelled by the client"});
  }
}

}  // namespace quorate::transport
