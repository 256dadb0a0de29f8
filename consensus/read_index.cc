// Reads that see all writes acknowledged before them, without a write of their own (thesis §6.4): a
// leader notes its commit index and lets a round of heartbeats confirm that it still leads.

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "consensus/raft_core.h"

namespace quorate::consensus {
namespace {

// Eight bytes, big-endian, as etcd's server sends them.
Bytes EncodeContext(uint64_t context) {
  std::string out(sizeof(context), '\0');
  for (int i = 7; i >= 0; --i, context >>= 8) out[i] = static_cast<char>(context & 0xff);
  return Bytes::FromString(std::move(out));
}

uint64_t DecodeContext(const Bytes& bytes) {
  if (bytes.size() != sizeof(uint64_t)) return 0;
  uint64_t context = 0;
  for (const char c : bytes.view()) context = context << 8 | static_cast<unsigned char>(c);
  return context;
}

}  // namespace

void RaftCore::ReadIndex(uint64_t context) {
  QR_CHECK(context != 0);
  if (Leader* lead = leads()) {
    lead->reads.push_back({.from = config.self,
                           .context = context,
                           .index = log.commit(),
                           .round = lead->rounds_sent + 1});
    lead->round_due = true;
    return AnswerReads();
  }
  if (leader.value() == 0) {
    out_.reads_dropped.push_back(context);
    return;
  }
  forwarded_reads_.push_back({context, 0});
  Message ask{.type = MessageType::kReadIndex, .to = leader};
  ask.entries.resize(1);
  ask.entries[0].data = EncodeContext(context);
  Send(std::move(ask));
}

void RaftCore::HandleReadIndex(const Message& message) {
  Leader* lead = leads();
  if (lead == nullptr || message.entries.size() != 1 || message.from == config.self) return;
  lead->reads.push_back({.from = message.from,
                         .forwarded = message.entries[0].data,
                         .index = log.commit(),
                         .round = lead->rounds_sent + 1});
  lead->round_due = true;
  AnswerReads();
}

// One round for all reads that came since the last one.
void RaftCore::SendReadRound() {
  Leader& lead = *leads();
  if (!std::exchange(lead.round_due, false) || lead.reads.empty()) return;
  SendHeartbeats(++lead.rounds_sent);
}

void RaftCore::AnswerReads() {
  Leader& lead = *leads();
  // An older leader may have committed more than is known here.
  if (!leader_ready()) return;
  // An answer to a round was given later than all rounds before were asked.
  const uint64_t confirmed = QuorumReached(conf, [&](MemberId id) {
    return id == config.self ? std::numeric_limits<uint64_t>::max() : lead.peers.at(id).read_round;
  });
  while (!lead.reads.empty() && lead.reads.front().round <= confirmed) {
    Leader::PendingRead& read = lead.reads.front();
    const LogIndex index = std::max(read.index, lead.first_own);
    if (read.from == config.self) {
      out_.reads.push_back({read.context, index});
    } else {
      Message answer{.type = MessageType::kReadIndexResponse, .to = read.from, .index = index};
      answer.entries.resize(1);
      answer.entries[0].data = std::move(read.forwarded);
      Send(std::move(answer));
    }
    lead.reads.pop_front();
  }
  lead.round_due &= !lead.reads.empty();
}

void RaftCore::DropReads() {
  Leader* lead = leads();
  if (lead == nullptr) return;
  // Others find out by their own time limit, or because they hear of the next leader.
  for (const Leader::PendingRead& read : lead->reads) {
    if (read.from == config.self) out_.reads_dropped.push_back(read.context);
  }
  lead->reads.clear();
}

void RaftCore::HandleReadIndexResponse(const Message& message) {
  if (message.entries.size() != 1) return;
  const uint64_t context = DecodeContext(message.entries[0].data);
  const auto asked =
      std::find_if(forwarded_reads_.begin(), forwarded_reads_.end(),
                   [&](const ForwardedRead& read) { return read.context == context; });
  if (asked == forwarded_reads_.end()) return;
  forwarded_reads_.erase(asked);
  out_.reads.push_back({context, message.index});
}

void RaftCore::DropForwardedReads() {
  for (const ForwardedRead& read : forwarded_reads_) out_.reads_dropped.push_back(read.context);
  forwarded_reads_.clear();
}

void RaftCore::TickForwardedReads() {
  for (ForwardedRead& read : forwarded_reads_) ++read.ticks;
  while (!forwarded_reads_.empty() && forwarded_reads_.front().ticks >= config.election_ticks) {
    out_.reads_dropped.push_back(forwarded_reads_.front().context);
    forwarded_reads_.pop_front();
  }
}

}  // namespace quorate::consensus
