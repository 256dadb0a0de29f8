#include <charconv>

#include "absl/status/status.h"
#include "transport/client.h"

namespace quorate::transport {

absl::StatusOr<std::pair<std::string, uint16_t>> ParseEndpoint(std::string_view endpoint) {
  const auto bad = [endpoint](std::string_view why) {
    return absl::InvalidArgumentError("endpoint \"" + std::string(endpoint) + "\": " +
                                      std::string(why) + " (want host:port or http://host:port)");
  };
  std::string_view rest = endpoint;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    if (rest.substr(0, scheme) != "http") return bad("only http is known as a scheme");
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
  uint16_t port = 0;
  const char* end = port_text.data() + port_text.size();
  const auto parsed = std::from_chars(port_text.data(), end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end || port == 0) {
    return bad("the port must be a number from 1 to 65535");
  }
  return std::pair(std::string(host), port);
}

}  // namespace quorate::transport
