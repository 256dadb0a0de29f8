#include "transport/test_service.h"

#include <charconv>
#include <chrono>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"

namespace quorate::transport {
namespace {

uint64_t TakeNumber(std::string_view* text) {
  uint64_t number = 0;
  const auto parsed = std::from_chars(text->data(), text->data() + text->size(), number);
  text->remove_prefix(static_cast<size_t>(parsed.ptr - text->data()));
  if (!text->empty() && text->front() == ' ') text->remove_prefix(1);
  return number;
}

std::string Pattern(uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = PatternAt(offset + i);
  return bytes;
}

void RaiseTo(std::atomic<size_t>* maximum, size_t value) {
  size_t seen = maximum->load();
  while (seen < value && !maximum->compare_exchange_weak(seen, value)) {
  }
}

}  // namespace

void WaitUntil(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

char PatternAt(uint64_t offset) {
  return static_cast<char>('a' + (offset * 7 + offset / 251) % 26);
}

class EchoHandler final : public CallHandler {
 public:
  EchoHandler(TestService* service, std::shared_ptr<ServerCall> call)
      : service_(service), call_(std::move(call)) {
    ++service_->open_handlers_;
  }
  ~EchoHandler() override { --service_->open_handlers_; }
  void OnMessage(Bytes message) override { call_->Send(std::move(message)); }
  void OnHalfClose() override {
    ++service_->half_closes_;
    call_->Finish({});
  }
  void OnClosed() override { ++service_->closed_handlers_; }

 private:
  TestService* const service_;
  const std::shared_ptr<ServerCall> call_;
};

class FloodHandler final : public CallHandler {
 public:
  FloodHandler(TestService* service, std::shared_ptr<ServerCall> call)
      : service_(service), call_(std::move(call)) {
    ++service_->open_handlers_;
  }
  ~FloodHandler() override { --service_->open_handlers_; }
  void OnMessage(Bytes message) override {
    std::string_view text = message.view();
    left_ = TakeNumber(&text);
    size_ = TakeNumber(&text);
    Pump();
  }
  void OnHalfClose() override {}
  void OnWritable() override { Pump(); }
  void OnClosed() override { ++service_->closed_handlers_; }

 private:
  void Pump() {
    while (left_ > 0 && call_->QueuedBytes() < (1 << 20)) {
      call_->Send(Bytes::FromString(Pattern(0, size_)));
      RaiseTo(&service_->queued_max_, call_->QueuedBytes());
      --left_;
    }
    if (left_ == 0) call_->Finish({});
  }
  TestService* const service_;
  const std::shared_ptr<ServerCall> call_;
  uint64_t left_ = 0;
  size_t size_ = 0;
};

class PatternSource final : public MessageSource {
 public:
  enum class Where { kHere, kElsewhere };
  PatternSource(TestService* service, uint64_t size, uint64_t fail_at, Where where)
      : service_(service), size_(size), fail_at_(fail_at), where_(where) {
    ++service_->open_sources_;
  }
  ~PatternSource() override { --service_->open_sources_; }
  uint64_t size() const override { return size_; }
  void Pull(size_t bytes_max, std::function<void(absl::StatusOr<Bytes>)> done) override {
    QR_CHECK(!pulling_.exchange(true));
    RaiseTo(&service_->source_bytes_out_max_, bytes_max);
    auto produce = [this, bytes_max, done = std::move(done)] {
      pulling_.store(false);
      if (offset_ >= fail_at_) return done(absl::DataLossError("the source broke"));
      const size_t size = static_cast<size_t>(std::min<uint64_t>(bytes_max, size_ - offset_));
      Bytes bytes = Bytes::FromString(Pattern(offset_, size));
      offset_ += size;
      done(std::move(bytes));
    };
    if (where_ == Where::kHere) {
      produce();
    } else {
      service_->RunLater(std::move(produce));
    }
  }

 private:
  TestService* const service_;
  const uint64_t size_;
  const uint64_t fail_at_;
  const Where where_;
  uint64_t offset_ = 0;
  std::atomic<bool> pulling_{false};
};

TestService::TestService() {
  using Call = std::shared_ptr<ServerCall>;
  AddUnary("Unary", [](const Call& call, Bytes request) { call->Reply(std::move(request)); });
  AddUnary("Later", [this](const Call& call, const Bytes& request) {
    RunLater([call, request] { call->Reply(request); });
  });
  AddUnary("Fail", [](const Call& call, const Bytes& request) {
    std::string_view text = request.view();
    const auto code = static_cast<RpcCode>(TakeNumber(&text));
    call->Finish({code, std::string(text)});
  });
  AddUnary("Hold", [this](const Call& call, const Bytes& request) {
    std::lock_guard lock(mutex_);
    held_.emplace_back(call, request);
  });
  AddUnary("Metadata", [](const Call& call, const Bytes& request) {
    call->Reply(Bytes::FromString(call->Metadata(request.view()).value_or("<none>")));
  });
  AddUnary("CommonName", [](const Call& call, const Bytes&) {
    call->Reply(Bytes::FromString(call->PeerCommonName().value_or("")));
  });
  AddServerStream("Many", [](const Call& call, const Bytes& request) {
    std::string_view text = request.view();
    const uint64_t count = TakeNumber(&text);
    const uint64_t size = TakeNumber(&text);
    const Bytes message = Bytes::FromString(Pattern(0, size));
    for (uint64_t i = 0; i < count; ++i) call->Send(message);
    call->Finish({});
  });
  const auto add_big = [this](std::string name, PatternSource::Where where, bool broken) {
    AddServerStream(std::move(name), [this, where, broken](const Call& call, const Bytes& request) {
      std::string_view text = request.view();
      const uint64_t size = TakeNumber(&text);
      std::unique_ptr<MessageSource> source =
          std::make_unique<PatternSource>(this, size, broken ? size / 2 : UINT64_MAX, where);
      call->Reply(std::move(source));
    });
  };
  add_big("Big", PatternSource::Where::kElsewhere, false);
  add_big("BigNow", PatternSource::Where::kHere, false);
  add_big("BigBroken", PatternSource::Where::kElsewhere, true);
  Method bidi;
  bidi.kind = Method::Kind::kBidi;
  bidi.path = "/test.Echo/Bidi";
  bidi.bidi = [this](Call call) { return std::make_unique<EchoHandler>(this, std::move(call)); };
  table_.Add(bidi);
  bidi.path = "/test.Echo/Flood";
  bidi.bidi = [this](Call call) { return std::make_unique<FloodHandler>(this, std::move(call)); };
  table_.Add(bidi);
  worker_ = std::thread([this] { Work(); });
}

TestService::~TestService() {
  Release();
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  worker_.join();
}

void TestService::AddUnary(std::string name, Unary run) {
  Method method;
  method.path = "/test.Echo/" + std::move(name);
  method.unary = std::move(run);
  table_.Add(std::move(method));
}

void TestService::AddServerStream(std::string name, Unary run) {
  Method method;
  method.path = "/test.Echo/" + std::move(name);
  method.kind = Method::Kind::kServerStream;
  method.unary = std::move(run);
  table_.Add(std::move(method));
}

void TestService::RunLater(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
  }
  changed_.notify_all();
}

void TestService::Work() {
  std::vector<std::function<void()>> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || !work_.empty(); });
      if (work_.empty()) return;
      batch.swap(work_);
    }
    const WakeScope scope;
    for (auto& work : batch) work();
    batch.clear();
  }
}

