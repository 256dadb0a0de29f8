#include "transport/peer/peer_test_member.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "transport/test_service.h"

namespace quorate::transport {
namespace {

constexpr std::chrono::minutes kGivesUp{1};

HttpHandler EchoPath() {
  return [](HttpRequest request, const std::function<void(HttpResponse)>& reply) {
    HttpResponse response;
    response.body = request.method + " " + request.path + " " + request.body;
    reply(std::move(response));
  };
}

}  // namespace

class TestMember::Sink final : public SnapshotSink {
 public:
  explicit Sink(TestMember* member) : member_(member) {}
  ~Sink() override {
    if (finished_) return;
    member_->Note([](Heard* heard) { ++heard->snapshots_given_up; });
  }
  absl::Status Append(Bytes piece) override {
    std::unique_lock lock(member_->mutex_);
    member_->changed_.wait(lock, [this] { return !member_->hold_snapshots_; });
    if (!member_->snapshot_failure_.empty()) {
      return absl::ResourceExhaustedError(member_->snapshot_failure_);
    }
    bytes_.append(piece.view());
    return absl::OkStatus();
  }
  absl::Status Finish() override {
    finished_ = true;
    member_->Note([this](Heard* heard) { heard->snapshots.push_back(bytes_); });
    return absl::OkStatus();
  }

 private:
  TestMember* const member_;
  std::string bytes_;
  bool finished_ = false;
};

TestMember::TestMember(MemberId id, std::function<void(PeerLinksOptions*)> adjust) {
  options_.self = id;
  options_.cluster = kTestCluster;
  options_.clock = &clock_;
  options_.listen.push_back({.url = "http://127.0.0.1:0", .host = "127.0.0.1", .port = 0});
  if (adjust) adjust(&options_);
  Create();
}

TestMember::~TestMember() {
  ReleaseSnapshots();
  links_.reset();
}

void SpeakTls(PeerLinksOptions* options) {
  options->listen.front().security = ListenAddress::Security::kTls;
  options->tls_listen = TestTls::Get().server;
  options->tls_dial = TestTls::Get().client;
}

void TestMember::Create() {
  links_.reset();
  // The URL is known once the port is, and then it stays.
  if (port_ == 0) {
    PeerLinks scout(options_, this, EchoPath());
    QR_CHECK(scout.Bind().ok());
    port_ = scout.ports().front();
  }
  options_.listen.front().port = port_;
  options_.listen.front().url = url();
  options_.advertise_urls = {url()};
  links_ = std::make_unique<PeerLinks>(options_, this, EchoPath());
  const absl::Status bound = links_->Bind();
  QR_CHECK_MSG(bound.ok(), bound.ToString());
  links_->Start();
}

void TestMember::Restart() { Create(); }

void TestMember::Note(const std::function<void(Heard*)>& change) {
  std::lock_guard lock(mutex_);
  change(&heard_);
  changed_.notify_all();
}

bool TestMember::WaitFor(const std::function<bool(const Heard&)>& condition) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kGivesUp, [&] { return condition(heard_); });
}

TestMember::Heard TestMember::heard() const {
  std::lock_guard lock(mutex_);
  return heard_;
}

void TestMember::Forget() {
  std::lock_guard lock(mutex_);
  heard_ = Heard();
}

bool TestMember::WaitStreams(MemberId other) {
  const auto until = std::chrono::steady_clock::now() + kGivesUp;
  const auto open = [&] {
    for (const PeerStats& stats : links_->stats()) {
      if (stats.id == other) return stats.streams_written == 2 && stats.streams_read == 2;
    }
    return false;
  };
  while (!open()) {
    if (std::chrono::steady_clock::now() > until) return false;
    // Whatever is heard meanwhile wakes it as well.
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(1));
  }
  return true;
}

void TestMember::set_on_message(OnMessage on_message) {
  std::lock_guard lock(mutex_);
  on_message_ = std::move(on_message);
}

void TestMember::OnMessages(MemberId from, std::vector<PeerMessage> messages) {
  OnMessage on_message;
  {
    std::lock_guard lock(mutex_);
    on_message = on_message_;
  }
  if (on_message) {
    for (const PeerMessage& message : messages) on_message(from, message);
  }
  Note([&](Heard* heard) {
    for (PeerMessage& message : messages) heard->messages.emplace_back(from, std::move(message));
  });
}

void TestMember::OnUnreachable(MemberId peer) {
  Note([&](Heard* heard) { ++heard->unreachable[peer]; });
}

std::unique_ptr<SnapshotSink> TestMember::OnSnapshot(MemberId, const PeerMessage&) {
  Note([](Heard* heard) { ++heard->snapshots_begun; });
  return std::make_unique<Sink>(this);
}

void TestMember::OnRemoved(MemberId by) {
  Note([&](Heard* heard) { ++heard->removed_by[by]; });
}

void TestMember::OnRoundTrip(MemberId peer, int64_t) {
  Note([&](Heard* heard) { ++heard->round_trips[peer]; });
}

void TestMember::FailSnapshots(std::string text) {
  std::lock_guard lock(mutex_);
  snapshot_failure_ = std::move(text);
}

void TestMember::HoldSnapshots() {
  std::lock_guard lock(mutex_);
  hold_snapshots_ = true;
}

void TestMember::ReleaseSnapshots() {
  std::lock_guard lock(mutex_);
  hold_snapshots_ = false;
  changed_.notify_all();
}

RawListener::RawListener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  QR_CHECK(bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(fd_, 64) == 0);
  QR_CHECK(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
}

RawListener::~RawListener() { Close(); }

void RawListener::Close() {
  for (const int fd : kept_) close(fd);
  kept_.clear();
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

int RawListener::Accept() {
  pollfd ready{fd_, POLLIN, 0};
  if (poll(&ready, 1, std::chrono::milliseconds(kGivesUp).count()) != 1) return -1;
  return accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
}

bool RawListener::AcceptMany(int count) {
  for (int i = 0; i < count; ++i) {
    const int fd = Accept();
    if (fd < 0) return false;
    kept_.push_back(fd);
  }
  return true;
}

bool RawListener::AnswerOnce(const std::string& bytes) {
  const int fd = Accept();
  if (fd < 0) return false;
  std::string head;
  char part[4096];
  while (head.find("\r\n\r\n") == std::string::npos) {
    const ssize_t size = recv(fd, part, sizeof(part), 0);
    if (size <= 0) break;
    head.append(part, static_cast<size_t>(size));
  }
  const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  close(fd);
  return sent == static_cast<ssize_t>(bytes.size());
}

void Introduce(const std::vector<TestMember*>& members) {
  for (TestMember* member : members) {
    for (TestMember* other : members) {
      if (member == other) continue;
      QR_CHECK(member->links().AddPeer(other->id(), {other->url()}).ok());
    }
  }
}

PeerMessage TestMessage(raftpb::MessageType type, MemberId from, MemberId to, uint64_t index) {
  PeerMessage message;
  message.type = type;
  message.from = from;
  message.to = to;
  message.term = Term(7);
  message.log_term = Term(7);
  message.index = LogIndex(index);
  return message;
}

}  // namespace quorate::transport
