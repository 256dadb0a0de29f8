#include "ctl/member_urls.h"

#include "base/text.h"

namespace quorate::ctl {
namespace {

absl::Status CheckUrl(std::string_view url) {
  const auto wrong = [&](std::string_view what) {
    return absl::InvalidArgumentError(ToAbsl(StrCat(what, url)));
  };
  const size_t end = url.find("://");
  const std::string_view scheme = end == std::string_view::npos ? "" : url.substr(0, end);
  if (scheme != "http" && scheme != "https" && scheme != "unix" && scheme != "unixs") {
    return wrong("URL scheme must be http, https, unix, or unixs: ");
  }
  const std::string_view rest = url.substr(end + 3);
  const size_t slash = rest.find('/');
  const std::string_view host = rest.substr(0, slash);
  if (scheme.starts_with("unix")) return absl::OkStatus();
  const size_t colon = host.rfind(':');
  // The colons of an IPv6 address stand in brackets.
  if (colon == std::string_view::npos || host.find(']', colon) != std::string_view::npos ||
      (host.find(':') != colon && !host.starts_with("["))) {
    return wrong("URL address does not have the form \"host:port\": ");
  }
  if (slash != std::string_view::npos) return wrong("URL must not contain a path: ");
  return absl::OkStatus();
}

}  // namespace

absl::Status AddPeerUrls(std::string_view text,
                         google::protobuf::RepeatedPtrField<std::string>* urls) {
  for (const std::string_view url : StrSplit(text, ',')) {
    if (auto status = CheckUrl(url); !status.ok()) return status;
    urls->Add(std::string(url));
  }
  return absl::OkStatus();
}

}  // namespace quorate::ctl
