#include "server/corruption_monitor.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "base/options.h"
#include "base/text.h"
#include "base/thread_name.h"
#include "server/http_client.h"

namespace quorate::server {
namespace {

using HashResult = std::variant<engine::Reply, std::unique_ptr<engine::ReadJob>>;

std::optional<HashAt> HashFrom(HashResult result, std::string* why_not) {
  if (auto* job = std::get_if<std::unique_ptr<engine::ReadJob>>(&result)) result = (*job)->Run();
  const engine::Reply& reply = std::get<engine::Reply>(result);
  etcdserverpb::HashKVResponse response;
  if (!reply.error.ok() || !response.ParseFromString(reply.body)) {
    *why_not = reply.error.message;
    return std::nullopt;
  }
  return HashAt{response.hash_revision(), response.compact_revision(), response.header().revision(),
                response.hash()};
}

std::optional<HashAt> ParseHash(const std::string& body) {
  const nlohmann::json answer = nlohmann::json::parse(body, nullptr, false);
  const auto number = [](const nlohmann::json& object, const char* name) -> int64_t {
    if (!object.is_object()) return 0;
    const auto found = object.find(name);
    return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
  };
  if (!answer.is_object()) return std::nullopt;
  const auto header = answer.find("header");
  return HashAt{number(answer, "hash_revision"), number(answer, "compact_revision"),
                header == answer.end() ? 0 : number(*header, "revision"),
                static_cast<uint32_t>(number(answer, "hash"))};
}

PeerHash AskForHash(const etcdserverpb::Member& member, ClusterId cluster, int64_t revision,
                    int64_t timeout_ns) {
  PeerHash peer{MemberId(member.id()), std::nullopt, "no peer URL"};
  for (const std::string& url : member.peerurls()) {
    HttpCall call{.url = url, .path = "/members/hashkv"};
    call.headers = {{"Content-Type", "application/json"},
                    {"X-Etcd-Cluster-ID", HexText(cluster.value())}};
    call.body = StrCat("{\"revision\":", revision, "}");
    call.timeout_ns = timeout_ns;
    const absl::StatusOr<HttpAnswer> answer = CallHttp(call);
    if (!answer.ok()) {
      peer.why_not = std::string(answer.status().message());
    } else if (answer->status != 200) {
      peer.why_not = answer->body.substr(0, answer->body.find('\n'));
    } else {
      peer.hash = ParseHash(answer->body);
      if (peer.hash) return peer;
      peer.why_not = "not a hash: " + answer->body;
    }
  }
  LogWarn("failed hash kv request", {{"remote-peer-id", HexText(member.id())},
                                     {"requested-revision", revision},
                                     {"error", peer.why_not}});
  return peer;
}

std::vector<PeerHash> AskAll(const std::vector<etcdserverpb::Member>& others, ClusterId cluster,
                             int64_t revision, int64_t timeout_ns) {
  std::vector<PeerHash> hashes;
  for (const etcdserverpb::Member& member : others) {
    hashes.push_back(AskForHash(member, cluster, revision, timeout_ns));
  }
  return hashes;
}

std::vector<etcdserverpb::Member> OthersThan(MemberId self, const engine::Engine& engine) {
  std::vector<etcdserverpb::Member> others;
  for (etcdserverpb::Member& member : engine.members()) {
    if (MemberId(member.id()) != self) others.push_back(std::move(member));
  }
  return others;
}

}  // namespace

absl::Status CheckHistoryAtStart(const ServerConfig& config, engine::Engine& engine) {
  const MemberId self = engine.header().member;
  const std::string id = HexText(self.value());
  LogInfo("starting initial corruption check",
          {{"local-member-id", id}, {"timeout", FormatGoDuration(config.RequestTimeoutNs())}});
  std::string why_not;
  const std::optional<HashAt> own = HashFrom(engine.HashKv(0), &why_not);
  if (!own) return absl::DataLossError(StrCat(id, " failed to fetch hash (", why_not, ")"));
  const std::string why = JudgeStart(*own, AskAll(OthersThan(self, engine), engine.header().cluster,
                                                  own->revision, config.RequestTimeoutNs()));
  if (!why.empty()) return absl::DataLossError(StrCat(id, " ", why));
  LogInfo("initial corruption checking passed; no corruption", {{"local-member-id", id}});
  return absl::OkStatus();
}

void CorruptionMonitor::Start() {
  if (options_.periodic_interval_ns == 0 && options_.compaction_interval_ns == 0) return;
  if (options_.periodic_interval_ns != 0) {
    LogInfo("enabled corruption checking",
            {{"local-member-id", HexText(context_->member.value())},
             {"interval", FormatGoDuration(options_.periodic_interval_ns)}});
  }
  thread_ = std::thread([this] {
    SetThreadName("corruption");
    Main();
  });
}

void CorruptionMonitor::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CorruptionMonitor::Main() {
  const auto after = [this](int64_t interval_ns) {
    return interval_ns == 0 ? INT64_MAX : context_->clock->MonotonicNs() + interval_ns;
  };
  int64_t periodic_ns = after(options_.periodic_interval_ns);
  int64_t compaction_ns = after(options_.compaction_interval_ns);
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const int64_t wait_ns = std::min(periodic_ns, compaction_ns) - context_->clock->MonotonicNs();
      if (stop_.wait_for(lock, std::chrono::nanoseconds(wait_ns), [this] { return stopping_; })) {
        return;
      }
    }
    const bool leads = context_->loop->counters().leads.load();
    const int64_t now_ns = context_->clock->MonotonicNs();
    if (now_ns >= periodic_ns) {
      if (leads) CheckNow();
      periodic_ns = after(options_.periodic_interval_ns);
    }
    if (now_ns >= compaction_ns) {
      if (leads) CheckCompactions();
      compaction_ns = after(options_.compaction_interval_ns);
    }
  }
}

