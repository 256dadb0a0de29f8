#include "server/version_monitor.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <nlohmann/json.hpp>
#include <regex>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "base/thread_name.h"
#include "server/http_client.h"

namespace quorate::server {
namespace {

constexpr char kLowestVersion[] = "3.0.0";
constexpr auto kLookInterval = std::chrono::milliseconds(250);  // while nothing was decided
constexpr int kLooksPerCheck = 16;                              // etcd's 4 s otherwise

struct Version {
  int major = 0;
  int minor = 0;
  auto operator<=>(const Version&) const = default;
};

std::optional<Version> Parse(const std::string& text) {
  Version version;
  int patch = 0;
  if (std::sscanf(text.c_str(), "%d.%d.%d", &version.major, &version.minor, &patch) < 2) {
    return std::nullopt;
  }
  return version;
}

std::optional<std::string> AskForVersion(const std::string& url,
                                         const std::shared_ptr<transport::TlsContext>& tls) {
  const absl::StatusOr<HttpAnswer> answer = CallHttp({.url = url, .path = "/version", .tls = tls});
  if (!answer.ok() || answer->status != 200) return std::nullopt;
  const nlohmann::json body = nlohmann::json::parse(answer->body, nullptr, false);
  if (!body.is_object()) return std::nullopt;
  const auto found = body.find("etcdserver");
  if (found == body.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

}  // namespace

std::optional<std::string> LowestVersion(const std::vector<std::optional<std::string>>& versions) {
  std::optional<Version> lowest;
  for (const std::optional<std::string>& text : versions) {
    const std::optional<Version> version = text ? Parse(*text) : std::nullopt;
    if (!version) return std::nullopt;
    if (!lowest || *version < *lowest) lowest = version;
  }
  if (!lowest) return std::nullopt;
  return StrCat(lowest->major, ".", lowest->minor, ".0");
}

std::optional<std::string> DecideVersion(const std::string& present,
                                         const std::optional<std::string>& lowest,
                                         const engine::DowngradeInfo& downgrade) {
  if (present.empty()) return lowest.value_or(kLowestVersion);
  if (!lowest) return std::nullopt;
  if (downgrade.enabled) {
    if (downgrade.target_version != VersionBefore(present)) return std::nullopt;
    return downgrade.target_version;
  }
  if (!(Parse(present) < Parse(*lowest))) return std::nullopt;
  return lowest;
}

bool AllRun(const std::vector<std::optional<std::string>>& versions, const std::string& target) {
  return std::all_of(versions.begin(), versions.end(),
                     [&](const std::optional<std::string>& version) {
                       return version && Parse(*version) && Parse(*version) == Parse(target);
                     });
}

std::optional<std::string> ParseTargetVersion(const std::string& text) {
  static const auto* form = new std::regex(R"((\d{1,9})\.(\d{1,9})(\.\d+([-+][-+.0-9A-Za-z]+)?)?)");
  std::smatch parts;
  if (!std::regex_match(text, parts, *form)) return std::nullopt;
  return StrCat(std::stoi(parts[1]), ".", std::stoi(parts[2]), ".0");
}

std::string VersionBefore(const std::string& cluster_version) {
  const Version version = Parse(cluster_version).value_or(Version());
  return StrCat(version.major, ".", version.minor - 1, ".0");
}

std::string StorageVersion(const std::string& cluster_version) {
  const std::optional<Version> version = Parse(cluster_version);
  if (!version || *version >= Parse(kClusterVersion)) return kClusterVersion;
  return cluster_version;
}

void VersionMonitor::Start() {
  thread_ = std::thread([this] {
    SetThreadName("version");
    Main();
  });
}

void VersionMonitor::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void VersionMonitor::Main() {
  const int64_t check_ns = context_->config->downgrade_check_interval_ns;
  int64_t downgrade_ns = context_->clock->MonotonicNs() + check_ns;
  for (int looks = 0;; ++looks) {
    {
      std::unique_lock lock(mutex_);
      if (stop_.wait_for(lock, kLookInterval, [this] { return stopping_; })) return;
    }
    const bool decided = context_->loop->counters().version_decided.load();
    if (!decided || looks % kLooksPerCheck == 0) Look();
    if (check_ns == 0 || context_->clock->MonotonicNs() < downgrade_ns) continue;
    downgrade_ns = context_->clock->MonotonicNs() + check_ns;
    EndDowngrade();
  }
}

std::optional<VersionMonitor::State> VersionMonitor::AskState() {
  if (!context_->loop->counters().leads.load()) return std::nullopt;
  auto state = std::make_shared<std::promise<State>>();
  std::future<State> asked = state->get_future();
  context_->loop->Run([state](Replica& replica) {
    const engine::Engine& engine = replica.engine();
    state->set_value({engine.members(), engine.cluster_version(), engine.downgrade()});
  });
  if (asked.wait_for(std::chrono::seconds(5)) != std::future_status::ready) return std::nullopt;
  return asked.get();
}

void VersionMonitor::Look() {
  const std::optional<State> now = AskState();
  if (!now) return;
  const bool lowest = now->downgrade.enabled && now->version == now->downgrade.target_version;
  const bool highest = !now->downgrade.enabled && !now->version.empty() &&
                       Parse(now->version) >= Parse(kClusterVersion);
  if (lowest || highest) return;
  const std::optional<std::string> next =
      DecideVersion(now->version, LowestVersion(AskAll(now->members)), now->downgrade);
  if (!next) return;
  etcdserverpb::InternalRaftRequest request;
  request.mutable_cluster_version_set()->set_ver(*next);
  Propose(std::move(request));
}

void VersionMonitor::EndDowngrade() {
  const std::optional<State> now = AskState();
  if (!now || !now->downgrade.enabled) return;
  if (!AllRun(AskAll(now->members), now->downgrade.target_version)) return;
  LogInfo("the cluster has been downgraded", {{"cluster-version", now->downgrade.target_version}});
  etcdserverpb::InternalRaftRequest request;
  request.mutable_downgrade_info_set()->set_enabled(false);
  request.mutable_downgrade_info_set()->set_ver(now->downgrade.target_version);
  Propose(std::move(request));
}

std::vector<std::optional<std::string>> VersionMonitor::AskAll(
    const std::vector<etcdserverpb::Member>& members) {
  std::vector<std::optional<std::string>> versions;
  for (const etcdserverpb::Member& member : members) {
    if (MemberId(member.id()) == context_->member) {
      versions.emplace_back(kEtcdVersion);
      continue;
    }
    std::optional<std::string> version;
    for (const std::string& url : member.peerurls()) {
      if (!version) version = AskForVersion(url, context_->config->tls.peer_dial);
    }
    versions.push_back(std::move(version));
  }
  return versions;
}

void VersionMonitor::Propose(etcdserverpb::InternalRaftRequest request) {
  const uint64_t id = context_->ids->Next();
  request.mutable_header()->set_id(id);
  auto done = std::make_shared<std::promise<void>>();
  Proposal proposal;
  proposal.payload = Bytes::FromString(request.SerializeAsString());
  proposal.id = RequestId(id);
  proposal.waiter.deadline_ns =
      context_->clock->MonotonicNs() + context_->config->RequestTimeoutNs();
  proposal.waiter.done = [done](const engine::Reply&) { done->set_value(); };
  if (!context_->loop->Propose(std::move(proposal))) return;
  // Or else the next look proposes it again.
  done->get_future().wait_for(std::chrono::nanoseconds(context_->config->RequestTimeoutNs()));
}

}  // namespace quorate::server
