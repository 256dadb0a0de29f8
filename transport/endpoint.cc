#include <charconv>

#include "absl/status/status.h"
#include "base/check.h"
#include "transport/client.h"
#include "transport/tls/tls_context.h"

namespace quorate::transport {

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view endpoint) {
  const auto bad = [endpoint](std::string_view why) {
    return absl::InvalidArgumentError("endpoint \"" + std::string(endpoint) +
                                      "\": " + std::string(why) +
                                      " (want host:port, http://host:port or https://host:port)");
  };
  Endpoint parsed;
  std::string_view rest = endpoint;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    const std::string_view name = rest.substr(0, scheme);
    if (name != "http" && name != "https") return bad("the scheme is neither http nor https");
    parsed.scheme = name == "http" ? Endpoint::Scheme::kHttp : Endpoint::Scheme::kHttps;
    rest.remove_prefix(scheme + 3);
    if (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  }
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return bad("the port is missing");
  std::string_view host = rest.substr(0, colon);
  const std::string_view port_text = rest.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad("an IPv6 address needs square brackets");
  }
  if (host.empty()) return bad("the host is empty");
  if (host.find_first_of("/@ ?#[]") != std::string_view::npos) return bad("the host is malformed");
  parsed.host = std::string(host);
  const char* end = port_text.data() + port_text.size();
  const auto number = std::from_chars(port_text.data(), end, parsed.port);
  if (number.ec != std::errc() || number.ptr != end || parsed.port == 0) {
    return bad("the port must be a number from 1 to 65535");
  }
  return parsed;
}

std::shared_ptr<TlsContext> TlsFor(const Endpoint& endpoint, std::shared_ptr<TlsContext> given) {
  if (endpoint.scheme == Endpoint::Scheme::kHttp) return nullptr;
  if (endpoint.scheme == Endpoint::Scheme::kNone || given != nullptr) return given;
  TlsOptions options;
  options.other_side = TlsOptions::OtherSide::kRequired;
  auto made = TlsContext::Create(TlsContext::Side::kClient, options);
  QR_CHECK_MSG(made.ok(), std::string(made.status().message()));  // reads no file that may fail
  return *std::move(made);
}

}  // namespace quorate::transport