void CorruptionMonitor::CheckNow() {
  const std::optional<HashAt> before = OwnHash();
  const std::optional<Members> members = AskMembers();
  if (!before || !members) return LogWarn("failed to check hash KV");
  const std::vector<PeerHash> peers = AskAll(members->others, members->cluster, before->revision,
                                             context_->config->RequestTimeoutNs());
  if (!WaitLinearizable()) return LogWarn("failed to check hash KV");
  const std::optional<HashAt> after = OwnHash();
  if (!after) return LogWarn("failed to check hash KV");
  RaiseCorrupt(JudgePeriodic(context_->member, *before, peers, *after));
  const auto checked = std::count_if(peers.begin(), peers.end(),
                                     [](const PeerHash& peer) { return peer.hash.has_value(); });
  LogInfo("finished peer corruption check", {{"number-of-peers-checked", int64_t{checked}}});
}

void CorruptionMonitor::CheckCompactions() {
  LogInfo("starting compact hash check",
          {{"local-member-id", HexText(context_->member.value())},
           {"timeout", FormatGoDuration(context_->config->RequestTimeoutNs())}});
  const std::optional<Members> members = AskMembers();
  if (!members) return;
  int64_t checked = 0;
  for (const engine::Engine::KeptHash& kept : members->kept) {
    if (kept.revision <= newest_checked_) break;
    ++checked;
    if (members->others.empty()) continue;
    const HashAt own{kept.revision, kept.compact_revision, 0, kept.hash};
    const CompactionJudgement judgement =
        JudgeCompaction(context_->member, own,
                        AskAll(members->others, members->cluster, kept.revision,
                               context_->config->RequestTimeoutNs()));
    RaiseCorrupt(judgement);
    if (!judgement.conclusive) continue;
    if (judgement.all_equal) {
      newest_checked_ = kept.revision;
      LogInfo("successfully checked hash on whole cluster",
              {{"number-of-peers-checked", static_cast<uint64_t>(members->others.size())},
               {"revision", kept.revision}});
    }
    break;
  }
  LogInfo("finished compaction hash check", {{"number-of-hashes-checked", checked}});
}

std::optional<CorruptionMonitor::Members> CorruptionMonitor::AskMembers() {
  auto asked = std::make_shared<std::promise<Members>>();
  std::future<Members> answer = asked->get_future();
  context_->loop->Run([asked](Replica& replica) {
    const engine::Engine& engine = replica.engine();
    asked->set_value({OthersThan(engine.header().member, engine), engine.header().cluster,
                      engine.compaction_hashes()});
  });
  const std::chrono::nanoseconds limit(context_->config->RequestTimeoutNs());
  if (answer.wait_for(limit) != std::future_status::ready) return std::nullopt;
  return answer.get();
}

std::optional<HashAt> CorruptionMonitor::OwnHash() {
  auto asked = std::make_shared<std::promise<HashResult>>();
  std::future<HashResult> answer = asked->get_future();
  context_->loop->Run([asked](Replica& replica) { asked->set_value(replica.engine().HashKv(0)); });
  const std::chrono::nanoseconds limit(context_->config->RequestTimeoutNs());
  if (answer.wait_for(limit) != std::future_status::ready) return std::nullopt;
  std::string why_not;
  return HashFrom(answer.get(), &why_not);
}

bool CorruptionMonitor::WaitLinearizable() {
  auto asked = std::make_shared<std::promise<bool>>();
  std::future<bool> answer = asked->get_future();
  Read read;
  read.deadline_ns = context_->clock->MonotonicNs() + context_->config->RequestTimeoutNs();
  read.run = [asked](engine::Engine&) { asked->set_value(true); };
  read.fail = [asked](const engine::Error&) { asked->set_value(false); };
  if (!context_->loop->ReadState(std::move(read))) return false;
  const std::chrono::nanoseconds limit(2 * context_->config->RequestTimeoutNs());
  return answer.wait_for(limit) == std::future_status::ready && answer.get();
}

// Not waited for: what is not raised now is found again by the next look.
void CorruptionMonitor::RaiseCorrupt(const Judgement& judgement) {
  for (const std::string& reason : judgement.reasons) {
    Log(LogLevel::kError, reason, {{"local-member-id", HexText(context_->member.value())}});
  }
  for (const MemberId member : judgement.corrupt) {
    etcdserverpb::AlarmRequest alarm;
    alarm.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
    alarm.set_memberid(member.value());
    alarm.set_alarm(etcdserverpb::CORRUPT);
    Proposal proposal;
    proposal.payload =
        WrapRequest(RaftField::kAlarm, alarm.SerializeAsString(), {context_->ids->Next(), {}});
    context_->loop->Propose(std::move(proposal));
  }
}

}  // namespace quorate::server
