// TestMember: one PeerLinks on a free port of 127.0.0.1 that keeps what it hears, for tests. Waits
// are for conditions; the limit of a wait only ends a test that has failed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "transport/peer/peer_links.h"

namespace quorate::transport {

inline constexpr ClusterId kTestCluster{0xcdf818194e3a8c32};

class TestMember final : public PeerEvents {
 public:
  explicit TestMember(MemberId id, std::function<void(PeerLinksOptions*)> adjust = nullptr);
  ~TestMember() override;

  MemberId id() const { return options_.self; }
  std::string url() const {
    const bool tls = options_.listen.front().security != ListenAddress::Security::kPlain;
    return (tls ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port_);
  }
  uint16_t port() const { return port_; }
  PeerLinks& links() { return *links_; }
  // The same member again, on the same port, knowing nobody.
  void Restart();
  void Stop() { links_->Stop(); }

  // Of all that was heard since; false after a minute.
  struct Heard {
    std::vector<std::pair<MemberId, PeerMessage>> messages;
    std::map<MemberId, int> unreachable;
    std::map<MemberId, int> removed_by;
    std::map<MemberId, int> round_trips;
    std::vector<std::string> snapshots;  // finished ones
    int snapshots_begun = 0;
    int snapshots_given_up = 0;
  };
  bool WaitFor(const std::function<bool(const Heard&)>& condition);
  Heard heard() const;
  void Forget();
  // Waits until all four streams between this member and the other are open.
  bool WaitStreams(MemberId other);

  // Called on the network thread with every message, besides keeping it.
  using OnMessage = std::function<void(MemberId from, const PeerMessage& message)>;
  void set_on_message(OnMessage on_message);

  void OnMessages(MemberId from, std::vector<PeerMessage> messages) override;
  void OnUnreachable(MemberId peer) override;
  std::unique_ptr<SnapshotSink> OnSnapshot(MemberId from, const PeerMessage& header) override;
  void OnRemoved(MemberId by) override;
  void OnRoundTrip(MemberId peer, int64_t took_ns) override;

  // What the next snapshots meet.
  void FailSnapshots(std::string text);
  // While held, Append of a sink does not return.
  void HoldSnapshots();
  void ReleaseSnapshots();

 private:
  class Sink;
  void Note(const std::function<void(Heard*)>& change);
  void Create();

  SystemClock clock_;
  PeerLinksOptions options_;
  uint16_t port_ = 0;
  std::unique_ptr<PeerLinks> links_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;
  OnMessage on_message_;
  std::string snapshot_failure_;
  bool hold_snapshots_ = false;
};

// For TestMember: both ends speak TLS, each with a certificate of TestTls.
void SpeakTls(PeerLinksOptions* options);

// A port that accepts and does what a test tells it: never reads, or answers with given bytes.
class RawListener {
 public:
  RawListener();
  ~RawListener();
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  void Close();
  // Accepts so many connections and keeps them open; false after a minute.
  bool AcceptMany(int count);
  // Accepts one connection, reads the request's head, answers with the bytes and closes.
  bool AnswerOnce(const std::string& bytes);

 private:
  int Accept();
  int fd_ = -1;
  uint16_t port_ = 0;
  std::vector<int> kept_;
};

// Lets all of them know each other.
void Introduce(const std::vector<TestMember*>& members);

// A message that raft might send; `index` tells one from another.
PeerMessage TestMessage(raftpb::MessageType type, MemberId from, MemberId to, uint64_t index);

}  // namespace quorate::transport
