#include "transport/grpc_wire.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "base/check.h"
#include "base/text.h"

namespace quorate::transport {
namespace {

constexpr std::array<std::string_view, 17> kCodeDigits = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};
constexpr std::string_view kBase64Letters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr int kGzipWindowBits = 15 + 16;  // zlib's notation for a gzip header

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::string_view RpcCodeDigits(RpcCode code) {
  const auto number = static_cast<size_t>(code);
  QR_CHECK(number < kCodeDigits.size());
  return kCodeDigits[number];
}

RpcCode ParseRpcCode(std::string_view digits) {
  const auto at = std::find(kCodeDigits.begin(), kCodeDigits.end(), digits);
  return at == kCodeDigits.end() ? RpcCode::kUnknown
                                 : static_cast<RpcCode>(at - kCodeDigits.begin());
}

RpcCode RpcCodeOfHttpStatus(std::string_view http_status) {
  if (http_status == "400") return RpcCode::kInternal;
  if (http_status == "401") return RpcCode::kUnauthenticated;
  if (http_status == "403") return RpcCode::kPermissionDenied;
  if (http_status == "404") return RpcCode::kUnimplemented;
  if (http_status == "429" || http_status == "502" || http_status == "503" ||
      http_status == "504") {
    return RpcCode::kUnavailable;
  }
  return RpcCode::kUnknown;
}

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      encoded.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded.push_back('%');
      encoded.push_back(kHex[byte >> 4]);
      encoded.push_back(kHex[byte & 15]);
    }
  }
  return encoded;
}

std::string PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        decoded.push_back(static_cast<char>(high << 4 | low));
        i += 2;
        continue;
      }
    }
    decoded.push_back(text[i]);
  }
  return decoded;
}

absl::StatusOr<int64_t> ParseGrpcTimeoutNs(std::string_view text) {
  const auto malformed = [text](std::string_view why) {
    return absl::InvalidArgumentError(StrCat("transport: timeout ", why, ": \"", text, "\""));
  };
  if (text.size() < 2) return malformed("string is too short");
  if (text.size() > 9) return malformed("string is too long");
  const std::string_view digits = text.substr(0, text.size() - 1);
  int64_t scale = 0;
  switch (text.back()) {
    case 'H':
      scale = 3'600'000'000'000;
      break;
    case 'M':
      scale = 60'000'000'000;
      break;
    case 'S':
      scale = 1'000'000'000;
      break;
    case 'm':
      scale = 1'000'000;
      break;
    case 'u':
      scale = 1'000;
      break;
    case 'n':
      scale = 1;
      break;
    default:
      return malformed("unit is not recognized");
  }
  int64_t value = 0;
  const auto parsed = std::from_chars(digits.begin(), digits.end(), value);
  if (parsed.ec != std::errc() || parsed.ptr != digits.end() || value < 0) {
    return absl::InvalidArgumentError(
        StrCat("strconv.ParseUint: parsing \"", digits, "\": invalid syntax"));
  }
  return value > INT64_MAX / scale ? INT64_MAX : value * scale;
}

std::string FormatGrpcTimeout(int64_t timeout_ns) {
  constexpr int64_t kDigitsMax = 99'999'999;
  constexpr std::array<std::pair<int64_t, char>, 6> kUnits = {{{1, 'n'},
                                                               {1'000, 'u'},
                                                               {1'000'000, 'm'},
                                                               {1'000'000'000, 'S'},
                                                               {60'000'000'000, 'M'},
                                                               {3'600'000'000'000, 'H'}}};
  timeout_ns = std::max<int64_t>(timeout_ns, 0);
  for (const auto& [scale, unit] : kUnits) {
    const int64_t value = timeout_ns / scale + (timeout_ns % scale != 0 ? 1 : 0);
    if (value <= kDigitsMax) return std::to_string(value) + unit;
  }
  return std::to_string(kDigitsMax) + "H";
}

absl::StatusOr<std::string> DecodeBase64(std::string_view text) {
  const auto illegal_at = [](size_t byte) {
    return absl::InvalidArgumentError(StrCat("illegal base64 data at input byte ", byte));
  };
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  const size_t strange = text.find_first_not_of(kBase64Letters);
  if (strange != std::string_view::npos) return illegal_at(strange);
  if (text.size() % 4 == 1) return illegal_at(text.size() - 1);
  std::string data;
  data.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    bits = bits << 6 | static_cast<uint32_t>(kBase64Letters.find(c));
    count += 6;
    if (count >= 8) {
      count -= 8;
      data.push_back(static_cast<char>(bits >> count & 0xff));
    }
  }
  return data;
}

std::string EncodeBase64(std::string_view data) {
  std::string text;
  text.reserve((data.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : data) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      text.push_back(kBase64Letters[bits >> count & 63]);
    }
  }
  if (count > 0) text.push_back(kBase64Letters[bits << (6 - count) & 63]);
  return text;
}

bool IsGrpcContentType(std::string_view value) {
  constexpr std::string_view kBase = "application/grpc";
  if (value.substr(0, kBase.size()) != kBase) return false;
  return value.size() == kBase.size() || value[kBase.size()] == '+' || value[kBase.size()] == ';';
}

Bytes GzipCompress(const std::vector<Bytes>& pieces) {
  z_stream stream{};
  QR_CHECK(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8,
                        Z_DEFAULT_STRATEGY) == Z_OK);
  size_t total = 0;
  for (const Bytes& piece : pieces) total += piece.size();
  std::string packed(deflateBound(&stream, total), '\0');
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  for (const Bytes& piece : pieces) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = static_cast<uInt>(piece.size());
    QR_CHECK(deflate(&stream, Z_NO_FLUSH) == Z_OK || piece.empty());
  }
  QR_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return Bytes::FromString(std::move(packed));
}

std::optional<Bytes> GzipDecompress(std::string_view data, uint64_t bytes_max, bool* too_large) {
  *too_large = false;
  z_stream stream{};
  QR_CHECK(inflateInit2(&stream, kGzipWindowBits) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  std::string plain;
  int result = Z_OK;
  while (result == Z_OK && !*too_large) {
    const size_t before = plain.size();
    plain.resize(std::min<uint64_t>(bytes_max + 1, std::max<size_t>(4096, before * 2)));
    stream.next_out = reinterpret_cast<Bytef*>(plain.data() + before);
    stream.avail_out = static_cast<uInt>(plain.size() - before);
    result = inflate(&stream, Z_NO_FLUSH);
    plain.resize(stream.total_out);
    *too_large = plain.size() > bytes_max;
  }
  const bool complete = result == Z_STREAM_END && stream.avail_in == 0;
  inflateEnd(&stream);
  if (!complete || *too_large) return std::nullopt;
  return Bytes::FromString(std::move(plain));
}

void EncodeMessagePrefix(char* prefix, bool compressed, uint32_t size) {
  prefix[0] = compressed ? 1 : 0;
  prefix[1] = static_cast<char>(size >> 24);
  prefix[2] = static_cast<char>(size >> 16);
  prefix[3] = static_cast<char>(size >> 8);
  prefix[4] = static_cast<char>(size);
}

}  // namespace quorate::transport
