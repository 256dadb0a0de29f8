#include "server/gateway/websocket_request.h"

#include <utility>

#include "base/text.h"

namespace quorate::server {
namespace {

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// Of the cookie by this name; nothing when there is none.
std::optional<std::string_view> CookieOf(std::string_view cookies, std::string_view name) {
  for (const std::string_view item : StrSplit(cookies, ';')) {
    const auto [key, value] = SplitOnce(item, '=');
    if (Trim(key) == name) return Trim(value);
  }
  return std::nullopt;
}

}  // namespace

transport::HttpRequest WebSocketRequest(transport::HttpRequest upgrade) {
  constexpr std::string_view kBearer = "Bearer,";
  std::string token;
  const std::string_view protocols = upgrade.Header("sec-websocket-protocol").value_or("");
  const size_t bearer = protocols.find(kBearer);
  if (bearer != std::string_view::npos) {
    token = StrCat("Bearer ", Trim(protocols.substr(bearer + kBearer.size())));
  }
  if (const auto cookie = CookieOf(upgrade.Header("cookie").value_or(""), "token")) {
    token = StrCat("Bearer ", *cookie);
  }
  std::erase_if(upgrade.headers, [](const auto& field) {
    return field.first != "origin" && field.first != "referer";
  });
  if (!token.empty()) upgrade.headers.emplace_back("authorization", std::move(token));
  upgrade.method = "POST";
  upgrade.body.clear();
  upgrade.body_follows = true;
  return upgrade;
}

}  // namespace quorate::server
