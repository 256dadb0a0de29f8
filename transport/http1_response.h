// The bytes of an HTTP/1.1 answer with a body that is known whole. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "transport/server.h"

namespace quorate::transport {

// Left out: the request was a HEAD. Chunked: the body follows by AppendHttp1Chunk, an empty one
// last.
enum class BodyUse : uint8_t { kSent, kLeftOut, kChunked };
enum class AfterAnswer : uint8_t { kKeepAlive, kClose };

// Adds Date, Content-Length where there may be a body, and Connection: close. CHECKs that no field
// holds a line end.
void AppendHttp1Response(const HttpResponse& response, BodyUse body, AfterAnswer after,
                         int64_t wall_ns, std::string* out);

void AppendHttp1Chunk(std::string_view piece, std::string* out);

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string HttpDate(int64_t wall_ns);

// "Not Found"; "Status 599" for what has no name.
std::string HttpReason(int status);

// A refusal as Go's http.Error writes it: the text and a line end, never guessed to be HTML.
HttpResponse PlainTextResponse(int status, std::string_view text);

}  // namespace quorate::transport
