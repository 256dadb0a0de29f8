#include "server/debug_vars.h"

#include <sys/resource.h>

#include <fstream>
#include <iterator>
#include <vector>

#include "base/json_text.h"
#include "base/text.h"

namespace quorate::server {
namespace {

std::string_view RoleName(consensus::Role role) {
  switch (role) {
    case consensus::Role::kFollower:
      return "StateFollower";
    case consensus::Role::kPreCandidate:
      return "StatePreCandidate";
    case consensus::Role::kCandidate:
      return "StateCandidate";
    case consensus::Role::kLeader:
      return "StateLeader";
  }
  return "";
}

std::string_view StateName(consensus::ReplicationState state) {
  switch (state) {
    case consensus::ReplicationState::kProbe:
      return "StateProbe";
    case consensus::ReplicationState::kReplicate:
      return "StateReplicate";
    case consensus::ReplicationState::kSnapshot:
      return "StateSnapshot";
  }
  return "";
}

std::string Quoted(MemberId id) { return StrCat("\"", HexText(id.value()), "\""); }

std::string CommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> words;
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find('\0', at), all.size());
    words.push_back(JsonString(all.substr(at, end - at)));
    at = end + 1;
  }
  return StrCat("[", StrJoin(words, ","), "]");
}

std::string Progress(const consensus::Status& raft) {
  if (raft.role != consensus::Role::kLeader) return "{}";
  const auto one = [](MemberId id, LogIndex match, LogIndex next, std::string_view state) {
    return StrCat(Quoted(id), ":{\"match\":", match.value(), ",\"next\":", next.value(),
                  ",\"state\":\"", state, "\"}");
  };
  std::vector<std::string> all = {one(raft.self, raft.durable, raft.last.Next(), "StateReplicate")};
  for (const auto& peer : raft.peers) {
    all.push_back(one(peer.id, peer.match, peer.next, StateName(peer.state)));
  }
  return StrCat("{", StrJoin(all, ","), "}");
}

}  // namespace

std::string FormatDebugVars(const consensus::Status& raft, const AllocatorStats& memory) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  return StrCat("{\n\"cmdline\": ", CommandLine(), ",\n\"file_descriptor_limit\": ", files.rlim_cur,
                ",\n\"memstats\": {\"Alloc\":", memory.bytes_in_use,
                ",\"Sys\":", memory.bytes_reserved, ",\"Mallocs\":", memory.allocations,
                ",\"HeapAlloc\":", memory.bytes_in_use, ",\"HeapSys\":", memory.bytes_reserved,
                "},\n\"raft.status\": {\"id\":", Quoted(raft.self), ",\"term\":", raft.term.value(),
                ",\"vote\":", Quoted(raft.vote), ",\"commit\":", raft.commit.value(),
                ",\"lead\":", Quoted(raft.leader), ",\"raftState\":\"", RoleName(raft.role),
                "\",\"applied\":", raft.applied.value(), ",\"progress\":", Progress(raft),
                ",\"leadtransferee\":", Quoted(raft.transferee), "}\n}\n");
}

}  // namespace quorate::server
