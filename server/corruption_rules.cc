#include "server/corruption_rules.h"

#include <algorithm>
#include <map>

#include "base/text.h"

namespace quorate::server {
namespace {

std::string Say(MemberId member, const HashAt& at) {
  return StrCat(HexText(member.value()), " (hash ", at.hash, ", compact revision ",
                at.compact_revision, ", revision ", at.current_revision, ")");
}

}  // namespace

std::string JudgeStart(const HashAt& own, const std::vector<PeerHash>& peers) {
  for (const PeerHash& peer : peers) {
    if (!peer.hash || peer.hash->compact_revision != own.compact_revision) continue;
    if (peer.hash->hash == own.hash) continue;
    return StrCat("found data inconsistency with peers: at revision ", own.revision,
                  " this member's hash is ", own.hash, ", that of ", Say(peer.member, *peer.hash),
                  " differs");
  }
  return "";
}

Judgement JudgePeriodic(MemberId leader, const HashAt& before, const std::vector<PeerHash>& peers,
                        const HashAt& after) {
  Judgement judgement;
  const auto accuse = [&](MemberId member, std::string reason) {
    judgement.reasons.push_back(std::move(reason));
    if (judgement.corrupt.empty()) judgement.corrupt.push_back(member);
  };
  if (after.hash != before.hash && after.revision == before.revision &&
      after.compact_revision == before.compact_revision) {
    accuse(leader, StrCat("found hash mismatch: ", Say(leader, before), ", and a moment later ",
                          Say(leader, after)));
  }
  for (const PeerHash& peer : peers) {
    if (!peer.hash) continue;
    const HashAt& seen = *peer.hash;
    if (seen.current_revision > after.current_revision) {
      accuse(peer.member, StrCat("revision from follower must be less than or equal to leader's: ",
                                 Say(peer.member, seen), ", ", Say(leader, after)));
    }
    if (seen.compact_revision > after.compact_revision) {
      accuse(peer.member,
             StrCat("compact revision from follower must be less than or equal to leader's: ",
                    Say(peer.member, seen), ", ", Say(leader, after)));
    }
    if (seen.compact_revision == before.compact_revision && seen.hash != before.hash) {
      accuse(peer.member, StrCat("same compact revision then hashes must match: ",
                                 Say(peer.member, seen), ", ", Say(leader, before)));
    }
  }
  return judgement;
}

CompactionJudgement JudgeCompaction(MemberId leader, const HashAt& own,
                                    const std::vector<PeerHash>& peers) {
  std::map<uint32_t, std::vector<MemberId>> by_hash;
  by_hash[own.hash].push_back(leader);
  size_t compared = 0;
  for (const PeerHash& peer : peers) {
    if (!peer.hash || peer.hash->compact_revision != own.compact_revision) continue;
    by_hash[peer.hash->hash].push_back(peer.member);
    ++compared;
  }
  CompactionJudgement judgement;
  judgement.all_equal = by_hash.size() == 1;
  judgement.conclusive = !judgement.all_equal || compared == peers.size();
  if (judgement.all_equal) return judgement;
  const size_t quorum = (peers.size() + 1) / 2 + 1;
  const auto majority = std::find_if(by_hash.begin(), by_hash.end(), [&](const auto& group) {
    return group.second.size() >= quorum;
  });
  if (majority == by_hash.end()) {
    judgement.corrupt.push_back(MemberId(0));
    judgement.reasons.push_back(
        StrCat("Detected compaction hash mismatch but cannot identify the corrupted members, so "
               "intentionally set the memberID as 0: revision ",
               own.revision));
    return judgement;
  }
  by_hash.erase(majority);
  for (const auto& [hash, members] : by_hash) {
    for (const MemberId member : members) {
      judgement.corrupt.push_back(member);
      judgement.reasons.push_back(StrCat("Detected compaction hash mismatch: revision ",
                                         own.revision, ", corrupted member ",
                                         HexText(member.value()), ", hash ", hash));
    }
  }
  return judgement;
}

}  // namespace quorate::server
