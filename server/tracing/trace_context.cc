#include "server/tracing/trace_context.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/text.h"

namespace quorate::server {
namespace {

constexpr size_t kTraceparentBytes = 55;  // of version 00: 2 + 32 + 16 + 2 digits, three dashes
constexpr size_t kTracestateBytesMax = 512;

// Lower-case digits only, as the specification has them; -1 for any other.
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// `text` has two digits per byte.
bool ReadHex(std::string_view text, std::span<uint8_t> bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = HexDigit(text[2 * i]);
    const int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

bool IsZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(std::string_view value) {
  if (value.size() < kTraceparentBytes) return std::nullopt;
  uint8_t version = 0;
  TraceContext context;
  if (!ReadHex(value.substr(0, 2), {&version, 1}) || value[2] != '-' ||
      !ReadHex(value.substr(3, 32), context.trace_id) || value[35] != '-' ||
      !ReadHex(value.substr(36, 16), context.span_id) || value[52] != '-' ||
      !ReadHex(value.substr(53, 2), {&context.flags, 1})) {
    return std::nullopt;
  }
  // Later versions may append fields, but keep these.
  const std::string_view rest = value.substr(kTraceparentBytes);
  if (version == 0xff || (version == 0 && !rest.empty())) return std::nullopt;
  if (!rest.empty() && rest.front() != '-') return std::nullopt;
  if (IsZero(context.trace_id) || IsZero(context.span_id)) return std::nullopt;
  return context;
}

bool IsTracestate(std::string_view value) {
  if (value.empty() || value.size() > kTracestateBytesMax) return false;
  for (const std::string_view member : StrSplit(value, ',')) {
    const size_t equals = member.find('=');
    if (equals == std::string_view::npos || equals == 0) return false;
  }
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// The SDKs compare the id's last eight bytes, without their lowest bit, with the share of 2^63.
Sampler::Sampler(int64_t spans_per_million)
    : bound_(static_cast<uint64_t>(static_cast<double>(spans_per_million) / kAll *
                                   static_cast<double>(uint64_t{1} << 63))) {
  QR_CHECK(spans_per_million >= 0 && spans_per_million <= kAll);
}

bool Sampler::Records(const TraceId& begun_here) const {
  uint64_t number = 0;
  for (size_t i = 8; i < begun_here.size(); ++i) number = number << 8 | begun_here[i];
  return number >> 1 < bound_;
}

}  // namespace quorate::server
