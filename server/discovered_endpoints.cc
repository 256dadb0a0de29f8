#include "server/discovered_endpoints.h"

#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/http_client.h"
#include "transport/dns_srv.h"
#include "transport/tls/tls_context.h"

namespace quorate::server {
namespace {

using Type = OptionSpec::Type;

// Whether it can be spoken to and is who it says.
absl::Status Validate(const std::string& url, const std::shared_ptr<transport::TlsContext>& tls) {
  if (!url.starts_with("https://")) return absl::FailedPreconditionError("it has no TLS");
  HttpCall call;
  call.url = url;
  call.path = "/version";
  call.tls = tls;
  return CallHttp(call).status();
}

}  // namespace

std::vector<OptionSpec> DiscoveryOptionSpecs(const std::string& group) {
  std::vector<OptionSpec> t;
  t.push_back({"discovery-srv", Type::kString, "",
               "Domain whose SRV records _etcd-client-ssl._tcp and _etcd-client._tcp name the "
               "members.",
               group});
  t.push_back({"discovery-srv-name", Type::kString, "",
               "What stands behind \"etcd-client\" in the names of these records.", group});
  t.push_back({"insecure-discovery", Type::kBool, "false",
               "Take what these records say as it is, also members without TLS.", group});
  return t;
}

absl::StatusOr<std::vector<std::string>> EndpointsOf(const OptionValues& values,
                                                     const std::string& ca_flag) {
  const std::string& domain = values.GetString("discovery-srv");
  if (domain.empty()) return values.GetList("endpoints");
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> found,
                      transport::LookUpClientUrls(domain, values.GetString("discovery-srv-name")));
  LogInfo("discovered cluster from SRV", {{"srv-server", domain}, {"endpoints", found}});
  if (values.GetBool("insecure-discovery")) return found;
  transport::TlsOptions options;
  options.trusted_ca = {"--" + ca_flag, values.GetString(ca_flag)};
  options.other_side = transport::TlsOptions::OtherSide::kRequired;
  QR_ASSIGN_OR_RETURN(const std::shared_ptr<transport::TlsContext> tls,
                      transport::TlsContext::Create(transport::TlsContext::Side::kClient, options));
  std::vector<std::string> good;
  for (const std::string& url : found) {
    if (const absl::Status valid = Validate(url, tls); valid.ok()) {
      good.push_back(url);
    } else {
      LogWarn("ignoring a discovered endpoint", {{"endpoint", url}, valid});
    }
  }
  return good.empty() ? values.GetList("endpoints") : good;
}

}  // namespace quorate::server
