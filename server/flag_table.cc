// The rows of the option table, by group; see flags.h. Names, defaults and bounds of etcd's flags
// are etcd 3.7's; the words are ours.

#include <string>
#include <vector>

#include "server/flags.h"

namespace quorate::server {
namespace {

using Type = OptionSpec::Type;

constexpr char kNoGo[] = "it tunes etcd's Go storage or runtime, which is not here";
constexpr char kOwnLimits[] = "links between members keep to 5 s, the least that etcd takes";

void AddMember(std::vector<OptionSpec>& t) {
  const std::string g = "Member";
  t.push_back({"name", Type::kString, "default", "Name of this member, for people.", g});
  t.push_back({"data-dir", Type::kString, "", "Data directory; empty means NAME.etcd.", g});
  t.push_back({"wal-dir", Type::kString, "", "Separate directory for the log.", g});
  t.push_back({"snapshot-count", Type::kUint, "10000",
               "Applied entries after which the backend is synced and the log may be cut; 0 means "
               "10000.",
               g});
  t.push_back({"snapshot-catchup-entries", Type::kUint, "5000",
               "Log entries kept behind that point; 0 means 5000.", g});
  t.push_back({"heartbeat-interval", Type::kUint, "100", "Raft tick, in milliseconds.", g, {}, 1});
  t.push_back({"election-timeout",
               Type::kUint,
               "1000",
               "Election timeout in milliseconds; at least five heartbeat intervals.",
               g,
               {},
               1,
               50000});
  t.push_back({"initial-election-tick-advance", Type::kBool, "true",
               "A member that is alone elects itself at its first tick.", g});
  t.push_back({"pre-vote", Type::kBool, "true", "Ask before standing for election.", g});
  t.push_back({"listen-client-urls", Type::kStringList, "http://localhost:2379",
               "Where clients are served: gRPC and HTTP on the same port.", g});
  t.push_back({"listen-peer-urls", Type::kStringList, "http://localhost:2380",
               "Where other members are served.", g});
  t.push_back({"listen-client-http-urls", Type::kStringList, "",
               "Serve HTTP here and leave the client URLs to gRPC alone.", g});
  t.push_back(
      {"listen-metrics-urls", Type::kStringList, "", "Serve /metrics and health here as well.", g});
}

void AddLimits(std::vector<OptionSpec>& t) {
  const std::string g = "Member";
  t.push_back({"quota-backend-bytes", Type::kInt, "0",
               "Size at which writes are refused (NOSPACE); 0 means 2 GiB, negative switches it "
               "off.",
               g});
  t.push_back({"max-txn-ops", Type::kUint, "128", "Operations allowed in one transaction.", g});
  t.push_back({"max-request-bytes",
               Type::kUint,
               "1572864",
               "Largest request in the log.",
               g,
               {},
               1,
               int64_t{1} << 31});
  t.push_back({"max-concurrent-streams",
               Type::kUint,
               "4294967295",
               "Streams that one client connection may have open.",
               g,
               {},
               1,
               4294967295});
  t.push_back({"grpc-keepalive-min-time",
               Type::kDuration,
               "5s",
               "Clients that ping more often are disconnected.",
               g,
               {},
               0});
  t.push_back({"grpc-keepalive-interval",
               Type::kDuration,
               "2h0m0s",
               "How often an idle client connection is pinged.",
               g,
               {},
               0});
  t.push_back({"grpc-keepalive-timeout",
               Type::kDuration,
               "20s",
               "How long to wait for the answer to such a ping.",
               g,
               {},
               0});
  t.push_back({"socket-reuse-port", Type::kBool, "false", "Set SO_REUSEPORT on listeners.", g});
  t.push_back({"socket-reuse-address", Type::kBool, "false", "Set SO_REUSEADDR on listeners.", g});
  t.push_back({"memory-mlock", Type::kBool, "false", "Lock the process into memory.", g});
  t.push_back({"raft-read-timeout", Type::kDuration, "5s", "", g, {}, 0, INT64_MAX, kOwnLimits});
  t.push_back({"raft-write-timeout", Type::kDuration, "5s", "", g, {}, 0, INT64_MAX, kOwnLimits});
  t.push_back({"max-snapshots",
               Type::kUint,
               "5",
               "",
               g,
               {},
               0,
               INT64_MAX,
               "backends are their own snapshots"});
  t.push_back({"max-wals",
               Type::kUint,
               "5",
               "",
               g,
               {},
               0,
               INT64_MAX,
               "log segments are recycled as soon as the backend has them"});
}

void AddStorage(std::vector<OptionSpec>& t) {
  const std::string g = "Storage (Quorate)";
  t.push_back({"backend", Type::kString, "lmdb",
               "Where applied state is kept: memory, lmdb (B+tree) or rocksdb (LSM).", g});
  t.push_back({"allocator", Type::kString, "arena",
               "Memory for window, index and records: arena, jemalloc or malloc.", g});
  t.push_back({"arena-bytes", Type::kBytes, "64MiB", "Size of one arena region.", g, {}, 1 << 20});
  t.push_back({"arena-prefault", Type::kBool, "false", "Touch the arena's pages at start.", g});
  t.push_back({"batch-max-entries",
               Type::kUint,
               "1024",
               "Requests that may share one log append.",
               g,
               {},
               1,
               1 << 20});
  t.push_back({"batch-max-bytes",
               Type::kBytes,
               "4MiB",
               "Bytes that may share one log append.",
               g,
               {},
               1,
               1 << 30});
  t.push_back({"batch-linger",
               Type::kDuration,
               "0s",
               "How long the first request of a batch waits for company.",
               g,
               {},
               0,
               1'000'000'000});
  t.push_back({"batch-pace",
               Type::kDuration,
               "2ms",
               "How long a cluster's leader gathers writes that come at the same time; one that "
               "comes alone does not wait.",
               g,
               {},
               0,
               1'000'000'000});
  t.push_back({"log-sync",
               Type::kChoice,
               "fdatasync",
               "How the log reaches the disk; none loses acknowledged writes on power loss and is "
               "for experiments only.",
               g,
               {"fdatasync", "dsync", "none"}});
}

void AddPacing(std::vector<OptionSpec>& t) {
  const std::string g = "Storage (Quorate)";
  t.push_back({"log-segment-bytes",
               Type::kBytes,
               "64000000",
               "Size of one log segment.",
               g,
               {},
               1 << 20,
               int64_t{1} << 40});
  t.push_back({"window-bytes",
               Type::kBytes,
               "256MiB",
               "Applied changes that may wait for the backend before writes slow down.",
               g,
               {},
               8 << 20});
  t.push_back({"backend-commit-interval",
               Type::kDuration,
               "1s",
               "Longest time until an applied change is handed to the backend (durability does not "
               "depend on it).",
               g,
               {},
               1'000'000});
  t.push_back({"compaction-slice",
               Type::kDuration,
               "500µs",
               "Time that compaction may hold the replica before other work goes on.",
               g,
               {},
               10'000,
               1'000'000'000});
  t.push_back({"transport", Type::kString, "native",
               "Front end: native (HTTP/2 and HTTP/1.1 on one port) or grpc (grpc++, gRPC only).",
               g});
  t.push_back({"io-threads", Type::kUint, "1", "Network threads.", g, {}, 1, 256});
  t.push_back(
      {"worker-threads", Type::kUint, "2", "Threads for large reads and catch-up.", g, {}, 1, 256});
}

void AddDiscovery(std::vector<OptionSpec>& t) {
  const std::string g = "Clustering";
  t.push_back({"discovery-token", Type::kString, "",
               "Name of a new cluster in the registry that its members find each other by.", g});
  t.push_back({"discovery-endpoints", Type::kStringList, "",
               "Members of the cluster that has the registry, with http:// or https:// before.",
               g});
  t.push_back({"discovery-dial-timeout",
               Type::kDuration,
               "2s",
               "How long connecting to it may take.",
               g,
               {},
               1});
  t.push_back({"discovery-request-timeout",
               Type::kDuration,
               "5s",
               "How long one of its answers may take.",
               g,
               {},
               1});
  t.push_back({"discovery-keepalive-time", Type::kDuration, "2s",
               "It is asked whether it is there when it is silent for so long.", g});
  t.push_back({"discovery-keepalive-timeout", Type::kDuration, "6s",
               "How long that may take before the connection is given up.", g});
  t.push_back({"discovery-insecure-transport", Type::kBool, "true",
               "Speak plain text where an endpoint has no scheme.", g});
  t.push_back({"discovery-insecure-skip-tls-verify", Type::kBool, "false",
               "Do not check its certificates (for tests only).", g});
  t.push_back({"discovery-cert", Type::kString, "", "Certificate shown to it.", g});
  t.push_back({"discovery-key", Type::kString, "", "Its key.", g});
  t.push_back({"discovery-cacert", Type::kString, "", "Who may have certified it.", g});
  t.push_back({"discovery-user", Type::kString, "", "Who asks it: name, or name:password.", g});
  t.push_back({"discovery-password", Type::kString, "", "The password.", g});
  t.push_back({"discovery-srv", Type::kString, "",
               "Domain whose SRV records _etcd-server-ssl._tcp and _etcd-server._tcp name the "
               "members of a new cluster.",
               g});
  t.push_back({"discovery-srv-name", Type::kString, "",
               "What stands behind \"etcd-server\" in the names of these records.", g});
  t.push_back({"discovery-fallback",
               Type::kChoice,
               "exit",
               "",
               g,
               {"exit", "proxy"},
               INT64_MIN,
               INT64_MAX,
               "there is nothing to fall back to since etcd 3.6"});
}

void AddCluster(std::vector<OptionSpec>& t) {
  const std::string g = "Clustering";
  t.push_back({"advertise-client-urls", Type::kStringList, "http://localhost:2379",
               "Client URLs to tell others; required when listen-client-urls is set.", g});
  t.push_back({"initial-advertise-peer-urls", Type::kStringList, "http://localhost:2380",
               "Peer URLs of this member; its id comes from them.", g});
  t.push_back({"initial-cluster", Type::kString, "default=http://localhost:2380",
               "Members at the first start: name=url,...", g});
  t.push_back(
      {"initial-cluster-state", Type::kChoice, "new", "new or existing.", g, {"new", "existing"}});
  t.push_back({"initial-cluster-token", Type::kString, "etcd-cluster",
               "Keeps clusters with equal URLs apart.", g});
  t.push_back({"strict-reconfig-check", Type::kBool, "true",
               "Refuse changes of members that would cost the quorum.", g});
  t.push_back({"max-learners",
               Type::kInt,
               "1",
               "Learners at one time; all members must agree.",
               g,
               {},
               0,
               1'000'000});
  t.push_back({"force-new-cluster", Type::kBool, "false",
               "Start as the only member, with the data that is here. All others are removed.", g});
  AddDiscovery(t);
  t.push_back({"downgrade-check-time",
               Type::kDuration,
               "5s",
               "How often the leader looks whether a downgrade of the cluster is done; 0s: never.",
               g,
               {},
               0});
}

void AddClientTls(std::vector<OptionSpec>& t) {
  const std::string g = "Security";
  t.push_back({"cert-file", Type::kString, "",
               "Certificate for https client URLs (PEM, its chain may follow); read again when it "
               "changes.",
               g});
  t.push_back({"key-file", Type::kString, "", "Its private key.", g});
  t.push_back({"trusted-ca-file", Type::kString, "",
               "Roots that client certificates must lead to; makes them required.", g});
  t.push_back({"client-cert-auth", Type::kBool, "false",
               "Clients must show a certificate that leads to a trusted root.", g});
  t.push_back(
      {"client-crl-file", Type::kString, "", "Client certificates in this list are refused.", g});
  t.push_back({"client-cert-allowed-hostname", Type::kStringList, "",
               "Client certificates must be valid for one of these host names.", g});
  t.push_back({"client-cert-file", Type::kString, "",
               "Not used: this server calls no client port. Checked to be given with its key.", g});
  t.push_back({"client-key-file", Type::kString, "", "Its private key.", g});
  t.push_back({"auto-tls", Type::kBool, "false",
               "Make a certificate for https client URLs under the data directory.", g});
  t.push_back({"self-signed-cert-validity", Type::kUint, "1",
               "Years for which certificates of --auto-tls and --peer-auto-tls are valid.", g});
  t.push_back({"cipher-suites", Type::kStringList, "",
               "Cipher suites of TLS 1.2, by Go's names; empty: the modern ones.", g});
  t.push_back({"tls-min-version", Type::kString, "TLS1.2", "TLS1.2 or TLS1.3.", g});
  t.push_back({"tls-max-version", Type::kString, "", "TLS1.2 or TLS1.3; empty: the newest.", g});
}

void AddPeerTls(std::vector<OptionSpec>& t) {
  const std::string g = "Security";
  t.push_back({"peer-cert-file", Type::kString, "",
               "Certificate for https peer URLs; also shown to other members, unless "
               "--peer-client-cert-file is.",
               g});
  t.push_back({"peer-key-file", Type::kString, "", "Its private key.", g});
  t.push_back({"peer-trusted-ca-file", Type::kString, "",
               "Roots that certificates of members must lead to; makes them required.", g});
  t.push_back({"peer-client-cert-auth", Type::kBool, "false",
               "Members that call must show a certificate that leads to a trusted root.", g});
  t.push_back({"peer-client-cert-file", Type::kString, "",
               "Certificate to show when calling other members.", g});
  t.push_back({"peer-client-key-file", Type::kString, "", "Its private key.", g});
  t.push_back(
      {"peer-crl-file", Type::kString, "", "Certificates of members in this list are refused.", g});
  t.push_back({"peer-cert-allowed-cn", Type::kStringList, "",
               "Certificates of members must have one of these common names.", g});
  t.push_back({"peer-cert-allowed-hostname", Type::kStringList, "",
               "Certificates of members must be valid for one of these host names.", g});
  t.push_back({"peer-skip-client-san-verification", Type::kBool, "false",
               "Do not compare a member's address with the names in its certificate.", g});
  t.push_back({"peer-auto-tls", Type::kBool, "false",
               "Make a certificate for https peer URLs under the data directory; nobody's is "
               "checked.",
               g});
}

void AddSecurity(std::vector<OptionSpec>& t) {
  const std::string g = "Security";
  t.push_back({"cors", Type::kStringList, "*", "Origins that browsers may call from.", g});
  t.push_back({"host-whitelist", Type::kStringList, "*",
               "Host names that plain HTTP requests may use.", g});
  t.push_back({"auth-token", Type::kString, "simple",
               "Tokens of signed-in users: 'simple', or 'jwt,pub-key=FILE,priv-key=FILE,"
               "sign-method=METHOD,ttl=DURATION'.",
               g});
  t.push_back({"auth-token-ttl", Type::kUint, "300",
               "Seconds for which a simple token lives without being used.", g});
  t.push_back({"bcrypt-cost", Type::kUint, "10", "Cost of hashing a password, 4 to 31.", g});
}

void AddCompaction(std::vector<OptionSpec>& t) {
  const std::string g = "Compaction and checks";
  t.push_back({"auto-compaction-mode", Type::kString, "periodic",
               "What the leader compacts by itself: periodic, what is older than the retention; "
               "revision, all but the last so many revisions.",
               g});
  t.push_back({"auto-compaction-retention", Type::kString, "0",
               "Hours, or a duration such as 10m; in mode revision a number of revisions. 0 "
               "compacts nothing.",
               g});
  t.push_back({"compaction-batch-limit",
               Type::kInt,
               "1000",
               "Keys per compaction step; a step also ends with --compaction-slice. 0 means 1000.",
               g,
               {},
               0,
               1 << 30});
  t.push_back({"compaction-sleep-interval",
               Type::kDuration,
               "0s",
               "",
               g,
               {},
               0,
               INT64_MAX,
               "compaction gives way after every slice by itself"});
  t.push_back({"compact-hash-check-time",
               Type::kDuration,
               "1m0s",
               "How often the leader compares the hashes that members keep of their compactions; "
               "with the feature gate CompactHashCheck.",
               g,
               {},
               0});
  t.push_back({"corrupt-check-time",
               Type::kDuration,
               "0s",
               "How often the leader compares the members' history; 0s: never.",
               g,
               {},
               0});
}

void AddChecks(std::vector<OptionSpec>& t) {
  const std::string g = "Compaction and checks";
  t.push_back({"bootstrap-defrag-threshold-megabytes",
               Type::kUint,
               "0",
               "",
               g,
               {},
               0,
               INT64_MAX,
               "space is reclaimed online"});
  t.push_back({"backend-batch-interval",
               Type::kDuration,
               "0s",
               "",
               g,
               {},
               0,
               INT64_MAX,
               "see --backend-commit-interval"});
  t.push_back({"backend-batch-limit", Type::kInt, "0", "", g, {}, 0, INT64_MAX, kNoGo});
  t.push_back(
      {"backend-bbolt-freelist-type", Type::kString, "", "", g, {}, INT64_MIN, INT64_MAX, kNoGo});
  t.push_back({"watch-progress-notify-interval",
               Type::kDuration,
               "0s",
               "How often watches that asked for it hear of progress; 0 means 10m.",
               g,
               {},
               0});
  t.push_back({"feature-gates", Type::kString, "",
               "Name=bool,...: etcd's gates. InitialCorruptCheck, CompactHashCheck and "
               "LeaseCheckpoint change something here.",
               g});
  t.push_back({"v2-deprecation",
               Type::kChoice,
               "write-only-drop-data",
               "",
               g,
               {"write-only", "write-only-skip-check", "write-only-drop-data", "gone"},
               INT64_MIN,
               INT64_MAX,
               "there is no v2 store"});
}

void AddLogging(std::vector<OptionSpec>& t) {
  const std::string g = "Logging and metrics";
  t.push_back({"logger", Type::kString, "zap", "Shape of the log; zap is the only one.", g});
  t.push_back({"log-level", Type::kString, "info", "debug, info, warn, error, panic or fatal.", g});
  t.push_back({"log-format", Type::kChoice, "json", "json or console.", g, {"json", "console"}});
  t.push_back({"log-outputs", Type::kStringList, "default",
               "default and stderr: standard error; stdout; systemd/journal; or file paths.", g});
  t.push_back({"enable-log-rotation", Type::kBool, "false",
               "Rename the log file when it is full; --log-outputs must name one file.", g});
  t.push_back(
      {"log-rotation-config-json", Type::kString,
       R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})",
       "When a log file is full (megabytes), how many (0: all) and how long (days) full ones are "
       "kept.",
       g});
  t.push_back({"metrics", Type::kString, "basic", "basic, or extensive for gRPC histograms.", g});
  t.push_back({"warning-apply-duration",
               Type::kDuration,
               "100ms",
               "Applies that take longer are logged.",
               g,
               {},
               0});
  t.push_back({"warning-unary-request-duration",
               Type::kDuration,
               "300ms",
               "Unary requests that take longer are logged.",
               g,
               {},
               0});
  t.push_back(
      {"enable-pprof", Type::kBool, "false",
       "Serve CPU and heap profiles under /debug/pprof/, for `go tool pprof` and google-pprof.",
       g});
  t.push_back({"enable-grpc-gateway", Type::kBool, "true",
               "Serve the API as JSON under /v3/ on the client port.", g});
  t.push_back({"unsafe-no-fsync", Type::kBool, "false",
               "Same as --log-sync=none: acknowledged writes can be lost.", g});
}

void AddTracing(std::vector<OptionSpec>& t) {
  const std::string g = "Tracing";
  t.push_back({"enable-distributed-tracing", Type::kBool, "false",
               "Send a span of each recorded call to an OpenTelemetry collector.", g});
  t.push_back({"distributed-tracing-address", Type::kString, "localhost:4317",
               "The collector's host:port for OTLP over gRPC, in plain text.", g});
  t.push_back({"distributed-tracing-service-name", Type::kString, "etcd",
               "service.name of the spans; the same for all members.", g});
  t.push_back({"distributed-tracing-instance-id", Type::kString, "",
               "service.instance.id of the spans; another one for each member.", g});
  t.push_back({"distributed-tracing-sampling-rate",
               Type::kInt,
               "0",
               "Of a million traces that begin here, how many are recorded; 0: only calls whose "
               "caller records.",
               g,
               {},
               0,
               1000000});
}

void AddProgram(std::vector<OptionSpec>& t) {
  const std::string g = "Program";
  t.push_back({"config-file", Type::kString, "",
               "Read all options from this YAML file; other flags and variables are ignored.", g});
  t.push_back({"version", Type::kBool, "false", "Print the version and exit.", g});
  t.push_back({"help", Type::kBool, "false", "Print this text and exit.", g});
  t.push_back({"print-config", Type::kBool, "false",
               "Print a file for --config-file that explains every option, and exit.", g});
  for (const char* name : {"cluster-active-size", "cluster-remove-delay", "cluster-sync-interval",
                           "config", "force", "max-result-buffer", "max-retry-attempts",
                           "peer-heartbeat-interval", "peer-election-timeout", "retry-interval",
                           "snapshot", "v", "vv", "test.coverprofile", "test.outputdir"}) {
    OptionSpec spec{name, Type::kString, "", "", g};
    spec.no_effect = "etcd ignores it as well";
    spec.hidden = true;
    t.push_back(spec);
  }
}

}  // namespace

std::vector<OptionSpec> ServerOptionSpecs() {
  std::vector<OptionSpec> table;
  AddMember(table);
  AddLimits(table);
  AddStorage(table);
  AddPacing(table);
  AddCluster(table);
  AddClientTls(table);
  AddPeerTls(table);
  AddSecurity(table);
  AddCompaction(table);
  AddChecks(table);
  AddLogging(table);
  AddTracing(table);
  AddProgram(table);
  return table;
}

}  // namespace quorate::server
