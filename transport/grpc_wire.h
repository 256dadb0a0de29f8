// The small encodings of gRPC over HTTP/2: status texts, timeouts, binary metadata, gzip.
// Source: gRPC's PROTOCOL-HTTP2 description. All functions are pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "transport/rpc.h"

namespace quorate::transport {

inline constexpr size_t kMessagePrefixBytes = 5;  // compressed flag, big-endian length
inline constexpr std::string_view kDeadlineText = "context deadline exceeded";

// "0".."16", in static memory.
std::string_view RpcCodeDigits(RpcCode code);
// kUnknown for anything that is not a known code.
RpcCode ParseRpcCode(std::string_view digits);
// The code of an answer that carries no grpc-status, from its HTTP status.
RpcCode RpcCodeOfHttpStatus(std::string_view http_status);

// grpc-message: everything but printable ASCII, and '%', becomes %XX.
std::string PercentEncode(std::string_view text);
std::string PercentDecode(std::string_view text);

// grpc-timeout: up to eight digits and one of H M S m u n. Values beyond int64_t nanoseconds
// saturate. Malformed: InvalidArgument with grpc-go's words for why.
absl::StatusOr<int64_t> ParseGrpcTimeoutNs(std::string_view text);
std::string FormatGrpcTimeout(int64_t timeout_ns);

// Values of `-bin` metadata. Padding is optional on input and absent on output. Malformed:
// InvalidArgument with Go's words for where.
absl::StatusOr<std::string> DecodeBase64(std::string_view text);
std::string EncodeBase64(std::string_view data);

// True for "application/grpc" with an optional "+suffix" or ";parameters".
bool IsGrpcContentType(std::string_view value);

Bytes GzipCompress(const std::vector<Bytes>& pieces);
// Nothing when the data is damaged; *too_large is set when it would grow above `bytes_max`.
std::optional<Bytes> GzipDecompress(std::string_view data, uint64_t bytes_max, bool* too_large);

// Writes the prefix of a message of `size` bytes.
void EncodeMessagePrefix(char* prefix, bool compressed, uint32_t size);

}  // namespace quorate::transport
