#include "server/flags.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "base/strict_yaml.h"
#include "base/text.h"
#include "server/feature_gates.h"

namespace quorate::server {
namespace {

// Variables that harnesses and etcd's own tools set for every process.
const std::set<std::string, std::less<>>& OtherEtcdVariables() {
  static const auto* names =
      new std::set<std::string, std::less<>>{"ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY"};
  return *names;
}

std::string VariableOf(std::string_view option) {
  std::string name = "ETCD_";
  for (const char c : option) name.push_back(c == '-' ? '_' : absl::ascii_toupper(c));
  return name;
}

UsageError CheckFeatureGates(const OptionValues& values) {
  const std::string& text = values.GetString("feature-gates");
  const absl::Status status = FeatureGates::Parse(text).status();
  if (status.ok()) return {};
  return {
      2, StrCat("invalid value \"", text, "\" for flag -feature-gates: ", ToStd(status.message()))};
}

// Keys of etcd's sample configuration that etcd itself no longer reads.
bool IsLegacyYamlKey(std::string_view key) {
  static const auto* names =
      new std::set<std::string, std::less<>>{"discovery",
                                             "discovery-proxy",
                                             "proxy",
                                             "proxy-failure-wait",
                                             "proxy-refresh-interval",
                                             "proxy-dial-timeout",
                                             "proxy-write-timeout",
                                             "proxy-read-timeout",
                                             "enable-v2",
                                             "grpc-additional-server-options",
                                             "experimental-initial-corrupt-check",
                                             "debug"};
  return names->contains(key);
}

absl::Status SetFromYaml(OptionValues& values, const std::string& name, const YamlNode& node,
                         const std::string& file) {
  const OptionSpec* spec = values.Find(name);
  const std::string where = StrCat(file, ":", node.line(), ": ", name);
  if (node.kind() == YamlNode::Kind::kNull) return absl::OkStatus();
  std::string text;
  if (node.kind() == YamlNode::Kind::kList) {
    std::vector<std::string> items;
    for (size_t i = 0; i < node.size(); ++i) {
      absl::StatusOr<std::string> item = node.at(i).AsString();
      if (!item.ok()) return item.status();
      items.push_back(*std::move(item));
    }
    text = StrJoin(items, ",");
  } else {
    absl::StatusOr<std::string> scalar = node.AsString();
    if (!scalar.ok()) return scalar.status();
    text = *std::move(scalar);
  }
  // etcd's files give durations as integer nanoseconds.
  int64_t number;
  if (spec->type == OptionSpec::Type::kDuration && absl::SimpleAtoi(text, &number)) {
    text = StrCat(number, "ns");
  }
  return values.Set(name, text, OptionSource::kFile, where);
}

// Nested sections of etcd's file and the flag prefix their keys stand for.
const std::map<std::string, std::string, std::less<>>& Sections() {
  static const auto* sections = new std::map<std::string, std::string, std::less<>>{
      {"client-transport-security", ""},
      {"peer-transport-security", "peer-"},
      {"socket-options", "socket-"},
  };
  return *sections;
}

std::string FlagOf(const std::string& prefix, const std::string& key) {
  if (key == "allowed-cn" || key == "allowed-hostname") {
    return StrCat(prefix.empty() ? "client-" : prefix, "cert-", key);
  }
  return prefix + key;
}

absl::Status ReadSection(OptionValues& values, const YamlNode& node, const std::string& prefix,
                         const std::string& file) {
  if (node.kind() == YamlNode::Kind::kNull) return absl::OkStatus();
  if (node.kind() != YamlNode::Kind::kMap) return node.Error("expected keys and values");
  for (const std::string& key : node.Keys()) {
    const YamlNode child = node.Get(key);
    const auto section = Sections().find(key);
    if (prefix.empty() && section != Sections().end()) {
      absl::Status status = ReadSection(values, child, section->second, file);
      if (!status.ok()) return status;
      continue;
    }
    if (prefix.empty() && IsLegacyYamlKey(key)) continue;
    const std::string name = FlagOf(prefix, key);
    if (name == "config-file") return child.Error("a file cannot name another file");
    // An unknown name is told with the closest known ones.
    absl::Status status =
        values.Find(name) != nullptr
            ? SetFromYaml(values, name, child, file)
            : values.Set(name, "", OptionSource::kFile, StrCat(file, ":", child.line()));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

UsageError ReadEnvironment(const std::vector<std::string>& environment, ParsedCommandLine* parsed) {
  std::map<std::string, std::string, std::less<>> variables;
  for (const OptionSpec& spec : parsed->values.specs()) {
    // ETCD_VERSION is what images and scripts call the release that they are made for.
    if (spec.name != "version") variables[VariableOf(spec.name)] = spec.name;
  }
  for (const std::string& item : environment) {
    const auto parts = SplitOnce(item, '=');
    if (!parts.first.starts_with("ETCD_")) continue;
    const auto known = variables.find(parts.first);
    if (known == variables.end()) {
      if (!OtherEtcdVariables().contains(parts.first)) {
        parsed->warnings.emplace_back(parts.first);
      }
      continue;
    }
    if (parts.second.empty()) continue;
    if (parsed->values.Source(known->second) == OptionSource::kFlag) {
      return {1, StrCat("conflicting environment variable ", parts.first,
                        " is shadowed by the corresponding command-line flag --", known->second,
                        " (either unset the variable or drop the flag)")};
    }
    absl::Status status =
        parsed->values.Set(known->second, parts.second, OptionSource::kEnvironment, parts.first);
    if (!status.ok()) return {1, std::string(status.message())};
  }
  return {};
}

std::string ConfigFileFrom(const OptionValues& values,
                           const std::vector<std::string>& environment) {
  if (values.Source("config-file") == OptionSource::kFlag) return values.GetString("config-file");
  for (const std::string& item : environment) {
    if (item.starts_with("ETCD_CONFIG_FILE=")) return item.substr(sizeof("ETCD_CONFIG_FILE=") - 1);
  }
  return "";
}

}  // namespace

UsageError ParseCommandLine(const std::vector<std::string>& args,
                            const std::vector<std::string>& environment,
                            ParsedCommandLine* parsed) {
  std::vector<std::string> flags;
  for (const std::string& arg : args) flags.push_back(arg == "-h" ? "--help" : arg);
  absl::StatusOr<std::vector<std::string>> words = parsed->values.ParseFlags(flags);
  if (!words.ok()) return {2, std::string(words.status().message())};
  if (!words->empty()) {
    return {
        2, StrCat("'", words->front(), "' is not a valid flag; options start with --, see --help")};
  }
  parsed->help = parsed->values.GetBool("help");
  parsed->version = parsed->values.GetBool("version");
  parsed->print_config = parsed->values.GetBool("print-config");
  if (parsed->help || parsed->version || parsed->print_config) return {};

  parsed->config_file = ConfigFileFrom(parsed->values, environment);
  if (!parsed->config_file.empty()) {
    absl::StatusOr<YamlNode> document = ParseYamlFile(parsed->config_file);
    if (!document.ok()) return {1, StrCat("--config-file: ", document.status().message())};
    parsed->values = OptionValues(ServerOptionSpecs());
    absl::Status status = ReadSection(parsed->values, *document, "", parsed->config_file);
    if (!status.ok()) return {1, std::string(status.message())};
  } else {
    UsageError error = ReadEnvironment(environment, parsed);
    if (error.exit_code != 0) return error;
  }
  return CheckFeatureGates(parsed->values);
}

}  // namespace quorate::server
