#include "server/security.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/config.h"
#include "transport/tls/self_signed.h"

namespace quorate::server {
namespace {

using transport::TlsContext;
using transport::TlsFile;
using transport::TlsOptions;
using transport::TlsVersion;

TlsFile FileOf(const OptionValues& values, const std::string& name) {
  return {"--" + name, values.GetString(name)};
}

EndSecurity EndOf(const OptionValues& values, const std::string& prefix) {
  EndSecurity end;
  end.listen.cert = FileOf(values, prefix + "cert-file");
  end.listen.key = FileOf(values, prefix + "key-file");
  end.listen.trusted_ca = FileOf(values, prefix + "trusted-ca-file");
  end.dial_cert = FileOf(values, prefix + "client-cert-file");
  end.dial_key = FileOf(values, prefix + "client-key-file");
  end.auto_tls = values.GetBool(prefix + "auto-tls");
  end.cert_auth = values.GetBool(prefix + "client-cert-auth");
  if (end.cert_auth || end.listen.trusted_ca.given()) {
    end.listen.other_side = TlsOptions::OtherSide::kRequired;
  }
  return end;
}

absl::Status SetVersions(const OptionValues& values, SecurityConfig* security) {
  QR_ASSIGN_OR_RETURN(const TlsVersion version_min,
                      transport::ParseTlsVersion(values.GetString("tls-min-version")));
  QR_ASSIGN_OR_RETURN(const TlsVersion version_max,
                      transport::ParseTlsVersion(values.GetString("tls-max-version")));
  if (version_max != TlsVersion::kAutomatic && version_min > version_max) {
    return absl::InvalidArgumentError(StrCat("min version (", values.GetString("tls-min-version"),
                                             ") is greater than max version (",
                                             values.GetString("tls-max-version"), ")"));
  }
  const std::vector<std::string> suites = values.GetList("cipher-suites");
  if (!suites.empty() && version_min == TlsVersion::kTls13) {
    return absl::InvalidArgumentError(
        "cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  QR_RETURN_IF_ERROR(transport::OpensslCipherList(suites).status());
  for (TlsOptions* end : {&security->client.listen, &security->peer.listen}) {
    end->version_min = version_min;
    end->version_max = version_max;
    end->cipher_suites = suites;
  }
  return absl::OkStatus();
}

bool IsSecure(std::string_view url) {
  return url.starts_with("https://") || url.starts_with("unixs://");
}

bool AnySecure(const std::vector<std::string>& urls) {
  return std::any_of(urls.begin(), urls.end(), IsSecure);
}

std::vector<std::string> HostsOf(const std::vector<std::string>& urls) {
  std::vector<std::string> hosts;
  for (const std::string& url : urls) {
    const absl::StatusOr<transport::ListenAddress> address = ParseListenUrl(url, "");
    if (address.ok() && !address->host.empty() &&
        std::find(hosts.begin(), hosts.end(), address->host) == hosts.end()) {
      hosts.push_back(address->host);
    }
  }
  return hosts;
}

// --auto-tls and --peer-auto-tls.
absl::Status UseSelfSigned(const ServerConfig& config, std::string_view which,
                           const std::vector<std::string>& urls, EndSecurity* end) {
  if (!end->auto_tls) return absl::OkStatus();
  if (!end->listen.empty()) {
    LogWarn(StrCat("ignoring ", which, " auto TLS since certs given"));
    return absl::OkStatus();
  }
  transport::SelfSigned wanted;
  wanted.folder = StrCat(config.data_dir, "/fixtures/", which);
  wanted.hosts = HostsOf(urls);
  wanted.validity_years = config.security.self_signed_validity_years;
  QR_RETURN_IF_ERROR(transport::MakeSelfSigned(wanted));
  end->listen.cert = {end->listen.cert.flag, wanted.cert_path()};
  end->listen.key = {end->listen.key.flag, wanted.key_path()};
  return absl::OkStatus();
}

void WarnOfUnused(const EndSecurity& end, std::string_view field, std::string_view scheme,
                  const std::vector<std::string>& urls) {
  for (const std::string& url : urls) {
    if (IsSecure(url)) continue;
    if (!end.listen.empty()) {
      LogWarn(StrCat("scheme is ", scheme,
                     " while key and cert files are present; ignoring key and cert files"),
              {{field, url}});
    }
    if (end.cert_auth) {
      LogWarn(StrCat("scheme is ", scheme, " while --", field == "peer-url" ? "peer-" : "",
                     "client-cert-auth is enabled; ignoring client cert auth for this URL"),
              {{field, url}});
    }
  }
}

absl::Status LoadClientSide(ServerConfig* config) {
  EndSecurity* const end = &config->security.client;
  std::vector<std::string> urls = config->listen_client_urls;
  urls.insert(urls.end(), config->listen_client_http_urls.begin(),
              config->listen_client_http_urls.end());
  QR_RETURN_IF_ERROR(UseSelfSigned(*config, "client", urls, end));
  for (const std::string& url : urls) {
    if (!IsSecure(url) || !end->listen.empty()) continue;
    return absl::InvalidArgumentError(
        StrCat("TLS key/cert (--cert-file, --key-file) must be provided for client url ", url,
               " with HTTPS scheme"));
  }
  if (AnySecure(config->listen_metrics_urls) && end->listen.empty()) {
    return absl::InvalidArgumentError(
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
  }
  WarnOfUnused(*end, "client-url", "http or unix", urls);
  if (!AnySecure(urls) && !AnySecure(config->listen_metrics_urls)) return absl::OkStatus();
  if (config->transport != "native") {
    return absl::InvalidArgumentError(StrCat("--transport=", config->transport,
                                             " does not speak TLS; use --transport=native for "
                                             "https URLs"));
  }
  QR_ASSIGN_OR_RETURN(config->tls.client,
                      TlsContext::Create(TlsContext::Side::kServer, end->listen));
  return absl::OkStatus();
}

// What this member shows and asks for when it calls another.
TlsOptions DialOptions(const EndSecurity& end, bool own_certificate) {
  TlsOptions options = end.listen;
  if (end.dial_cert.given() || end.dial_key.given()) {
    options.cert = end.dial_cert;
    options.key = end.dial_key;
  }
  // Self-made certificates cannot be checked; etcd does not either.
  options.other_side =
      own_certificate ? TlsOptions::OtherSide::kNotAsked : TlsOptions::OtherSide::kRequired;
  return options;
}

absl::Status LoadPeerSide(ServerConfig* config) {
  EndSecurity* const end = &config->security.peer;
  const bool own_certificate = end->auto_tls && end->listen.empty();
  QR_RETURN_IF_ERROR(UseSelfSigned(*config, "peer", config->listen_peer_urls, end));
  for (const std::string& url : config->listen_peer_urls) {
    if (!IsSecure(url) || !end->listen.empty()) continue;
    return absl::InvalidArgumentError(
        StrCat("cannot listen on TLS for ", url.substr(url.find("//") + 2),
               ": KeyFile and CertFile are not presented (--peer-cert-file, --peer-key-file)"));
  }
  WarnOfUnused(*end, "peer-url", "HTTP", config->listen_peer_urls);
  if (AnySecure(config->listen_peer_urls)) {
    QR_ASSIGN_OR_RETURN(config->tls.peer,
                        TlsContext::Create(TlsContext::Side::kServer, end->listen));
  }
  const bool others_secure = config->initial_cluster.find("https://") != std::string::npos;
  if (config->tls.peer != nullptr || others_secure || AnySecure(config->advertise_peer_urls)) {
    QR_ASSIGN_OR_RETURN(
        config->tls.peer_dial,
        TlsContext::Create(TlsContext::Side::kClient, DialOptions(*end, own_certificate)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SecurityConfig> MakeSecurityConfig(const OptionValues& values) {
  SecurityConfig security;
  security.client = EndOf(values, "");
  security.peer = EndOf(values, "peer-");
  security.client.listen.crl = FileOf(values, "client-crl-file");
  security.client.listen.allowed_hostnames = values.GetList("client-cert-allowed-hostname");
  security.peer.listen.crl = FileOf(values, "peer-crl-file");
  security.peer.listen.allowed_cns = values.GetList("peer-cert-allowed-cn");
  security.peer.listen.allowed_hostnames = values.GetList("peer-cert-allowed-hostname");
  if (!values.GetBool("peer-skip-client-san-verification")) {
    security.peer.listen.client_address = TlsOptions::ClientAddress::kMustMatch;
  }
  security.self_signed_validity_years = values.GetInt("self-signed-cert-validity");
  QR_RETURN_IF_ERROR(SetVersions(values, &security));
  for (const EndSecurity* end : {&security.client, &security.peer}) {
    if (end->dial_cert.given() != end->dial_key.given()) {
      return absl::InvalidArgumentError(
          StrCat("ClientKeyFile and ClientCertFile must both be present or both absent: key: ",
                 end->dial_key.path, ", cert: ", end->dial_cert.path, "] (", end->dial_cert.flag,
                 ", ", end->dial_key.flag, ")"));
    }
  }
  return security;
}

absl::Status LoadTls(ServerConfig* config) {
  QR_RETURN_IF_ERROR(LoadPeerSide(config));
  return LoadClientSide(config);
}

}  // namespace quorate::server
