// etcdserverpb.Cluster, and Maintenance.MoveLeader: changes of members go through the log as
// configuration entries; who may ask for what is in cluster_rules.h and, for what only applying can
// tell, in the engine.

#include "server/services/cluster_service.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "proto/raftpb.pb.h"
#include "server/bootstrap.h"
#include "server/http_client.h"
#include "server/services/cluster_rules.h"
#include "server/services/context.h"
#include "server/services/gate.h"
#include "transport/client.h"

namespace quorate::server {
namespace {

using engine::Engine;
using engine::Error;
using engine::Reply;
using etcdserverpb::Member;

constexpr int64_t kConnectedForNs = 5 * kNanosPerSecond;
constexpr int64_t kForwardTimeoutNs = 2 * kNanosPerSecond;
constexpr engine::ErrorRow kTransferTooLong{
    2, "etcdserver: request timed out, leader transfer took too long"};

// etcd leaves the revision out of these headers.
template <class Response>
void FillMembers(const Engine& engine, Response* response) {
  FillHeader(engine, response->mutable_header());
  response->mutable_header()->clear_revision();
  for (const Member& member : engine.members()) *response->add_members() = member;
}

// False when one cannot be dialled, or there is none.
bool TakePeerUrls(const google::protobuf::RepeatedPtrField<std::string>& given, Member* member) {
  std::vector<std::string> urls(given.begin(), given.end());
  std::sort(urls.begin(), urls.end());
  for (const std::string& url : urls) {
    const bool has_scheme = url.starts_with("http://") || url.starts_with("https://");
    if (!has_scheme || !transport::ParseEndpoint(url).ok()) return false;
    member->add_peerurls(url);
  }
  return !urls.empty();
}

// Who waits for a change: told on the replica thread, where the new members can be read.
using ChangeDone = std::function<void(Error, Replica&)>;

void ProposeChange(ServiceContext& context, Replica& replica, raftpb::ConfChangeType type,
                   const engine::MemberContext& member, ChangeDone done) {
  const uint64_t id = context.ids->Next();
  raftpb::ConfChange change;
  change.set_id(id);
  change.set_type(type);
  change.set_node_id(member.member.id());
  if (type != raftpb::ConfChangeRemoveNode) {
    change.set_context(engine::MemberContextToJson(member));
  }
  Proposal proposal;
  proposal.type = EntryType::kConfChange;
  proposal.payload = Bytes::FromString(change.SerializeAsString());
  proposal.id = RequestId(id);
  proposal.waiter.deadline_ns = context.clock->MonotonicNs() + context.config->RequestTimeoutNs();
  proposal.waiter.done = [&context, done = std::move(done)](Reply reply) {
    context.loop->Run([done, error = std::move(reply.error)](Replica& r) { done(error, r); });
  };
  replica.Propose(std::move(proposal));
}

// Runs a rule with what it needs to know.
template <class Rule>
Error Check(ServiceContext& context, Replica& replica, Rule rule) {
  const std::vector<Member> members = replica.engine().members();
  const int64_t since_ns = context.clock->MonotonicNs() - kConnectedForNs;
  const std::function<size_t(const std::vector<MemberId>&)> connected =
      [&](const std::vector<MemberId>& voters) { return replica.ConnectedSince(voters, since_ns); };
  return rule(RuleInputs{members, context.member, connected});
}

bool IsStrict(const ServiceContext& context) { return context.config->strict_reconfig_check; }

// Proposes what was allowed and answers with the members after it.
template <class Response>
void ChangeAndAnswer(ServiceContext& context, const CallPtr& call, Replica& replica,
                     raftpb::ConfChangeType type, const engine::MemberContext& member,
                     std::function<void(Response*)> fill = nullptr) {
  ProposeChange(context, replica, type, member,
                [call, fill = std::move(fill)](const Error& error, Replica& after) {
                  if (!error.ok()) return Fail(*call, error);
                  Response response;
                  FillMembers(after.engine(), &response);
                  if (fill) fill(&response);
                  Answer(*call, Reply{{}, response.SerializeAsString()});
                });
}

void Add(ServiceContext& context, const CallPtr& call, const engine::MemberContext& added,
         Replica& replica) {
  const Error refused = Check(context, replica, [&](const RuleInputs& inputs) {
    return IsStrict(context) ? MayAdd(inputs, added.member) : Error();
  });
  if (!refused.ok()) return Fail(*call, refused);
  ChangeAndAnswer<etcdserverpb::MemberAddResponse>(
      context, call, replica,
      added.member.islearner() ? raftpb::ConfChangeAddLearnerNode : raftpb::ConfChangeAddNode,
      added, [added](etcdserverpb::MemberAddResponse* response) {
        *response->mutable_member() = added.member;
      });
}

void MemberAdd(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::MemberAddRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  engine::MemberContext added;
  if (!TakePeerUrls(request.peerurls(), &added.member)) {
    return Fail(*call, engine::errors::kMemberBadURLs);
  }
  const int64_t seconds = context.clock->WallNs() / kNanosPerSecond;
  const std::vector<std::string> urls(added.member.peerurls().begin(),
                                      added.member.peerurls().end());
  added.member.set_id(ComputeMemberId(urls, StrCat(seconds)).value());
  added.member.set_islearner(request.islearner());
  Permit(context, call, Access::kRoot, [&context, call, added] {
    context.loop->Run([&context, call, added](Replica& r) { Add(context, call, added, r); });
  });
}

void MemberRemove(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::MemberRemoveRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  engine::MemberContext removed;
  removed.member.set_id(request.id());
  context.loop->Run([&context, call, removed](Replica& replica) {
    const Error refused = Check(context, replica, [&](const RuleInputs& inputs) {
      return IsStrict(context) ? MayRemove(inputs, MemberId(removed.member.id())) : Error();
    });
    if (!refused.ok()) return Fail(*call, refused);
    ChangeAndAnswer<etcdserverpb::MemberRemoveResponse>(context, call, replica,
                                                        raftpb::ConfChangeRemoveNode, removed);
  });
}

bool IsMember(const Engine& engine, uint64_t id) {
  const std::vector<Member> members = engine.members();
  return std::any_of(members.begin(), members.end(),
                     [id](const Member& member) { return member.id() == id; });
}

void MemberUpdate(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::MemberUpdateRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  engine::MemberContext updated;
  updated.member.set_id(request.id());
  const bool are_urls = TakePeerUrls(request.peerurls(), &updated.member);
  context.loop->Run([&context, call, updated, are_urls](Replica& replica) {
    // etcd stores any text, of which other members then end.
    if (!are_urls && IsMember(replica.engine(), updated.member.id())) {
      return Fail(*call, engine::errors::kMemberBadURLs);
    }
    ChangeAndAnswer<etcdserverpb::MemberUpdateResponse>(context, call, replica,
                                                        raftpb::ConfChangeUpdateNode, updated);
  });
}

void MemberList(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::MemberListRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  const Read::Consistency consistency =
      request.linearizable() ? Read::Consistency::kLinearizable : Read::Consistency::kLocal;
  ReadFor(context, call, consistency, [call](Engine& engine) {
    etcdserverpb::MemberListResponse response;
    FillMembers(engine, &response);
    Answer(*call, Reply{{}, response.SerializeAsString()});
  });
}

// --- promotion: the leader alone knows how far a learner is

Error ErrorOfPromotion(const HttpAnswer& answer) {
  for (const engine::ErrorRow& row :
       {engine::errors::kMemberNotFound, engine::errors::kMemberNotLearner,
        engine::errors::kLearnerNotReady, engine::errors::kMemberNotEnoughStarted}) {
    if (answer.body.find(PromotionText(row)) != std::string::npos) return row;
  }
  return {2, answer.body};
}

struct Promotion {
  CallPtr call;
  MemberId member;
  int64_t give_up_ns;
};

void Promote(ServiceContext& context, const Promotion& promotion, Replica& replica);

// Asks the leader, and everything anew as long as it does not answer.
void ForwardPromotion(ServiceContext& context, const Promotion& promotion, Replica& replica) {
  const std::optional<std::string> url = LeaderUrl(replica);
  const auto again = [&context, promotion](Replica& later) { Promote(context, promotion, later); };
  if (!url) return replica.RunLater(again);
  const HttpCall ask{.url = *url,
                     .method = "POST",
                     .path = StrCat("/members/promote/", promotion.member.value()),
                     .timeout_ns = kForwardTimeoutNs};
  context.peer_calls->Call(
      ask, [&context, promotion, again](const absl::StatusOr<HttpAnswer>& answer) {
        if (answer.ok() && answer->status != 200) {
          return Fail(*promotion.call, ErrorOfPromotion(*answer));
        }
        absl::StatusOr<std::vector<Member>> members = absl::UnavailableError("");
        if (answer.ok()) members = ParseMembersJson(answer->body);
        context.loop->Run([promotion, again, members](Replica& replica_then) {
          if (!members.ok()) return replica_then.RunLater(again);
          etcdserverpb::MemberPromoteResponse response;
          FillHeader(replica_then.engine(), response.mutable_header());
          response.mutable_header()->clear_revision();
          for (const Member& member : *members) *response.add_members() = member;
          Answer(*promotion.call, Reply{{}, response.SerializeAsString()});
        });
      });
}

void Promote(ServiceContext& context, const Promotion& promotion, Replica& replica) {
  if (context.clock->MonotonicNs() >= promotion.give_up_ns) {
    return Fail(*promotion.call, engine::errors::kTimeout);
  }
  PromoteAsLeader(context, replica, promotion.member,
                  [&context, promotion](const Error& error, Replica& after) {
                    if (error.message == engine::errors::kNotLeader.message) {
                      return ForwardPromotion(context, promotion, after);
                    }
                    if (!error.ok()) return Fail(*promotion.call, error);
                    etcdserverpb::MemberPromoteResponse response;
                    FillMembers(after.engine(), &response);
                    Answer(*promotion.call, Reply{{}, response.SerializeAsString()});
                  });
}

void MemberPromote(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::MemberPromoteRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  const Promotion promotion{call, MemberId(request.id()),
                            context.clock->MonotonicNs() + context.config->RequestTimeoutNs()};
  context.loop->Run(
      [&context, promotion](Replica& replica) { Promote(context, promotion, replica); });
}

// --- the lead

void AwaitLeader(ServiceContext& context, const CallPtr& call, MemberId to, int64_t give_up_ns,
                 Replica& replica) {
  if (replica.raft().leader() == to) {
    return Answer(*call, Reply{{}, etcdserverpb::MoveLeaderResponse().SerializeAsString()});
  }
  if (context.clock->MonotonicNs() >= give_up_ns) return Fail(*call, kTransferTooLong);
  replica.RunLater([&context, call, to, give_up_ns](Replica& later) {
    AwaitLeader(context, call, to, give_up_ns, later);
  });
}

void MoveLeader(ServiceContext& context, CallPtr call, Bytes bytes) {
  etcdserverpb::MoveLeaderRequest request;
  if (!ParseOrFail(*call, bytes, &request)) return;
  context.loop->Run([&context, call, to = MemberId(request.targetid())](Replica& replica) {
    if (replica.raft().role() != consensus::Role::kLeader) {
      return Fail(*call, engine::errors::kNotLeader);
    }
    const Error refused = to == context.member ? Error() : replica.TransferLeadership(to);
    if (!refused.ok()) return Fail(*call, refused);
    AwaitLeader(context, call, to,
                context.clock->MonotonicNs() + context.config->RequestTimeoutNs(), replica);
  });
}

}  // namespace

std::optional<std::string> LeaderUrl(Replica& replica) {
  const MemberId leader = replica.raft().leader();
  for (const Member& member : replica.engine().members()) {
    if (MemberId(member.id()) == leader && member.peerurls_size() != 0) return member.peerurls(0);
  }
  return std::nullopt;
}

std::string PromotionText(const Error& error) {
  if (error.message == engine::errors::kMemberNotFound.message) {
    return "membership: ID not found";
  }
  if (error.message == engine::errors::kMemberNotLearner.message) {
    return "membership: can only promote a learner member";
  }
  return error.message;
}

void PromoteAsLeader(ServiceContext& context, Replica& replica, MemberId member,
                     std::function<void(Error, Replica&)> answer) {
  const ChangeDone done = [&context, answer = std::move(answer)](const Error& error, Replica& r) {
    const bool elsewhere = error.message == engine::errors::kNotLeader.message;
    if (!elsewhere) context.peer_counters->Promotion(error.ok() ? "" : PromotionText(error));
    answer(error, r);
  };
  const Error refused = Check(context, replica, [&](const RuleInputs& inputs) {
    return MayPromote(inputs, replica.raft().status(), member,
                      IsStrict(context) ? Reconfig::kStrict : Reconfig::kUnchecked);
  });
  if (!refused.ok()) return done(refused, replica);
  engine::MemberContext promoted;
  promoted.member.set_id(member.value());
  promoted.promote = true;
  ProposeChange(context, replica, raftpb::ConfChangeAddNode, promoted, done);
}

void AddClusterService(ServiceContext* context, transport::ServiceTable* table) {
  AddUnaryMethods(context, "etcdserverpb.Cluster",
                  {{"MemberAdd", MemberAdd},
                   {"MemberRemove", MemberRemove},
                   {"MemberUpdate", MemberUpdate},
                   {"MemberList", MemberList},
                   {"MemberPromote", MemberPromote}},
                  table);
  AddUnaryMethods(context, "etcdserverpb.Maintenance", {{"MoveLeader", MoveLeader}}, table);
}

}  // namespace quorate::server
