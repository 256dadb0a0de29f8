// member list, add, remove, update, promote.
#include "base/text.h"
#include "ctl/go_numbers.h"
#include "ctl/member_urls.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

const char* YesNo(bool value) { return value ? "true" : "false"; }

int PrintMembersJson(const Session& session, const google::protobuf::Message& response) {
  Out(GoJson(response, session.hex() ? IdForm::kHex : IdForm::kDecimal) + "\n");
  return kExitOk;
}

std::string MemberFields(const Session& session, const etcdserverpb::MemberListResponse& r) {
  std::string out = HeaderFields(session, r.header());
  for (const auto& member : r.members()) {
    StrAppend(&out, IdField(session, "ID", member.id()), "\"Name\" : ", GoQuote(member.name()),
              "\n");
    for (const std::string& url : member.peerurls()) {
      StrAppend(&out, "\"PeerURL\" : ", GoQuote(url), "\n");
    }
    for (const std::string& url : member.clienturls()) {
      StrAppend(&out, "\"ClientURL\" : ", GoQuote(url), "\n");
    }
    StrAppend(&out, "\"IsLearner\" : ", YesNo(member.islearner()), "\n\n");
  }
  return out;
}

int MemberList(Session* session) {
  const std::string& consistency = session->values().GetString("consistency");
  if (consistency != "l" && consistency != "s") {
    return Fail(kExitBadFeature, StrCat("unknown consistency flag \"", consistency, "\""));
  }
  etcdserverpb::MemberListRequest request;
  request.set_linearizable(consistency == "l");
  etcdserverpb::MemberListResponse response;
  if (!session->Call("/etcdserverpb.Cluster/MemberList", request, &response)) {
    return session->failure();
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& member : response.members()) {
    rows.push_back({Hex(member.id()), member.name().empty() ? "unstarted" : "started",
                    member.name(), StrJoin(member.peerurls(), ","),
                    StrJoin(member.clienturls(), ","), YesNo(member.islearner())});
  }
  if (session->format() == Format::kTable) {
    Out(BoxTable({"ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"}, rows));
    return kExitOk;
  }
  if (session->format() == Format::kJson) return PrintMembersJson(*session, response);
  return PrintMessage(
      *session, response, [&] { return RowLines(rows); },
      [&] { return MemberFields(*session, response); });
}

// --- changes

// What a change of the members prints; -w fields and -w table have no form for it.
int PrintChange(const Session& session, const google::protobuf::Message& response,
                const std::string& simple) {
  if (session.format() == Format::kJson) return PrintMembersJson(session, response);
  return PrintWithoutFields(session, response, [&] { return simple; });
}

std::string MemberText(uint64_t id, std::string_view what, uint64_t cluster_id) {
  return StrCat("Member ", SpacedHex(id), " ", what, " cluster ", SpacedHex(cluster_id), "\n");
}

// The variables with which the new member is to be started.
std::string StartText(const std::string& name, const std::string& urls,
                      const etcdserverpb::MemberAddResponse& response) {
  std::vector<std::string> cluster;
  for (const auto& member : response.members()) {
    for (const std::string& url : member.peerurls()) {
      cluster.push_back(
          StrCat(member.id() == response.member().id() ? name : member.name(), "=", url));
    }
  }
  return StrCat("\nETCD_NAME=", GoQuote(name),
                "\nETCD_INITIAL_CLUSTER=", GoQuote(StrJoin(cluster, ",")),
                "\nETCD_INITIAL_ADVERTISE_PEER_URLS=", GoQuote(urls),
                "\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n");
}

int MemberAdd(Session* session) {
  const auto& words = session->words();
  if (words.empty()) return Fail(kExitBadArguments, "member name not provided");
  if (words.size() > 1) {
    std::string text = "too many arguments";
    for (const std::string& word : words) {
      if (word.starts_with("http")) StrAppend(&text, ", did you mean --peer-urls=", word);
    }
    return Fail(kExitBadArguments, text);
  }
  const std::string& urls = session->values().GetString("peer-urls");
  if (urls.empty()) return Fail(kExitBadArguments, "member peer urls not provided");
  etcdserverpb::MemberAddRequest request;
  if (auto status = AddPeerUrls(urls, request.mutable_peerurls()); !status.ok()) {
    return Fail(kExitError, ToStd(status.message()));
  }
  request.set_islearner(session->values().GetBool("learner"));
  etcdserverpb::MemberAddResponse response;
  if (!session->Call("/etcdserverpb.Cluster/MemberAdd", request, &response)) {
    return session->failure();
  }
  return PrintChange(*session, response,
                     MemberText(response.member().id(),
                                response.member().islearner() ? "added as learner to" : "added to",
                                response.header().cluster_id()) +
                         StartText(words[0], urls, response));
}

