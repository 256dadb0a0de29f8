#include "transport/http1_response.h"

#include <cstdio>
#include <ctime>

#include "base/check.h"
#include "base/clock.h"

namespace quorate::transport {
namespace {

bool MayHaveBody(int status) { return status >= 200 && status != 204 && status != 304; }

}  // namespace

std::string HttpDate(int64_t wall_ns) {
  const time_t seconds = static_cast<time_t>(wall_ns / kNanosPerSecond);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const size_t size = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text, size);
}

void AppendHttp1Response(const HttpResponse& response, BodyUse body, AfterAnswer after,
                         int64_t wall_ns, std::string* out) {
  out->append("HTTP/1.1 " + std::to_string(response.status) + " " + HttpReason(response.status) +
              "\r\n");
  for (const auto& [name, value] : response.headers) {
    QR_CHECK_MSG(value.find_first_of("\r\n") == std::string::npos, name);
    out->append(name).append(": ").append(value).append("\r\n");
  }
  out->append("Date: " + HttpDate(wall_ns) + "\r\n");
  if (body == BodyUse::kChunked) {
    out->append("Transfer-Encoding: chunked\r\n");
  } else if (MayHaveBody(response.status)) {
    out->append("Content-Length: " + std::to_string(response.body.size()) + "\r\n");
  }
  if (after == AfterAnswer::kClose) out->append("Connection: close\r\n");
  out->append("\r\n");
  if (body == BodyUse::kSent && MayHaveBody(response.status)) out->append(response.body);
}

void AppendHttp1Chunk(std::string_view piece, std::string* out) {
  char size[32];
  const int length = snprintf(size, sizeof(size), "%zx\r\n", piece.size());
  out->append(size, static_cast<size_t>(length)).append(piece).append("\r\n");
}

HttpResponse PlainTextResponse(int status, std::string_view text) {
  HttpResponse response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.body = std::string(text) + "\n";
  return response;
}

std::string HttpReason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Request Entity Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 499:
      return "Client Closed Request";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status " + std::to_string(status);
  }
}

}  // namespace quorate::transport
