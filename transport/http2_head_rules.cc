#include "transport/http2_head_rules.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "base/text.h"

namespace quorate::transport {
namespace {

const uint8_t* Raw(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

bool ValueAllowed(std::string_view value) {
  return nghttp2_check_header_value(Raw(value), value.size()) != 0;
}

// Lower case only, by nghttp2's table.
bool NameAllowed(std::string_view name) {
  return nghttp2_check_header_name(Raw(name), name.size()) != 0;
}

// RFC 3986 §3.1.
bool SchemeAllowed(std::string_view scheme) {
  return !scheme.empty() && absl::ascii_isalpha(static_cast<unsigned char>(scheme.front())) &&
         std::all_of(scheme.begin(), scheme.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '+' || c == '-' || c == '.';
         });
}

bool PathAllowed(std::string_view path) {
  if (path.empty() || (path.front() != '/' && path != "*")) return false;
  return nghttp2_check_path(Raw(path), path.size()) != 0;
}

bool IsHopByHop(std::string_view name) {
  return name == "connection" || name == "keep-alive" || name == "proxy-connection" ||
         name == "transfer-encoding" || name == "upgrade";
}

}  // namespace

void HeadRules::Field(std::string_view name, std::string_view value) {
  if (!name.empty() && name.front() == ':') return PseudoField(name, value);
  regular_seen_ = true;
  if (!NameAllowed(name) || !ValueAllowed(value) || IsHopByHop(name)) broken_ = true;
  if (name == "te" && !absl::EqualsIgnoreCase(ToAbsl(value), "trailers")) broken_ = true;
  if (name == "content-length") {
    uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.begin(), value.end(), length);
    const bool number = error == std::errc() && end == value.end();
    if (content_length_.has_value() || !number) broken_ = true;
    content_length_ = length;
  }
}

void HeadRules::PseudoField(std::string_view name, std::string_view value) {
  bool* const seen = name == ":method"      ? &method_seen_
                     : name == ":scheme"    ? &scheme_seen_
                     : name == ":path"      ? &path_seen_
                     : name == ":authority" ? &authority_seen_
                                            : nullptr;
  if (seen == nullptr || *seen || regular_seen_ || !ValueAllowed(value)) {
    broken_ = true;
    return;
  }
  *seen = true;
  if (seen == &method_seen_ && nghttp2_check_method(Raw(value), value.size()) == 0) broken_ = true;
  if (seen == &scheme_seen_ && !SchemeAllowed(value)) broken_ = true;
  if (seen == &path_seen_ && !PathAllowed(value)) broken_ = true;
}

bool HeadRules::WellFormed() const {
  return !broken_ && method_seen_ && scheme_seen_ && path_seen_;
}

bool HeadRules::TrailerAllowed(std::string_view name, std::string_view value) {
  return NameAllowed(name) && ValueAllowed(value) && name.front() != ':' && !IsHopByHop(name);
}

}  // namespace quorate::transport
