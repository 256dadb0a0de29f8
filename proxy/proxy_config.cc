#include "proxy/proxy_config.h"

#include <utility>

#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/config.h"
#include "server/discovered_endpoints.h"
#include "transport/tls/self_signed.h"
#include "transport/tls/tls_context.h"
#include "transport/tls/tls_verify.h"

namespace quorate::proxy {

using transport::TlsContext;
using transport::TlsOptions;
using transport::TlsVersion;
using Type = OptionSpec::Type;

namespace {

void AddMemberOptions(std::vector<OptionSpec>* t) {
  const std::string g = "Members";
  t->push_back({"endpoints", Type::kStringList, "127.0.0.1:2379",
                "Members of the cluster, separated by commas.", g});
  t->push_back({"endpoints-auto-sync-interval", Type::kDuration, "0s",
                "How often the members are looked up anew; 0s: never.", g});
  t->push_back({"dial-keepalive-time", Type::kDuration, "0s",
                "A member that is silent for so long while calls wait is asked whether it is "
                "there; 0s: never.",
                g});
  t->push_back({"dial-keepalive-timeout", Type::kDuration, "20s",
                "How long its answer may take before the connection is given up.", g});
  t->push_back({"permit-without-stream", Type::kBool, "false",
                "Members are asked also while no call waits.", g});
  t->push_back({"experimental-serializable-ordering", Type::kBool, "false",
                "Reads never show an older revision than one before, whichever member answers.",
                g});
  t->push_back({"max-send-bytes", Type::kInt, "1572864", "Largest request handed on.", g, {}, 0});
  t->push_back(
      {"max-recv-bytes", Type::kInt, "2147483647", "Largest answer of a member.", g, {}, 0});
  t->push_back({"cert", Type::kString, "",
                "Certificate shown to the members. It must have no common name: it would be a "
                "user's.",
                g});
  t->push_back({"key", Type::kString, "", "Its key.", g});
  t->push_back({"cacert", Type::kString, "", "Who may have certified the members.", g});
  t->push_back({"insecure-skip-tls-verify", Type::kBool, "false",
                "Do not check the members' certificates (for tests only).", g});
  t->push_back({"namespace", Type::kString, "", "Prefix that is put before all keys.", g});
}

void AddListenOptions(std::vector<OptionSpec>* t) {
  const std::string g = "Clients";
  t->push_back({"listen-addr", Type::kString, "127.0.0.1:23790", "Where to listen.", g});
  t->push_back(
      {"metrics-addr", Type::kString, "", "URL of a further port for /metrics and /health.", g});
  t->push_back({"advertise-client-url", Type::kString, "127.0.0.1:23790",
                "Where clients find the proxy; answered to who asks for the members.", g});
  t->push_back({"resolver-prefix", Type::kString, "",
                "Prefix of keys under which the proxy registers; the same for all proxies.", g});
  t->push_back({"resolver-ttl", Type::kInt, "0",
                "Seconds until the registration of a proxy that is gone ends.", g});
  t->push_back({"cert-file", Type::kString, "", "Certificate shown to clients.", g});
  t->push_back({"key-file", Type::kString, "", "Its key.", g});
  t->push_back({"trusted-ca-file", Type::kString, "",
                "Who certifies clients; with it, those without a certificate are refused.", g});
  t->push_back(
      {"client-crl-file", Type::kString, "", "Clients' certificates that are revoked.", g});
  t->push_back({"auto-tls", Type::kBool, "false", "TLS with a certificate made at start.", g});
  t->push_back({"data-dir", Type::kString, "default.proxy", "Folder for that certificate.", g});
  t->push_back(
      {"self-signed-cert-validity", Type::kUint, "1", "Years that it is valid.", g, {}, 0, 100});
  t->push_back({"listen-cipher-suites", Type::kStringList, "",
                "Cipher suites of TLS 1.2, by their IANA names.", g});
  t->push_back({"tls-min-version", Type::kString, "TLS1.2", "TLS1.2 or TLS1.3.", g});
  t->push_back({"tls-max-version", Type::kString, "", "TLS1.2, TLS1.3, or empty for both.", g});
  t->push_back({"max-concurrent-streams",
                Type::kUint,
                "4294967295",
                "Calls that a connection may have open.",
                g,
                {},
                1,
                UINT32_MAX});
  t->push_back({"grpc-keepalive-min-time", Type::kDuration, "5s",
                "Clients that ask more often whether the proxy is there are refused.", g});
  t->push_back({"grpc-keepalive-interval", Type::kDuration, "2h0m0s",
                "How often a silent client is asked whether it is there; 0s: never.", g});
  t->push_back({"grpc-keepalive-timeout", Type::kDuration, "20s",
                "How long its answer may take before the connection is closed.", g});
}

constexpr char kNotHere[] = "not in this version";

void AddRefusedOptions(std::vector<OptionSpec>* t) {
  const std::string g = "Refused";
  t->push_back({"experimental-leasing-prefix", Type::kString, "", kNotHere, g});
}

absl::Status RefuseWhatIsNotHere(const OptionValues& values) {
  for (const OptionSpec& spec : values.specs()) {
    if (spec.group == "Refused" && values.Text(spec.name) != spec.default_text) {
      return absl::UnimplementedError(StrCat("--", spec.name, ": ", kNotHere));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckResolver(const OptionValues& values) {
  const std::string& prefix = values.GetString("resolver-prefix");
  const int64_t ttl = values.GetInt("resolver-ttl");
  const std::string& advertised = values.GetString("advertise-client-url");
  if (!prefix.empty() && ttl < 1) {
    return absl::InvalidArgumentError(StrCat("invalid resolver-ttl ", ttl));
  }
  if (prefix.empty() && ttl > 0) {
    return absl::InvalidArgumentError("invalid resolver-prefix \"\"");
  }
  if (!prefix.empty() && advertised.empty()) {
    return absl::InvalidArgumentError("invalid advertise-client-url \"\"");
  }
  return absl::OkStatus();
}

// --- TLS

transport::TlsFile FileOf(const OptionValues& values, const std::string& name) {
  return {"--" + name, values.GetString(name)};
}

absl::StatusOr<std::shared_ptr<TlsContext>> MemberTls(const OptionValues& values) {
  TlsOptions options;
  options.cert = FileOf(values, "cert");
  options.key = FileOf(values, "key");
  options.trusted_ca = FileOf(values, "cacert");
  const bool skip_verify = values.GetBool("insecure-skip-tls-verify");
  if (!skip_verify) options.other_side = TlsOptions::OtherSide::kRequired;
  if (options.empty() && !options.trusted_ca.given() && !skip_verify) {
    return std::shared_ptr<TlsContext>();
  }
  if (skip_verify) {
    LogWarn(
        "--insecure-skip-tls-verify was given, this grpc proxy process skips authentication of "
        "etcd server TLS certificates. This option should be enabled only for testing purposes.");
  }
  QR_ASSIGN_OR_RETURN(auto context, TlsContext::Create(TlsContext::Side::kClient, options));
  const X509* const own = SSL_CTX_get0_certificate(context->Current()->context.get());
  const std::string name = own == nullptr ? "" : transport::CommonName(own);
  if (!name.empty()) {
    return absl::InvalidArgumentError(
        StrCat("cert has non empty Common Name (", name, "): ", options.cert.path));
  }
  return context;
}

absl::Status SetVersions(const OptionValues& values, TlsOptions* options) {
  const std::string& lowest = values.GetString("tls-min-version");
  const std::string& highest = values.GetString("tls-max-version");
  const auto version = [](std::string_view flag,
                          const std::string& text) -> absl::StatusOr<TlsVersion> {
    const absl::StatusOr<TlsVersion> parsed = transport::ParseTlsVersion(text);
    if (parsed.ok()) return parsed;
    return absl::InvalidArgumentError(
        StrCat(flag, " is invalid: ", ToStd(parsed.status().message())));
  };
  QR_ASSIGN_OR_RETURN(options->version_min, version("tls-min-version", lowest));
  QR_ASSIGN_OR_RETURN(options->version_max, version("tls-max-version", highest));
  if (options->version_max != TlsVersion::kAutomatic &&
      options->version_min > options->version_max) {
    return absl::InvalidArgumentError(
        StrCat("min version (", lowest, ") is greater than max version (", highest, ")"));
  }
  options->cipher_suites = values.GetList("listen-cipher-suites");
  if (options->version_min == TlsVersion::kTls13 && !options->cipher_suites.empty()) {
    return absl::InvalidArgumentError(
        "cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  return transport::OpensslCipherList(options->cipher_suites).status();
}

absl::StatusOr<std::shared_ptr<TlsContext>> ListenTls(const OptionValues& values,
                                                      const std::string& host) {
  TlsOptions options;
  QR_RETURN_IF_ERROR(SetVersions(values, &options));
  const bool auto_tls = values.GetBool("auto-tls");
  const int64_t years = values.GetInt("self-signed-cert-validity");
  if (auto_tls && years == 0) {
    return absl::InvalidArgumentError(
        "selfSignedCertValidity is invalid,it should be greater than 0");
  }
  options.cert = FileOf(values, "cert-file");
  options.key = FileOf(values, "key-file");
  options.trusted_ca = FileOf(values, "trusted-ca-file");
  options.crl = FileOf(values, "client-crl-file");
  if (options.trusted_ca.given()) options.other_side = TlsOptions::OtherSide::kRequired;
  if (options.empty() && !options.trusted_ca.given()) {
    if (!auto_tls) return std::shared_ptr<TlsContext>();
    transport::SelfSigned wanted;
    wanted.folder = StrCat(values.GetString("data-dir"), "/fixtures/proxy");
    wanted.hosts = {host};
    wanted.validity_years = years;
    QR_RETURN_IF_ERROR(transport::MakeSelfSigned(wanted));
    options.cert.path = wanted.cert_path();
    options.key.path = wanted.key_path();
  }
  if (options.empty()) {
    return absl::InvalidArgumentError(
        StrCat("cannot listen on TLS for ", values.GetString("listen-addr"),
               ": KeyFile and CertFile are not presented (--cert-file, --key-file)"));
  }
  return TlsContext::Create(TlsContext::Side::kServer, options);
}

absl::Status SetListeners(const OptionValues& values, ProxyConfig* config) {
  using Security = transport::ListenAddress::Security;
  std::string where = values.GetString("listen-addr");
  if (where.starts_with(':')) where.insert(0, "0.0.0.0");
  QR_ASSIGN_OR_RETURN(transport::ListenAddress listen,
                      server::ParseListenUrl(StrCat("http://", where), "listen-addr"));
  QR_ASSIGN_OR_RETURN(config->server.tls, ListenTls(values, listen.host));
  listen.security = config->server.tls == nullptr ? Security::kPlain : Security::kTls;
  config->server.listen = {std::move(listen)};
  const std::string& metrics = values.GetString("metrics-addr");
  if (metrics.empty()) return absl::OkStatus();
  QR_ASSIGN_OR_RETURN(config->metrics, server::ParseListenUrl(metrics, "metrics-addr"));
  config->metrics->serve = transport::ListenAddress::Serve::kHttpOnly;
  if (config->metrics->security != Security::kPlain && config->server.tls == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("cannot listen on TLS for ", metrics, ": KeyFile and CertFile are not presented"));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<OptionSpec> ProxyOptionSpecs() {
  std::vector<OptionSpec> t;
  AddMemberOptions(&t);
  for (OptionSpec& spec : server::DiscoveryOptionSpecs("Members")) t.push_back(std::move(spec));
  AddListenOptions(&t);
  t.push_back({"debug", Type::kBool, "false", "Log more.", "Other"});
  t.push_back(
      {"enable-pprof", Type::kBool, "false", "Serve CPU profiles under /debug/pprof/.", "Other"});
  t.push_back({"experimental-enable-grpc-logging", Type::kBool, "false",
               "Log each call when it has ended.", "Other"});
  t.push_back({"help", Type::kBool, "false", "This text.", "Other"});
  AddRefusedOptions(&t);
  return t;
}

absl::StatusOr<ProxyConfig> MakeProxyConfig(const OptionValues& values) {
  QR_RETURN_IF_ERROR(RefuseWhatIsNotHere(values));
  QR_RETURN_IF_ERROR(CheckResolver(values));
  ProxyConfig config;
  QR_ASSIGN_OR_RETURN(config.upstream.endpoints, server::EndpointsOf(values, "cacert"));
  QR_ASSIGN_OR_RETURN(config.upstream.tls, MemberTls(values));
  config.upstream.keepalive_time_ns = values.GetInt("dial-keepalive-time");
  config.upstream.keepalive_timeout_ns = values.GetInt("dial-keepalive-timeout");
  config.upstream.keepalive_without_calls = values.GetBool("permit-without-stream");
  config.ordered_reads = values.GetBool("experimental-serializable-ordering");
  config.profiles = values.GetBool("enable-pprof");
  config.log_calls = values.GetBool("experimental-enable-grpc-logging");
  // As Go's client: 0 is no limit of one's own.
  if (const int64_t limit = values.GetInt("max-send-bytes"); limit > 0) {
    config.upstream.send_message_bytes_max = static_cast<uint64_t>(limit);
  }
  if (const int64_t limit = values.GetInt("max-recv-bytes"); limit > 0) {
    config.upstream.receive_message_bytes_max = static_cast<uint64_t>(limit);
  }
  config.endpoints_sync_interval_ns = values.GetInt("endpoints-auto-sync-interval");
  config.key_prefix = values.GetString("namespace");
  config.cluster = {values.GetString("advertise-client-url"), values.GetString("resolver-prefix"),
                    values.GetInt("resolver-ttl")};
  config.server.max_concurrent_streams =
      static_cast<uint32_t>(values.GetInt("max-concurrent-streams"));
  config.server.keepalive_min_time_ns = values.GetInt("grpc-keepalive-min-time");
  const auto or_never = [](int64_t duration_ns) {
    return duration_ns > 0 ? duration_ns : INT64_MAX;
  };
  config.server.keepalive_interval_ns = or_never(values.GetInt("grpc-keepalive-interval"));
  config.server.keepalive_timeout_ns = or_never(values.GetInt("grpc-keepalive-timeout"));
  QR_RETURN_IF_ERROR(SetListeners(values, &config));
  return config;
}

}  // namespace quorate::proxy
