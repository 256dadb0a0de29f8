// Answers in plain text, and what stands behind the '?' of a request: small things that the HTTP
// endpoints of our servers have in common.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "transport/server.h"

namespace quorate::server {

inline constexpr char kPlainText[] = "text/plain; charset=utf-8";

transport::HttpResponse Text(int status, std::string body);
transport::HttpResponse NotFound();
transport::HttpResponse MethodNotAllowed();  // only GET is

// Values of a repeated query key, `exclude=a&exclude=b`.
std::set<std::string> QueryValues(const std::string& query, std::string_view key);

}  // namespace quorate::server
