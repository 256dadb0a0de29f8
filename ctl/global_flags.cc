#include "ctl/global_flags.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "transport/dns_srv.h"

extern char** environ;

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

std::string VariableOf(std::string_view flag) {
  std::string name = StrCat("ETCDCTL_", flag);
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return name;
}

}  // namespace

std::vector<OptionSpec> GlobalFlags() {
  const std::string g = kGlobalGroup;
  std::vector<OptionSpec> flags = {
      {"endpoints", Type::kStringList, "127.0.0.1:2379", "Servers to ask, in turn.", g},
      {"discovery-srv", Type::kString, "",
       "Domain whose SRV records _etcd-client-ssl._tcp and _etcd-client._tcp name the servers. "
       "Short: -d",
       g},
      {"discovery-srv-name", Type::kString, "",
       "What stands behind \"etcd-client\" in the names of these records.", g},
      {"insecure-discovery", Type::kBool, "true",
       "false: takes only servers with TLS from these records.", g},
      {"command-timeout", Type::kDuration, "5s", "Time for a command, all tries together.", g},
      {"dial-timeout", Type::kDuration, "2s", "Time for one attempt to connect.", g},
      {"keepalive-time", Type::kDuration, "2s",
       "How long a server may be silent before it is asked whether it lives; at least 10s.", g},
      {"keepalive-timeout", Type::kDuration, "6s", "How long it may take to answer that.", g},
      {"user", Type::kString, "", "name[:password] to sign in with; asks where none is given.", g},
      {"password", Type::kString, "", "The password, apart from --user.", g},
      {"auth-jwt-token", Type::kString, "", "A token to show instead of signing in.", g},
      {"cacert", Type::kString, "", "Roots that the server's certificate must lead to (PEM).", g},
      {"cert", Type::kString, "", "Certificate to show the server (PEM).", g},
      {"key", Type::kString, "", "Its private key.", g},
      {"insecure-transport", Type::kBool, "true",
       "false: TLS also to endpoints that name no scheme.", g},
      {"insecure-skip-tls-verify", Type::kBool, "false",
       "Does not check the server's certificate: anybody may be at the other end.", g},
      {"write-out", Type::kString, "simple",
       "Format: fields, json, protobuf, simple, table. Short: -w", g},
      {"hex", Type::kBool, "false", "Shows bytes and ids in hexadecimal.", g},
      {"max-recv-bytes", Type::kInt, "0", "Largest answer accepted; 0 means no limit.", g},
      {"max-request-bytes", Type::kInt, "0", "Largest request sent; 0 means 2 MiB.", g},
      {"debug", Type::kBool, "false", "Shows on standard error what each flag is.", g},
      {"help", Type::kBool, "false", "Explains the command. Short: -h", g},
  };
  for (OptionSpec& flag : flags) {
    if (flag.type == Type::kDuration) flag.min = 1;
  }
  return flags;
}

absl::Status DiscoverEndpoints(OptionValues* values) {
  const std::string& domain = values->GetString("discovery-srv");
  if (domain.empty()) return absl::OkStatus();
  const auto urls = transport::LookUpClientUrls(domain, values->GetString("discovery-srv-name"));
  if (!urls.ok()) return urls.status();
  std::vector<std::string> endpoints;
  for (const std::string& url : *urls) {
    if (values->GetBool("insecure-discovery") || url.starts_with("https://")) {
      endpoints.push_back(url);
    } else {
      std::fprintf(stderr, "ignoring discovered insecure endpoint \"%s\"\n", url.c_str());
    }
  }
  if (endpoints.empty()) return absl::OkStatus();
  return values->Set("endpoints", StrJoin(endpoints, ","), OptionSource::kFlag, "--discovery-srv");
}

std::string_view FlagOfLetter(char letter) {
  switch (letter) {
    case 'd':
      return "discovery-srv";
    case 'h':
      return "help";
    case 'i':
      return "interactive";
    case 'l':
      return "listen";
    case 'w':
      return "write-out";
    default:
      return "";
  }
}

absl::Status ReadEnvironment(OptionValues* values) {
  for (char** entry = environ; *entry != nullptr; ++entry) {
    auto [variable, text] = SplitOnce(*entry, '=');
    std::string_view rest = variable;
    if (!ConsumePrefix(&rest, "ETCDCTL_") || rest == "API" || rest.starts_with("WATCH_")) continue;
    std::string name(rest);
    for (char& c : name) c = c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    const OptionSpec* spec = values->Find(name);
    if (spec == nullptr || spec->group != kGlobalGroup) {
      std::fprintf(stderr, "quoratectl: %s is set and known to no flag\n",
                   std::string(variable).c_str());
      continue;
    }
    if (values->Source(name) == OptionSource::kFlag) continue;
    const auto status = values->Set(name, text, OptionSource::kEnvironment, variable);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string DebugText(const OptionValues& values) {
  std::vector<std::string> lines;
  for (const OptionSpec& spec : values.specs()) {
    if (spec.group != kGlobalGroup || spec.name == "help") continue;
    std::string text = values.Text(spec.name);
    const bool secret = spec.name == "password" || spec.name == "auth-jwt-token";
    if (spec.type == Type::kStringList) text = StrCat("[", text, "]");
    if (spec.name == "user") text = std::string(SplitOnce(text, ':').first);
    if (secret && !text.empty()) text = "(not shown)";
    lines.push_back(StrCat(VariableOf(spec.name), "=", text, "\n"));
  }
  std::sort(lines.begin(), lines.end());
  return StrJoin(lines, "");
}

}  // namespace quorate::ctl