// The one word as a member id.
absl::StatusOr<uint64_t> MemberOf(const Session& session) {
  if (session.words().size() != 1) return absl::InvalidArgumentError("member ID is not provided");
  auto id = ParseMemberId(session.words()[0]);
  if (id.ok()) return id;
  return absl::InvalidArgumentError(ToAbsl(
      StrCat("bad member ID arg (", ToStd(id.status().message()), "), expecting ID in Hex")));
}

int MemberRemove(Session* session) {
  const auto id = MemberOf(*session);
  if (!id.ok()) return Fail(id.status());
  etcdserverpb::MemberRemoveRequest request;
  request.set_id(*id);
  etcdserverpb::MemberRemoveResponse response;
  if (!session->Call("/etcdserverpb.Cluster/MemberRemove", request, &response)) {
    return session->failure();
  }
  return PrintChange(*session, response,
                     MemberText(*id, "removed from", response.header().cluster_id()));
}

int MemberUpdate(Session* session) {
  const auto id = MemberOf(*session);
  if (!id.ok()) return Fail(id.status());
  const std::string& urls = session->values().GetString("peer-urls");
  if (urls.empty()) return Fail(kExitBadArguments, "member peer urls not provided");
  etcdserverpb::MemberUpdateRequest request;
  request.set_id(*id);
  if (auto status = AddPeerUrls(urls, request.mutable_peerurls()); !status.ok()) {
    return Fail(kExitError, ToStd(status.message()));
  }
  etcdserverpb::MemberUpdateResponse response;
  if (!session->Call("/etcdserverpb.Cluster/MemberUpdate", request, &response)) {
    return session->failure();
  }
  return PrintChange(*session, response,
                     MemberText(*id, "updated in", response.header().cluster_id()));
}

int MemberPromote(Session* session) {
  const auto id = MemberOf(*session);
  if (!id.ok()) return Fail(id.status());
  etcdserverpb::MemberPromoteRequest request;
  request.set_id(*id);
  etcdserverpb::MemberPromoteResponse response;
  if (!session->Call("/etcdserverpb.Cluster/MemberPromote", request, &response)) {
    return session->failure();
  }
  return PrintChange(*session, response,
                     MemberText(*id, "promoted in", response.header().cluster_id()));
}

}  // namespace

std::vector<Command> MemberCommands() {
  const OptionSpec peer_urls{"peer-urls", Type::kString, "",
                             "Where the other members reach it, with commas between.", ""};
  return {
      {"member list",
       "",
       "Lists the members of the cluster",
       {{"consistency", Type::kString, "l", "Linearizable(l) or Serializable(s).", ""}},
       MemberList,
       "With -w simple: id, started or unstarted, name, peer URLs, client URLs, learner or not."},
      {"member add",
       "<memberName> [options]",
       "Adds a member to the cluster",
       {peer_urls, {"learner", Type::kBool, "false", "Adds it without a vote.", ""}},
       MemberAdd,
       "Add first, then start the new server with the ETCD_ variables that this prints:\n"
       "  quoratectl member add node4 --peer-urls=http://10.0.0.4:2380 --learner\n"
       "A learner catches up without counting for the quorum; `member promote` gives it a vote."},
      {"member remove",
       "<memberID>",
       "Removes a member from the cluster",
       {},
       MemberRemove,
       "`member list` shows the ids. A removed member stops itself and cannot come back."},
      {"member update",
       "<memberID> [options]",
       "Changes the peer URLs of a member",
       {peer_urls},
       MemberUpdate},
      {"member promote",
       "<memberID>",
       "Gives a learner its vote",
       {},
       MemberPromote,
       "Refused while the learner is too far behind: try again later."},
  };
}

}  // namespace quorate::ctl
