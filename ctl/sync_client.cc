#include "ctl/sync_client.h"

#include <algorithm>
#include <future>

#include "base/status_util.h"
#include "base/text.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

using transport::RpcCode;
using transport::RpcStatus;

namespace {

constexpr int64_t kRetryPauseNs = 100 * kNanosPerMilli;
constexpr char kAuthenticatePath[] = "/etcdserverpb.Auth/Authenticate";

// A server's own "unavailable" begins with its name; all else was lost on the way.
bool LostOnTheWay(const RpcStatus& status) {
  return status.code == RpcCode::kUnavailable && !status.message.starts_with("etcdserver:");
}

RpcStatus Unreadable(std::string_view path) {
  return {RpcCode::kInternal, StrCat("the answer to ", path, " is not what it should be")};
}

}  // namespace

// --- stream

struct SyncStream::Inbox final : transport::ClientStreamHandler {
  void OnMessage(Bytes message) override {
    const std::lock_guard lock(mutex);
    messages.push_back(std::move(message));
    changed.notify_one();
  }
  void OnClosed(RpcStatus end) override {
    const std::lock_guard lock(mutex);
    closed = true;
    status = std::move(end);
    changed.notify_one();
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Bytes> messages;
  bool closed = false;
  RpcStatus status;
  std::unique_ptr<transport::ClientStream> stream;  // loop thread only
};

SyncStream::SyncStream(SyncClient* client) : client_(client), inbox_(std::make_unique<Inbox>()) {}

SyncStream::~SyncStream() {
  client_->OnLoop([this] { inbox_->stream.reset(); });
}

void SyncStream::Send(const google::protobuf::Message& message) {
  Bytes bytes = Bytes::FromString(message.SerializeAsString());
  client_->OnLoop([&] { inbox_->stream->Send(bytes); });
}

void SyncStream::HalfClose() {
  client_->OnLoop([this] { inbox_->stream->HalfClose(); });
}

std::optional<Bytes> SyncStream::Receive(int64_t wait_ns, Interruption* interruption) {
  bool interrupted = false;
  const Interruption::Listener listener(interruption, [&] {
    const std::lock_guard lock(inbox_->mutex);
    interrupted = true;
    inbox_->changed.notify_all();
  });
  std::unique_lock lock(inbox_->mutex);
  const auto ready = [&] { return !inbox_->messages.empty() || inbox_->closed || interrupted; };
  if (wait_ns == INT64_MAX) {
    inbox_->changed.wait(lock, ready);
  } else if (!inbox_->changed.wait_for(lock, std::chrono::nanoseconds(wait_ns), ready)) {
    return std::nullopt;
  }
  if (inbox_->messages.empty()) return std::nullopt;
  Bytes message = std::move(inbox_->messages.front());
  inbox_->messages.pop_front();
  return message;
}

bool SyncStream::closed() const {
  const std::lock_guard lock(inbox_->mutex);
  return inbox_->closed && inbox_->messages.empty();
}

RpcStatus SyncStream::status() const {
  const std::lock_guard lock(inbox_->mutex);
  return inbox_->status;
}

// --- client

absl::StatusOr<std::vector<transport::ChannelOptions>> ChannelsOf(const ClientOptions& options) {
  if (options.endpoints.empty()) {
    return absl::InvalidArgumentError(
        "etcdclient: no available endpoints (--endpoints host:port,... names them)");
  }
  std::vector<transport::ChannelOptions> channels;
  for (const std::string& endpoint : options.endpoints) {
    auto address = transport::ParseEndpoint(endpoint);
    if (!address.ok()) return address.status();
    transport::ChannelOptions channel;
    channel.host = address->host;
    channel.port = address->port;
    channel.tls = transport::TlsFor(*address, options.tls);
    channel.connect_timeout_ns = options.dial_timeout_ns;
    channel.keepalive_time_ns = options.keepalive_time_ns;
    channel.keepalive_timeout_ns = options.keepalive_timeout_ns;
    channel.receive_message_bytes_max = options.receive_message_bytes_max;
    channels.push_back(channel);
  }
  return channels;
}

absl::StatusOr<std::unique_ptr<SyncClient>> SyncClient::Create(const ClientOptions& options) {
  auto channels = ChannelsOf(options);
  if (!channels.ok()) return channels.status();
  std::unique_ptr<SyncClient> client(new SyncClient(options));
  client->OnLoop([&] {
    for (const auto& channel : *channels) {
      client->channels_.push_back(transport::Channel::Create(&client->loop_, channel));
    }
  });
  return client;
}

SyncClient::SyncClient(const ClientOptions& options)
    : options_(options),
      loop_(&clock_),
      credentials_(options.credentials),
      thread_([this] { loop_.Run(); }) {}

SyncClient::~SyncClient() {
  OnLoop([this] { channels_.clear(); });
  loop_.Stop();
  thread_.join();
}

// Promises are shared with the loop's thread: the waiting one may go on, and its stack away, while
// the other is still inside set_value.
void SyncClient::OnLoop(const std::function<void()>& work) {
  auto done = std::make_shared<std::promise<void>>();
  auto end = done->get_future();
  loop_.Post([&work, done] {
    work();
    done->set_value();
  });
  end.wait();
}

RpcStatus SyncClient::CallOnce(std::string_view path, const std::string& request,
                               int64_t timeout_ns, Bytes* answer) {
  struct End {
    RpcStatus status;
    Bytes answer;
  };
  auto done = std::make_shared<std::promise<End>>();
  auto end = done->get_future();
  loop_.Post([channel = channels_[current_].get(), path = std::string(path),
              bytes = Bytes::Copy(request), metadata = Metadata(), timeout_ns, done] {
    channel->Call(path, bytes, timeout_ns, metadata, [done](RpcStatus status, Bytes response) {
      done->set_value({std::move(status), std::move(response)});
    });
  });
  End got = end.get();
  *answer = std::move(got.answer);
  return std::move(got.status);
}

RpcStatus SyncClient::CallUntil(std::string_view path, const std::string& request, int64_t end_ns,
                                Bytes* answer) {
  RpcStatus status;
  for (size_t tries = 1;; ++tries) {
    const int64_t left_ns = end_ns - clock_.MonotonicNs();
    if (left_ns <= 0) {
      const std::string why = status.message.empty() ? "" : StrCat(": ", status.message);
      return {RpcCode::kDeadlineExceeded, StrCat("context deadline exceeded", why)};
    }
    status = CallOnce(path, request, left_ns, answer);
    if (!LostOnTheWay(status)) return status;
    TryNextEndpoint();
    if (tries % channels_.size() == 0) {
      const int64_t pause_ns = std::min(kRetryPauseNs, end_ns - clock_.MonotonicNs());
      std::this_thread::sleep_for(std::chrono::nanoseconds(std::max<int64_t>(pause_ns, 0)));
    }
  }
}

RpcStatus SyncClient::Call(std::string_view path, const google::protobuf::Message& request,
                           google::protobuf::Message* response, int64_t timeout_ns) {
  const std::string bytes = request.SerializeAsString();
  if (bytes.size() > options_.send_message_bytes_max) {
    return {RpcCode::kResourceExhausted,
            StrCat("trying to send message larger than max (", bytes.size(), " vs. ",
                   options_.send_message_bytes_max, ")")};
  }
  const int64_t end_ns =
      clock_.MonotonicNs() + (timeout_ns > 0 ? timeout_ns : options_.command_timeout_ns);
  Bytes answer;
  RpcStatus status = CallUntil(path, bytes, end_ns, &answer);
  if (RenewsToken(status)) {
    if (RpcStatus renewed = SignIn(); !renewed.ok()) return renewed;
    status = CallUntil(path, bytes, end_ns, &answer);
  }
  if (status.ok() && !response->ParseFromArray(answer.data(), static_cast<int>(answer.size()))) {
    return Unreadable(path);
  }
  return status;
}

bool SyncClient::RenewsToken(const RpcStatus& status) const {
  const std::lock_guard lock(credentials_mutex_);
  if (status.ok() || credentials_.name.empty() || credentials_.password.empty()) return false;
  return status.message == "etcdserver: user name is empty" ||
         status.message == "etcdserver: invalid auth token" ||
         status.message == "etcdserver: revision of auth store is old";
}

RpcStatus SyncClient::SignIn() {
  etcdserverpb::AuthenticateRequest request;
  {
    const std::lock_guard lock(credentials_mutex_);
    if (credentials_.name.empty() || credentials_.password.empty()) return {};
    credentials_.token.clear();
    request.set_name(credentials_.name);
    request.set_password(credentials_.password);
  }
  Bytes answer;
  const RpcStatus status = CallUntil(kAuthenticatePath, request.SerializeAsString(),
                                     clock_.MonotonicNs() + options_.command_timeout_ns, &answer);
  etcdserverpb::AuthenticateResponse response;
  if (status.message == "etcdserver: authentication is not enabled") {
    const std::lock_guard lock(credentials_mutex_);
    credentials_ = {};
    return {};
  }
  if (!status.ok()) return status;
  if (!response.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) {
    return Unreadable(kAuthenticatePath);
  }
  const std::lock_guard lock(credentials_mutex_);
  credentials_.token = response.token();
  return {};
}

transport::MetadataList SyncClient::Metadata() const {
  const std::lock_guard lock(credentials_mutex_);
  if (credentials_.token.empty()) return {};
  return {{"token", credentials_.token}};
}

void SyncClient::TryNextEndpoint() { current_ = (current_ + 1) % channels_.size(); }

std::unique_ptr<SyncStream> SyncClient::Open(std::string_view path, Leader leader) {
  std::unique_ptr<SyncStream> stream(new SyncStream(this));
  transport::MetadataList metadata = Metadata();
  if (leader == Leader::kRequired) metadata.emplace_back("hasleader", "true");
  OnLoop([&] {
    stream->inbox_->stream = channels_[current_]->Open(path, metadata, stream->inbox_.get());
  });
  return stream;
}

}  // namespace quorate::ctl
