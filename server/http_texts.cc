#include "server/http_texts.h"

#include <utility>

#include "base/text.h"

namespace quorate::server {

using transport::HttpResponse;

HttpResponse Text(int status, std::string body) {
  return {status,
          {{"Content-Type", kPlainText}, {"X-Content-Type-Options", "nosniff"}},
          std::move(body)};
}

HttpResponse NotFound() { return Text(404, "404 page not found\n"); }

HttpResponse MethodNotAllowed() {
  HttpResponse response = Text(405, "Method Not Allowed\n");
  response.headers.emplace_back("Allow", "GET");
  return response;
}

std::set<std::string> QueryValues(const std::string& query, std::string_view key) {
  std::set<std::string> values;
  for (std::string_view item : StrSplit(query, '&')) {
    const auto parts = SplitOnce(item, '=');
    if (parts.first == key) values.emplace(parts.second);
  }
  return values;
}

}  // namespace quorate::server
