#include "engine/cluster/member_json.h"

#include <nlohmann/json.hpp>

namespace quorate::engine {

std::string MemberToJson(const etcdserverpb::Member& member) {
  nlohmann::ordered_json json;
  json["id"] = member.id();
  json["peerURLs"] = std::vector<std::string>(member.peerurls().begin(), member.peerurls().end());
  if (member.islearner()) json["isLearner"] = true;
  if (!member.name().empty()) json["name"] = member.name();
  if (member.clienturls_size() != 0) {
    json["clientURLs"] =
        std::vector<std::string>(member.clienturls().begin(), member.clienturls().end());
  }
  return json.dump();
}

std::optional<etcdserverpb::Member> ParseMemberJson(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("id") || !json["id"].is_number_unsigned()) {
    return std::nullopt;
  }
  etcdserverpb::Member member;
  member.set_id(json["id"].get<uint64_t>());
  for (const auto& url : json.value("peerURLs", nlohmann::json::array())) {
    if (url.is_string()) member.add_peerurls(url.get<std::string>());
  }
  for (const auto& url : json.value("clientURLs", nlohmann::json::array())) {
    if (url.is_string()) member.add_clienturls(url.get<std::string>());
  }
  member.set_islearner(json.value("isLearner", false));
  member.set_name(json.value("name", std::string()));
  return member;
}

}  // namespace quorate::engine
