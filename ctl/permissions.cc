#include "ctl/permissions.h"

#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using authpb::Permission;

const std::string kOpenEnd(1, '\0');
constexpr char kBothFlags[] = "--from-key and --prefix flags are mutually exclusive";

std::string IntervalText(const Permission& permission) {
  const std::string& key = permission.key();
  const std::string& end = permission.range_end();
  if (end.empty()) return StrCat("\t", key, "\n");
  std::string text =
      end == kOpenEnd ? StrCat("\t[", key, ", <open ended>") : StrCat("\t[", key, ", ", end, ")");
  if (!key.empty() && PrefixEnd(key) == end) StrAppend(&text, " (prefix ", key, ")");
  return text + "\n";
}

std::string RoleText(const std::string& role, const etcdserverpb::AuthRoleGetResponse& response) {
  std::string out = StrCat("Role ", role, "\n");
  if (role == "root" && response.perm().empty()) {
    return out + "KV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n";
  }
  const auto add = [&](const char* heading, Permission::Type type) {
    StrAppend(&out, heading, "\n");
    for (const Permission& permission : response.perm()) {
      if (permission.permtype() == type || permission.permtype() == Permission::READWRITE) {
        out += IntervalText(permission);
      }
    }
  };
  add("KV Read:", Permission::READ);
  add("KV Write:", Permission::WRITE);
  return out;
}

std::string RoleFields(const Session& session, const etcdserverpb::AuthRoleGetResponse& response) {
  std::string out = HeaderFields(session, response.header());
  for (const Permission& permission : response.perm()) {
    StrAppend(&out, "\"PermType\" :  ", Permission::Type_Name(permission.permtype()),
              "\n\"Key\" : ", GoQuote(permission.key()),
              "\n\"RangeEnd\" : ", GoQuote(permission.range_end()), "\n");
  }
  return out;
}

}  // namespace

int PrintRole(const Session& session, const std::string& role,
              const etcdserverpb::AuthRoleGetResponse& response) {
  return PrintMessage(
      session, response, [&] { return RoleText(role, response); },
      [&] { return RoleFields(session, response); });
}

absl::StatusOr<KeyInterval> PermittedInterval(const Session& session, size_t first) {
  const bool prefix = session.values().GetBool("prefix");
  const bool from = session.values().GetBool("from-key");
  const auto& words = session.words();
  const std::string& key = words[first];
  const bool has_end = words.size() > first + 1;
  if (key.empty()) {
    if (prefix && from) return absl::InvalidArgumentError(kBothFlags);
    return KeyInterval{kOpenEnd, prefix || from ? kOpenEnd : ""};
  }
  if (has_end && prefix) {
    return absl::InvalidArgumentError("unexpected endkey argument with --prefix flag");
  }
  if (has_end && from) {
    return absl::InvalidArgumentError("unexpected endkey argument with --from-key flag");
  }
  if (prefix && from) return absl::InvalidArgumentError(kBothFlags);
  if (prefix) return KeyInterval{key, PrefixEnd(key)};
  if (from) return KeyInterval{key, kOpenEnd};
  return KeyInterval{key, has_end ? words[first + 1] : ""};
}

}  // namespace quorate::ctl