size_t TestService::Release() {
  std::vector<std::pair<std::shared_ptr<ServerCall>, Bytes>> calls;
  {
    std::lock_guard lock(mutex_);
    calls.swap(held_);
  }
  const WakeScope scope;
  for (auto& [call, request] : calls) call->Reply(request);
  return calls.size();
}

size_t TestService::held() const {
  std::lock_guard lock(mutex_);
  return held_.size();
}

size_t TestService::cancelled_held() const {
  std::lock_guard lock(mutex_);
  size_t count = 0;
  for (const auto& [call, request] : held_) count += call->cancelled() ? 1 : 0;
  return count;
}

namespace {

// Sends each piece of the body back; "end", or the body's end, is the end.
void Converse(const std::shared_ptr<HttpExchange>& exchange) {
  // Whoever listens is kept by the exchange.
  const std::weak_ptr<HttpExchange> weak = exchange;
  HttpExchange::Events events;
  events.body = [weak](std::string_view piece) {
    const auto open = weak.lock();
    open->Write(std::string(piece));
    if (piece == "end") open->EndBody();
  };
  events.body_end = [weak] { weak.lock()->EndBody(); };
  exchange->Listen(std::move(events));
  exchange->StartBody({200, {}, ""});
}

}  // namespace

HttpHandler TestHttpHandler(TestService* service) {
  return [service](HttpRequest request, const std::function<void(HttpResponse)>& reply) {
    HttpResponse response;
    if (request.body_follows) return Converse(request.exchange);
    if (request.path == "/hello") {
      response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
      response.body = "hello\n";
    } else if (request.path == "/echo" || request.path == "/later") {
      response.body = request.body;
    } else {
      response.status = 404;
      response.body = "404 page not found\n";
    }
    if (request.path == "/later") {
      service->RunLater([reply, response] { reply(response); });
    } else {
      reply(std::move(response));
    }
  };
}

