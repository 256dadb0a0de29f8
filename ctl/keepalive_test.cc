// --keepalive-time and --keepalive-timeout: a server that is silent while a call waits is asked by
// PING; who answers is waited for, who does not is left.
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/text.h"
#include "ctl/sync_client.h"
#include "ctl/test_listener.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {
namespace {

constexpr size_t kPrefaceBytes = 24;
constexpr size_t kFrameHeaderBytes = 9;
constexpr int kAnswersBeforeReset = 3;
enum FrameType : uint8_t { kReset = 3, kSettings = 4, kPing = 6 };

std::string Frame(uint8_t type, uint8_t flags, uint8_t stream, std::string_view payload) {
  std::string frame(kFrameHeaderBytes, '\0');
  frame[2] = static_cast<char>(payload.size());
  frame[3] = static_cast<char>(type);
  frame[4] = static_cast<char>(flags);
  frame[8] = static_cast<char>(stream);
  return frame + std::string(payload);
}

// Takes one connection after the other and says nothing of its own. With kAnswers it answers PINGs,
// and cancels the first stream after the third.
class QuietServer {
 public:
  enum class Pings { kAnswers, kIgnores };
  explicit QuietServer(Pings pings)
      : pings_(pings), listener_([this](int fd) {
          Serve(fd);
          close(fd);
        }) {}
  std::string endpoint() const { return listener_.endpoint(); }

 private:
  static bool ReadAll(int fd, std::string* bytes) {
    for (size_t have = 0; have < bytes->size();) {
      const ssize_t count = recv(fd, bytes->data() + have, bytes->size() - have, 0);
      if (count <= 0) return false;
      have += static_cast<size_t>(count);
    }
    return true;
  }
  static void Say(int fd, const std::string& frame) {
    send(fd, frame.data(), frame.size(), MSG_NOSIGNAL);
  }
  void Serve(int fd) {
    Say(fd, Frame(kSettings, 0, 0, ""));
    std::string preface(kPrefaceBytes, '\0');
    if (!ReadAll(fd, &preface)) return;
    int answers = 0;
    for (std::string header(kFrameHeaderBytes, '\0'); ReadAll(fd, &header);) {
      const auto byte = [&](size_t at) { return static_cast<unsigned char>(header[at]); };
      std::string payload(byte(0) << 16 | byte(1) << 8 | byte(2), '\0');
      if (!ReadAll(fd, &payload)) return;
      if (byte(3) != kPing || pings_ == Pings::kIgnores) continue;
      Say(fd, Frame(kPing, 1, 0, payload));
      if (++answers == kAnswersBeforeReset) {
        Say(fd, Frame(kReset, 0, 1, std::string("\0\0\0\x08", 4)));
      }
    }
  }

  const Pings pings_;
  const TestListener listener_;
};

transport::RpcStatus EndOfAStream(const QuietServer& server, int64_t keepalive_timeout_ns) {
  ClientOptions options;
  options.endpoints = {server.endpoint()};
  options.keepalive_time_ns = kNanosPerMilli;
  options.keepalive_timeout_ns = keepalive_timeout_ns;
  const auto client = *SyncClient::Create(options);
  const auto stream = client->Open("/etcdserverpb.Watch/Watch");
  CHECK_FALSE(stream->Receive(INT64_MAX));
  return stream->status();
}

TEST_CASE("a server that does not answer is left") {
  const QuietServer server(QuietServer::Pings::kIgnores);
  const auto status = EndOfAStream(server, kNanosPerMilli);
  CHECK(status.code == transport::RpcCode::kUnavailable);
  CHECK(status.message == StrCat("connection to ", server.endpoint(), ": no answer to a PING"));
}

TEST_CASE("a server that answers is waited for, and asked again") {
  const QuietServer server(QuietServer::Pings::kAnswers);
  const auto status = EndOfAStream(server, INT64_C(3600) * kNanosPerSecond);
  CHECK(status.message == "the server cancelled the stream");  // after three answers
}

}  // namespace
}  // namespace quorate::ctl
