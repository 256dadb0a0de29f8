#include "server/flags.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "base/text.h"
#include "server/config.h"
#include "server/config_text.h"

namespace quorate::server {
namespace {

ParsedCommandLine Fresh() {
  return {OptionValues(ServerOptionSpecs()), {}, false, false, false, ""};
}

UsageError Parse(const std::vector<std::string>& args, ParsedCommandLine* parsed,
                 const std::vector<std::string>& environment = {}) {
  *parsed = Fresh();
  return ParseCommandLine(args, environment, parsed);
}

std::string WriteFile(const std::string& name, const std::string& text) {
  const std::string path = std::string(std::tmpnam(nullptr)) + name;
  std::ofstream(path) << text;
  return path;
}

TEST_CASE("flags are etcd's: both notations, the last of a repeated one wins") {
  ParsedCommandLine parsed = Fresh();
  const UsageError error = Parse({"--name=a", "--name", "b", "--initial-cluster-token=new",
                                  "--initial-cluster-token=newer", "--snapshot-count=5"},
                                 &parsed);
  REQUIRE(error.exit_code == 0);
  CHECK(parsed.values.GetString("name") == "b");
  CHECK(parsed.values.GetString("initial-cluster-token") == "newer");
  CHECK(parsed.values.GetInt("snapshot-count") == 5);
}

TEST_CASE("an unknown flag ends with exit code 2 and names near ones") {
  ParsedCommandLine parsed = Fresh();
  const UsageError error = Parse({"--snapshot-cuont=5"}, &parsed);
  CHECK(error.exit_code == 2);
  CHECK(error.message.find("snapshot-count") != std::string::npos);
}

TEST_CASE("environment variables count unless the flag is given as well") {
  ParsedCommandLine parsed = Fresh();
  CHECK(Parse({}, &parsed, {"ETCD_NAME=env", "ETCD_STRANGE=1", "PATH=/bin"}).exit_code == 0);
  CHECK(parsed.values.GetString("name") == "env");
  CHECK(parsed.warnings == std::vector<std::string>{"ETCD_STRANGE"});
  ParsedCommandLine beside = Fresh();
  CHECK(Parse({}, &beside, {"ETCD_VERSION=v3.5.0"}).exit_code == 0);
  CHECK_FALSE(beside.version);
  CHECK(beside.warnings == std::vector<std::string>{"ETCD_VERSION"});
  const UsageError both = Parse({"--name=x"}, &parsed, {"ETCD_NAME=env"});
  CHECK(both.exit_code == 1);
  CHECK(both.message.find("ETCD_NAME") != std::string::npos);
}

TEST_CASE("a configuration file replaces flags and variables") {
  const std::string path = WriteFile(".yml",
                                     "name: from-file\n"
                                     "grpc-keepalive-min-time: 7000000000\n"
                                     "backend: memory\n"
                                     "client-transport-security:\n  auto-tls: false\n");
  ParsedCommandLine parsed = Fresh();
  REQUIRE(Parse({"--config-file", path}, &parsed, {"ETCD_NAME=env"}).exit_code == 0);
  CHECK(parsed.values.GetString("name") == "from-file");
  CHECK(parsed.values.GetString("backend") == "memory");
  CHECK(parsed.values.GetInt("grpc-keepalive-min-time") == 7'000'000'000);
}

TEST_CASE("the printed file explains every option, and set as it stands it changes nothing") {
  std::string text = ConfigFileText(ServerOptionSpecs());
  for (const OptionSpec& spec : ServerOptionSpecs()) {
    if (spec.hidden || !spec.no_effect.empty()) continue;
    INFO(spec.name);
    const bool there = text.find("\n#" + spec.name + ": ") != std::string::npos;
    const bool only_flag = spec.group == "Program" || spec.name == "force-new-cluster";
    CHECK(there != only_flag);
  }
  // All of them set at once.
  for (size_t at = 0; (at = text.find("\n#", at)) != std::string::npos; ++at) {
    if (text[at + 2] != ' ') text.erase(at + 1, 1);
  }
  const std::string path = WriteFile(".yml", text);
  ParsedCommandLine parsed = Fresh();
  const UsageError error = Parse({"--config-file", path}, &parsed);
  INFO(error.message);
  REQUIRE(error.exit_code == 0);
  for (const OptionSpec& spec : ServerOptionSpecs()) {
    INFO(spec.name);
    CHECK(parsed.values.Text(spec.name) == spec.default_text);
  }
}

TEST_CASE("an unknown key of the file is named with its line") {
  const std::string path = WriteFile(".yml", "name: a\nbackned: lmdb\n");
  ParsedCommandLine parsed = Fresh();
  const UsageError error = Parse({"--config-file", path}, &parsed);
  CHECK(error.exit_code == 1);
  CHECK(error.message.find(":2:") != std::string::npos);
  CHECK(error.message.find("backned") != std::string::npos);
}

TEST_CASE("an unknown feature gate ends with exit code 2") {
  ParsedCommandLine parsed = Fresh();
  CHECK(Parse({"--feature-gates=InitialCorruptCheck=true"}, &parsed).exit_code == 0);
  CHECK(Parse({"--feature-gates=Nonsense=true"}, &parsed).exit_code == 2);
}

absl::StatusOr<ServerConfig> ConfigOf(const std::vector<std::string>& args) {
  ParsedCommandLine parsed = Fresh();
  const UsageError error = Parse(args, &parsed);
  REQUIRE(error.exit_code == 0);
  return MakeServerConfig(parsed.values);
}

TEST_CASE("only one way to find the first members can be given") {
  const auto refused = [](std::vector<std::string> flags, std::string_view text) {
    const auto config = ConfigOf(std::move(flags));
    REQUIRE_FALSE(config.ok());
    CHECK(ToStd(config.status().message()).find(text) != std::string_view::npos);
  };
  refused({"--discovery-token=x"}, "both --discovery-token and --discovery-endpoints must be set");
  refused({"--discovery-endpoints=h:1"}, "must be set");
  refused({"--discovery-srv=d", "--initial-cluster=a=http://h:1"}, "multiple discovery");
  refused({"--discovery-srv=d", "--discovery-endpoints=h:1", "--discovery-token=x"},
          "multiple discovery");
  const auto config = ConfigOf({"--discovery-endpoints=http://h:1,h:2", "--discovery-token=t",
                                "--discovery-user=me:secret"});
  REQUIRE(config.ok());
  CHECK(config->discovery.endpoints == std::vector<std::string>{"http://h:1", "h:2"});
  CHECK(config->discovery.user == "me");
  CHECK(config->discovery.password == "secret");
}

TEST_CASE("configuration is checked with etcd's words") {
  CHECK(ConfigOf({"--election-timeout=300"}).status().message() ==
        "--election-timeout[300ms] should be at least as 5 times as --heartbeat-interval[100ms]");
  CHECK_FALSE(ConfigOf({"--listen-client-urls=http://127.0.0.1:1"}).ok());
  CHECK(ConfigOf({"--name=x"})->initial_cluster == "x=http://localhost:2380");
  CHECK(ConfigOf({"--initial-cluster-state=existing"})->initial_cluster_state ==
        InitialClusterState::kExisting);
}

TEST_CASE("options of TLS are checked before anything is opened") {
  const auto config = ConfigOf({"--peer-cert-allowed-cn=a,b", "--tls-min-version=TLS1.3"});
  REQUIRE(config.ok());
  CHECK(config->security.peer.listen.allowed_cns == std::vector<std::string>{"a", "b"});
  CHECK(config->security.peer.listen.version_min == transport::TlsVersion::kTls13);
  CHECK(config->security.client.listen.version_min == transport::TlsVersion::kTls13);
  CHECK_FALSE(ConfigOf({"--tls-min-version=TLS1.1"}).ok());
  CHECK_FALSE(ConfigOf({"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"}).ok());
  CHECK_FALSE(ConfigOf({"--cipher-suites=FOO"}).ok());
  CHECK_FALSE(ConfigOf({"--peer-client-key-file=x"}).ok());
}

TEST_CASE("tracing is off unless switched on, and then knows its collector") {
  CHECK_FALSE(ConfigOf({"--distributed-tracing-address=nowhere"})->tracing.has_value());
  const auto usual = ConfigOf({"--enable-distributed-tracing"})->tracing;
  REQUIRE(usual.has_value());
  CHECK(usual->host == "localhost");
  CHECK(usual->port == 4317);
  CHECK(usual->service_name == "etcd");
  CHECK(usual->instance_id.empty());
  CHECK(usual->sampling_rate == 0);
  for (const char* address : {"", "nowhere", "a:0", ":1", "http://a:1", "https://a:1"}) {
    INFO(address);
    const auto config = ConfigOf(
        {"--enable-distributed-tracing", StrCat("--distributed-tracing-address=", address)});
    REQUIRE_FALSE(config.ok());
    CHECK(config.status().message().find("--distributed-tracing-address") !=
          absl::string_view::npos);
  }

  const std::string file = WriteFile("tracing.yml",
                                     "enable-distributed-tracing: true\n"
                                     "distributed-tracing-address: \"[::1]:4318\"\n"
                                     "distributed-tracing-sampling-rate: 1000000\n");
  const auto from_file = ConfigOf({"--config-file", file})->tracing;
  REQUIRE(from_file.has_value());
  CHECK(from_file->host == "::1");
  CHECK(from_file->port == 4318);
  CHECK(from_file->sampling_rate == 1'000'000);
  ParsedCommandLine parsed = Fresh();
  CHECK(Parse({"--distributed-tracing-sampling-rate=-1"}, &parsed).exit_code == 2);
  CHECK(Parse({"--distributed-tracing-sampling-rate=1000001"}, &parsed).exit_code == 2);
}

TEST_CASE("feature gates: the stage's switch counts where the gate itself is not named") {
  CHECK_FALSE(FeatureGates::Parse("")->On("InitialCorruptCheck"));
  CHECK(FeatureGates::Parse("")->On("FastLeaseKeepAlive"));
  CHECK(FeatureGates::Parse("InitialCorruptCheck=true")->On("InitialCorruptCheck"));
  CHECK(FeatureGates::Parse("AllAlpha=true")->On("CompactHashCheck"));
  CHECK_FALSE(FeatureGates::Parse("CompactHashCheck=false,AllAlpha=true")->On("CompactHashCheck"));
  CHECK_FALSE(FeatureGates::Parse("AllBeta=false")->On("FastLeaseKeepAlive"));
}

TEST_CASE("log rotation wants one file and etcd's JSON") {
  const auto parsed = ParseLogRotation(
      R"({"maxsize": 5, "maxage": 1, "maxbackups": 2, "localtime": true, "compress": false})",
      {"stderr", "/var/log/x"});
  REQUIRE(parsed.ok());
  CHECK(parsed->bytes_max == uint64_t{5} << 20);
  CHECK(parsed->backups_max == 2);
  CHECK(ParseLogRotation("{}", {"x"})->bytes_max == uint64_t{100} << 20);
  CHECK_FALSE(ParseLogRotation("{}", {"stderr"}).ok());
  CHECK_FALSE(ParseLogRotation("{}", {"a", "b"}).ok());
  for (const char* bad :
       {"", "{", "[]", R"({"maxsize": "x"})", R"({"size": 1})", R"({"compress": true})"}) {
    INFO(bad);
    CHECK_FALSE(ParseLogRotation(bad, {"x"}).ok());
  }
}

TEST_CASE("listen URLs are taken apart or refused by name") {
  CHECK(ParseListenUrl("http://[::1]:2379", "f")->host == "::1");
  CHECK(ParseListenUrl("unix://localhost:7", "f")->unix_path == "localhost:7");
  using Security = transport::ListenAddress::Security;
  CHECK(ParseListenUrl("http://a:1", "f")->security == Security::kPlain);
  CHECK(ParseListenUrl("https://a:1", "f")->security == Security::kTls);
  CHECK(ParseListenUrl("unixs://a:1", "f")->security == Security::kTls);
  for (const char* url :
       {"", "localhost:1", "ftp://a:1", "http://a", "http://a:99999", "http://a:1/path"}) {
    const auto parsed = ParseListenUrl(url, "listen-client-urls");
    INFO(url);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.status().message().find("--listen-client-urls") != absl::string_view::npos);
  }
}

}  // namespace
}  // namespace quorate::server
