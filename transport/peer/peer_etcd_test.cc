// A real etcd of the Debian package at the other end. It is started as one of two members of a
// static cluster; the links of the test are the other one, with just enough of raft behind them to
// vote, to follow, and at last to lead. So etcd decodes what we encode and we what it encodes, on
// both streams and in both directions.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <charconv>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/temp_dir.h"
#include "proto/raft_internal.pb.h"
#include "transport/peer/peer_identity.h"
#include "transport/peer/peer_test_member.h"
#include "transport/raw_peer.h"
#include "transport/test_service.h"

extern char** environ;

namespace quorate::transport {
namespace {

constexpr char kEtcd[] = "/usr/bin/etcd";
constexpr char kEtcdctl[] = "/usr/bin/etcdctl";
constexpr std::chrono::minutes kGivesUp{2};
constexpr int kPollMs = 20;  // between two questions whether it is up

uint16_t FreePort() {
  RawListener listener;
  const std::string url = listener.url();
  return static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
}

std::string Local(uint16_t port) {
  return (TestTls::IsSpokenAt(port) ? "https://127.0.0.1:" : "http://127.0.0.1:") +
         std::to_string(port);
}

class Process {
 public:
  Process(std::vector<std::string> arguments, const std::string& output) {
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    QR_CHECK(posix_spawn(&pid_, pointers[0], &files, nullptr, pointers.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&files);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    Wait();
  }
  int Wait() {
    int status = 0;
    waitpid(std::exchange(pid_, 0), &status, 0);
    return status;
  }

 private:
  pid_t pid_ = 0;
};

// What etcd itself says of the cluster: GET /members on its peer port.
struct Members {
  ClusterId cluster;
  MemberId etcd;
  MemberId ours;
};

std::optional<MemberId> IdWithUrl(const std::string& json, const std::string& url) {
  const size_t at = json.find("\"" + url + "\"");
  if (at == std::string::npos) return std::nullopt;
  const size_t id = json.rfind("\"id\":", at);
  if (id == std::string::npos) return std::nullopt;
  uint64_t number = 0;
  std::from_chars(json.data() + id + 5, json.data() + json.size(), number);
  return MemberId(number);
}

std::optional<Members> AskMembers(uint16_t etcd_port, uint16_t our_port) {
  RawPeer peer(etcd_port);
  if (!peer.Send("GET /members HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")) return {};
  const std::string answer = peer.ReadToEnd();
  constexpr std::string_view kField = "X-Etcd-Cluster-Id: ";
  const size_t cluster = answer.find(kField);
  const auto etcd = IdWithUrl(answer, Local(etcd_port));
  const auto ours = IdWithUrl(answer, Local(our_port));
  if (cluster == std::string::npos || !etcd || !ours) return {};
  const size_t from = cluster + kField.size();
  const auto id =
      ParseHexId(std::string_view(answer).substr(from, answer.find("\r\n", from) - from));
  if (!id) return {};
  return Members{ClusterId(*id), *etcd, *ours};
}

Members WaitForMembers(uint16_t etcd_port, uint16_t our_port) {
  const auto until = std::chrono::steady_clock::now() + kGivesUp;
  while (std::chrono::steady_clock::now() < until) {
    if (const auto members = AskMembers(etcd_port, our_port)) return *members;
    poll(nullptr, 0, kPollMs);
  }
  FAIL("etcd did not answer");
  return {};
}

// The last entry that was heard of, and the highest term.
struct LogEnd {
  Term term;  // of the last entry
  LogIndex index;
  Term highest;
  explicit LogEnd(const TestMember::Heard& heard) {
    for (const auto& [from, message] : heard.messages) {
      highest = std::max(highest, message.term);
      for (const Entry& entry : message.entries) {
        if (std::pair(entry.term, entry.index) > std::pair(term, index)) {
          term = entry.term;
          index = entry.index;
        }
      }
    }
  }
};

// Follows whoever leads: grants votes, acknowledges entries and heartbeats.
void Follow(TestMember* member) {
  member->set_on_message([member](MemberId, const PeerMessage& message) {
    PeerMessage answer;
    answer.from = member->id();
    answer.to = message.from;
    answer.term = message.term;
    switch (message.type) {
      case raftpb::MsgPreVote:
        answer.type = raftpb::MsgPreVoteResp;
        break;
      case raftpb::MsgVote:
        answer.type = raftpb::MsgVoteResp;
        break;
      case raftpb::MsgHeartbeat:
        answer.type = raftpb::MsgHeartbeatResp;
        answer.context = message.context;
        break;
      case raftpb::MsgApp:
        answer.type = raftpb::MsgAppResp;
        answer.index = message.entries.empty() ? message.index : message.entries.back().index;
        break;
      default:
        return;
    }
    member->links().Send(message.from, {answer});
  });
}

// The put whose key this is, as it stands in an entry's payload.
bool HasPut(const TestMember::Heard& heard, const std::string& key, const std::string& value) {
  for (const auto& [from, message] : heard.messages) {
    for (const Entry& entry : message.entries) {
      etcdserverpb::InternalRaftRequest request;
      if (entry.type == EntryType::kNormal &&
          request.ParseFromString(std::string(entry.data.view())) && request.put().key() == key &&
          request.put().value() == value) {
        return true;
      }
    }
  }
  return false;
}

// Stands for election in `term` with the log that ends at `end`. False when etcd has a longer log,
// or a later term.
bool Elected(TestMember* member, const Members& members, const LogEnd& end, Term term) {
  PeerMessage vote = TestMessage(raftpb::MsgVote, members.ours, members.etcd, end.index.value());
  vote.term = term;
  vote.log_term = end.term;
  // Of a transfer: so etcd votes although it leads.
  vote.context = Bytes::Static("CampaignTransfer");
  member->links().Send(members.etcd, {vote});
  bool granted = false;
  REQUIRE(member->WaitFor([&](const TestMember::Heard& heard) {
    for (const auto& [from, message] : heard.messages) {
      const bool answer = message.type == raftpb::MsgVoteResp && message.term == term;
      if (answer) granted = !message.reject;
      if (answer || message.term > term) return true;
    }
    return false;
  }));
  return granted;
}

// Is elected by etcd, and leads it through `appends` entries.
void Lead(TestMember* member, const Members& members, uint64_t appends) {
  member->set_on_message(nullptr);
  LogEnd end(member->heard());
  Term term = end.highest.Next();
  while (!Elected(member, members, end, term)) {
    // It has written meanwhile: follow it into its next term, and stand again.
    Follow(member);
    REQUIRE(member->WaitFor([&](const auto& heard) { return LogEnd(heard).term > end.term; }));
    member->set_on_message(nullptr);
    end = LogEnd(member->heard());
    term = end.highest.Next();
  }
  // The first is told in full, the others continue it.
  const uint64_t first = end.index.value();
  for (uint64_t i = 0; i < appends; ++i) {
    PeerMessage append = TestMessage(raftpb::MsgApp, members.ours, members.etcd, first + i);
    append.term = term;
    append.log_term = i == 0 ? end.term : term;
    append.entries.push_back({term, LogIndex(first + i + 1), EntryType::kNormal, Bytes()});
    append.commit = LogIndex(first);
    member->links().Send(members.etcd, {append});
  }
  REQUIRE(member->WaitFor([&](const TestMember::Heard& heard) {
    return std::any_of(heard.messages.begin(), heard.messages.end(), [&](const auto& pair) {
      return pair.second.type == raftpb::MsgAppResp && pair.second.term == term &&
             !pair.second.reject && pair.second.index.value() == first + appends;
    });
  }));
}

TEST_CASE("a real etcd is voted for, followed and led through the links") {
  if (access(kEtcd, X_OK) != 0 || access(kEtcdctl, X_OK) != 0) {
    WARN("not run: the packages etcd-server and etcd-client are not installed");
    return;
  }
  const TempDir folder;
  const uint16_t etcd_port = FreePort();
  const uint16_t client_port = FreePort();
  const uint16_t our_port = FreePort();
  const bool tls = GENERATE(false, true);
  CAPTURE(tls);
  const TestTls& certificates = TestTls::Get();
  if (tls) {
    TestTls::Speak(etcd_port);
    TestTls::Speak(our_port);
  }
  std::vector<std::string> arguments = {
      kEtcd,
      "--name",
      "infra0",
      "--data-dir",
      folder.path() + "/data",
      "--listen-peer-urls",
      Local(etcd_port),
      "--initial-advertise-peer-urls",
      Local(etcd_port),
      "--listen-client-urls",
      Local(client_port),
      "--advertise-client-urls",
      Local(client_port),
      "--initial-cluster",
      "infra0=" + Local(etcd_port) + ",infra1=" + Local(our_port)};
  if (tls) {
    arguments.insert(arguments.end(),
                     {"--peer-cert-file", certificates.pair.cert_path, "--peer-key-file",
                      certificates.pair.key_path, "--peer-trusted-ca-file",
                      certificates.authority.ca_path(), "--peer-client-cert-auth"});
  }
  const Process etcd(arguments, folder.path() + "/etcd.log");
  const Members members = WaitForMembers(etcd_port, our_port);
  TestMember member(members.ours, [&](PeerLinksOptions* options) {
    options->cluster = members.cluster;
    options->listen.front().port = our_port;
    if (tls) SpeakTls(options);
  });
  Follow(&member);
  REQUIRE(member.links().AddPeer(members.etcd, {Local(etcd_port)}).ok());
  REQUIRE(member.WaitStreams(members.etcd));
  // A write is acknowledged once etcd has our word that we hold it.
  setenv("ETCDCTL_API", "3", 1);
  Process put({kEtcdctl, "--endpoints", Local(client_port), "--dial-timeout=60s",
               "--command-timeout=60s", "put", "fruit", "apple"},
              folder.path() + "/etcdctl.log");
  REQUIRE(member.WaitFor([](const auto& heard) { return HasPut(heard, "fruit", "apple"); }));
  CHECK(put.Wait() == 0);
  Lead(&member, members, 50);
  CHECK(member.links().stats().front().received_failures == 0);
}

}  // namespace
}  // namespace quorate::transport