namespace {

// The ports at which TLS is spoken.
struct TlsPorts {
  std::mutex mutex;
  std::multiset<uint16_t> ports;  // under mutex
  static TlsPorts& Get() {
    static TlsPorts all;
    return all;
  }
};

}  // namespace

TestTls& TestTls::Get() {
  static const std::unique_ptr<TestTls> made = [] {
    auto tls = std::make_unique<TestTls>();
    tls->pair = tls->authority.Issue("both", {.common_name = "both"});
    const TlsOptions options = tls->authority.OptionsOf(tls->pair);
    tls->server = MakeTlsContext(TlsContext::Side::kServer, options);
    tls->client = MakeTlsContext(TlsContext::Side::kClient, options);
    return tls;
  }();
  return *made;
}

void TestTls::Speak(uint16_t port) {
  std::lock_guard lock(TlsPorts::Get().mutex);
  TlsPorts::Get().ports.insert(port);
}

bool TestTls::IsSpokenAt(uint16_t port) {
  std::lock_guard lock(TlsPorts::Get().mutex);
  return TlsPorts::Get().ports.contains(port);
}

TestServer::TestServer(std::string_view transport, ServerOptions options)
    : tls_(transport.ends_with("+tls")) {
  if (options.listen.empty()) options.listen.push_back({"http://127.0.0.1:0", "127.0.0.1", 0});
  if (tls_) {
    transport.remove_suffix(4);
    options.tls = TestTls::Get().server;
    for (ListenAddress& address : options.listen) address.security = ListenAddress::Security::kTls;
  }
  if (options.clock == nullptr) options.clock = &clock_;
  auto made =
      CreateServerTransport(transport, options, &service_.table(), TestHttpHandler(&service_));
  QR_CHECK_MSG(made.ok(), std::string(made.status().message()));
  transport_ = *std::move(made);
  const absl::Status bound = transport_->Bind();
  QR_CHECK_MSG(bound.ok(), std::string(bound.message()));
  port_ = transport_->ports().front();
  if (tls_) TestTls::Speak(port_);
  transport_->Serve();
}

TestServer::~TestServer() {
  if (!tls_) return;
  std::lock_guard lock(TlsPorts::Get().mutex);
  auto& ports = TlsPorts::Get().ports;
  const auto found = ports.find(port_);
  if (found != ports.end()) ports.erase(found);
}

void TestStream::OnMessage(Bytes message) {
  std::lock_guard lock(mutex_);
  bytes_ += message.size();
  received_.emplace_back(message.view());
  changed_.notify_all();
}

