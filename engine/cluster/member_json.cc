#include "engine/cluster/member_json.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace quorate::engine {
namespace {

using nlohmann::json;

std::string Dump(const nlohmann::ordered_json& object) {
  // Names may hold bytes that are no UTF-8; they are replaced, as etcd does.
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

json Parse(std::string_view text) { return json::parse(text, nullptr, /*allow_exceptions=*/false); }

// Each takes a key that may be missing; false when it has another type.
bool TakeString(const json& object, const char* key, std::string* out) {
  const auto found = object.find(key);
  if (found == object.end()) return true;
  if (!found->is_string()) return false;
  *out = found->get<std::string>();
  return true;
}

bool TakeBool(const json& object, const char* key, bool* out) {
  const auto found = object.find(key);
  if (found == object.end()) return true;
  if (!found->is_boolean()) return false;
  *out = found->get<bool>();
  return true;
}

bool TakeStrings(const json& object, const char* key,
                 google::protobuf::RepeatedPtrField<std::string>* out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return true;
  if (!found->is_array()) return false;
  for (const json& item : *found) {
    if (!item.is_string()) return false;
    *out->Add() = item.get<std::string>();
  }
  return true;
}

nlohmann::ordered_json ToObject(const etcdserverpb::Member& member) {
  nlohmann::ordered_json object;
  object["id"] = member.id();
  object["peerURLs"] = std::vector<std::string>(member.peerurls().begin(), member.peerurls().end());
  if (member.islearner()) object["isLearner"] = true;
  if (!member.name().empty()) object["name"] = member.name();
  if (member.clienturls_size() != 0) {
    object["clientURLs"] =
        std::vector<std::string>(member.clienturls().begin(), member.clienturls().end());
  }
  return object;
}

std::optional<etcdserverpb::Member> FromObject(const json& object) {
  if (!object.is_object() || !object.contains("id") || !object["id"].is_number_unsigned()) {
    return std::nullopt;
  }
  etcdserverpb::Member member;
  member.set_id(object["id"].get<uint64_t>());
  bool learner = false;
  if (!TakeStrings(object, "peerURLs", member.mutable_peerurls()) ||
      !TakeStrings(object, "clientURLs", member.mutable_clienturls()) ||
      !TakeBool(object, "isLearner", &learner) ||
      !TakeString(object, "name", member.mutable_name())) {
    return std::nullopt;
  }
  member.set_islearner(learner);
  return member;
}

}  // namespace

std::string MemberToJson(const etcdserverpb::Member& member) { return Dump(ToObject(member)); }

std::optional<etcdserverpb::Member> ParseMemberJson(std::string_view text) {
  return FromObject(Parse(text));
}

std::string MemberContextToJson(const MemberContext& context) {
  nlohmann::ordered_json object = ToObject(context.member);
  if (context.promote) object["isPromote"] = true;
  return Dump(object);
}

std::optional<MemberContext> ParseMemberContextJson(std::string_view text) {
  const json object = Parse(text);
  std::optional<etcdserverpb::Member> member = FromObject(object);
  MemberContext context;
  if (!member || !TakeBool(object, "isPromote", &context.promote)) return std::nullopt;
  context.member = *std::move(member);
  return context;
}

std::string ConfStateToJson(const std::vector<uint64_t>& voters,
                            const std::vector<uint64_t>& learners) {
  nlohmann::ordered_json object;
  object["voters"] = voters;
  if (!learners.empty()) object["learners"] = learners;
  object["auto_leave"] = false;
  return Dump(object);
}

std::string DowngradeToJson(const DowngradeInfo& downgrade) {
  nlohmann::ordered_json object;
  object["target-version"] = downgrade.target_version;
  object["enabled"] = downgrade.enabled;
  return Dump(object);
}

std::optional<DowngradeInfo> ParseDowngradeJson(std::string_view text) {
  const json object = Parse(text);
  DowngradeInfo downgrade;
  if (!object.is_object() || !TakeString(object, "target-version", &downgrade.target_version) ||
      !TakeBool(object, "enabled", &downgrade.enabled)) {
    return std::nullopt;
  }
  return downgrade;
}

}  // namespace quorate::engine
