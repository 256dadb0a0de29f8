#include "server/gateway_command.h"

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/start_command.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/discovered_endpoints.h"
#include "transport/client.h"
#include "transport/tcp_proxy.h"

namespace quorate::server {
namespace {

using Type = OptionSpec::Type;

constexpr char kUsage[] = R"(start the gateway

Usage:
  quorate gateway start [flags]

)";

std::vector<OptionSpec> Specs() {
  const std::string g = "Gateway";
  std::vector<OptionSpec> t;
  t.push_back({"endpoints", Type::kStringList, "127.0.0.1:2379",
               "Endpoints that connections are handed on to, in turn.", g});
  t.push_back({"listen-addr", Type::kString, "127.0.0.1:23790", "Where to listen.", g});
  t.push_back({"retry-delay",
               Type::kDuration,
               "1m0s",
               "How often an endpoint that could not be reached is tried again.",
               g,
               {},
               1});
  t.push_back({"trusted-ca-file", Type::kString, "",
               "Who may have certified the members that --discovery-srv finds.", g});
  t.push_back({"help", Type::kBool, "false", "This text.", g});
  for (OptionSpec& spec : DiscoveryOptionSpecs("Discovery")) t.push_back(std::move(spec));
  return t;
}

// "host:port", or a URL of which the scheme does not matter: bytes are handed on as they are.
absl::StatusOr<transport::TcpProxy::Endpoint> ParseAddress(std::string_view text) {
  const size_t scheme = text.find("://");
  if (scheme != std::string_view::npos) text.remove_prefix(scheme + 3);
  QR_ASSIGN_OR_RETURN(auto parsed, transport::ParseEndpoint(text));
  return transport::TcpProxy::Endpoint{parsed.host, parsed.port, std::string(text)};
}

absl::StatusOr<transport::TcpProxy::Options> OptionsOf(const OptionValues& values) {
  transport::TcpProxy::Options options;
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> endpoints,
                      EndpointsOf(values, "trusted-ca-file"));
  for (const std::string& text : endpoints) {
    QR_ASSIGN_OR_RETURN(transport::TcpProxy::Endpoint endpoint, ParseAddress(text));
    options.endpoints.push_back(std::move(endpoint));
  }
  if (options.endpoints.empty()) return absl::InvalidArgumentError("--endpoints: none is given");
  const std::string& listen = values.GetString("listen-addr");
  QR_ASSIGN_OR_RETURN(const transport::TcpProxy::Endpoint here, ParseAddress(listen));
  options.listen.url = listen;
  options.listen.host = here.host;
  options.listen.port = here.port;
  options.retry_delay_ns = values.GetInt("retry-delay");
  return options;
}

absl::Status Serve(const OptionValues& values) {
  const SystemClock clock;
  QR_ASSIGN_OR_RETURN(transport::TcpProxy::Options options, OptionsOf(values));
  options.clock = &clock;
  transport::TcpProxy proxy(std::move(options));
  QR_RETURN_IF_ERROR(proxy.Bind());
  LogInfo("ready to proxy client requests", {{"endpoints", values.GetList("endpoints")}});
  proxy.Run();
  return absl::OkStatus();
}

}  // namespace

int RunGatewayCommand(const std::vector<std::string>& args) {
  return RunStartCommand(Specs(), kUsage, args, Serve);
}

}  // namespace quorate::server