void TestStream::OnClosed(RpcStatus status) {
  std::lock_guard lock(mutex_);
  status_ = std::move(status);
  changed_.notify_all();
}

void TestStream::Send(std::string_view message) {
  loop_->Post([this, bytes = Bytes::Copy(message)] { stream_->Send(bytes); });
}
void TestStream::HalfClose() {
  loop_->Post([this] { stream_->HalfClose(); });
}
void TestStream::Pause() {
  loop_->Post([this] { stream_->Pause(); });
}
void TestStream::Resume() {
  loop_->Post([this] { stream_->Resume(); });
}
void TestStream::Cancel() {
  loop_->Post([this] { stream_->Cancel(); });
}

std::optional<std::string> TestStream::Next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return taken_ < received_.size() || status_.has_value(); });
  if (taken_ < received_.size()) return std::move(received_[taken_++]);
  return std::nullopt;
}

RpcStatus TestStream::WaitClosed() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return status_.has_value(); });
  return *status_;
}

uint64_t TestStream::messages() const {
  std::lock_guard lock(mutex_);
  return received_.size();
}

uint64_t TestStream::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

TestClient::TestClient(uint16_t port, std::string host, uint32_t initial_window_bytes)
    : loop_(&clock_) {
  ChannelOptions options;
  options.host = std::move(host);
  options.port = port;
  options.initial_window_bytes = initial_window_bytes;
  if (TestTls::IsSpokenAt(port)) options.tls = TestTls::Get().client;
  Connect(options);
}

TestClient::TestClient(uint16_t port, std::shared_ptr<TlsContext> tls, std::string host)
    : loop_(&clock_) {
  ChannelOptions options;
  options.host = std::move(host);
  options.port = port;
  options.tls = std::move(tls);
  Connect(options);
}

void TestClient::Connect(const ChannelOptions& options) {
  thread_ = std::thread([this] { loop_.Run(); });
  RunOnLoop([&] { channel_ = Channel::Create(&loop_, options); });
}

TestClient::~TestClient() {
  RunOnLoop([this] { channel_.reset(); });
  loop_.Stop();
  thread_.join();
}

void TestClient::RunOnLoop(const std::function<void()>& work) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  loop_.Post([&] {
    work();
    std::lock_guard lock(mutex);
    done = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
}

CallResult TestClient::Call(std::string_view path, std::string_view request, int64_t timeout_ns,
                            const MetadataList& metadata) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<CallResult> result;
  loop_.Post([&] {
    channel_->Call(path, Bytes::Copy(request), timeout_ns, metadata,
                   [&](RpcStatus status, Bytes response) {
                     std::lock_guard lock(mutex);
                     result = CallResult{std::move(status), std::string(response.view())};
                     changed.notify_all();
                   });
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return result.has_value(); });
  return *result;
}

std::vector<CallResult> TestClient::CallMany(std::string_view path,
                                             const std::vector<std::string>& requests) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<CallResult> results(requests.size());
  size_t done = 0;
  loop_.Post([&] {
    for (size_t i = 0; i < requests.size(); ++i) {
      channel_->Call(path, Bytes::Copy(requests[i]), 0, {},
                     [&, i](RpcStatus status, Bytes response) {
                       std::lock_guard lock(mutex);
                       results[i] = {std::move(status), std::string(response.view())};
                       ++done;
                       changed.notify_all();
                     });
    }
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done == requests.size(); });
  return results;
}

std::unique_ptr<TestStream> TestClient::Open(std::string_view path, const MetadataList& metadata) {
  auto stream = std::make_unique<TestStream>();
  stream->loop_ = &loop_;
  RunOnLoop([&] { stream->stream_ = channel_->Open(path, metadata, stream.get()); });
  return stream;
}

void TestClient::Close(std::unique_ptr<TestStream> stream) {
  RunOnLoop([&] { stream->stream_.reset(); });
}

}  // namespace quorate::transport
