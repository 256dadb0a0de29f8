#include "backends/kv/checkpoint_format.h"

#include <charconv>
#include <cstdio>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::string_view kFileMagic = "QRMEMCKP";
constexpr uint32_t kFrameMagic = 0x4D465251;
constexpr std::string_view kManifestTitle = "quorate memory checkpoint\n";

void Store32(uint32_t value, char* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

void Store64(uint64_t value, char* out) {
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

uint32_t Load32(const char* data) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= uint32_t{static_cast<unsigned char>(data[i])} << (8 * i);
  return value;
}

uint64_t Load64(const char* data) {
  return uint64_t{Load32(data)} | uint64_t{Load32(data + 4)} << 32;
}

uint32_t FrameHeaderCrc(const char* header, FramePlace place) {
  char prefix[16];
  Store64(place.file_number, prefix);
  Store64(place.offset, prefix + 8);
  return Crc32c(Crc32c(0, {prefix, sizeof(prefix)}), {header, kFrameHeaderBytes - 4});
}

void AppendVarint(uint32_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

bool ParseVarint(std::string_view* data, uint32_t* value) {
  uint64_t result = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    if (data->empty()) return false;
    const auto byte = static_cast<unsigned char>(data->front());
    data->remove_prefix(1);
    result |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) {
      *value = static_cast<uint32_t>(result);
      return result <= UINT32_MAX;
    }
  }
  return false;
}

bool ParsePart(uint32_t size, std::string_view* data, std::string_view* part) {
  if (data->size() < size) return false;
  *part = data->substr(0, size);
  data->remove_prefix(size);
  return true;
}

std::string NumberedName(std::string_view kind, uint64_t number) {
  char digits[32];
  std::snprintf(digits, sizeof(digits), "%012llu", static_cast<unsigned long long>(number));
  return StrCat(kind, "-", digits, ".ckpt");
}

// "word 12 34": whether `line` is `word` and exactly `count` numbers.
bool ParseNumbers(std::string_view line, std::string_view word, std::span<uint64_t> numbers) {
  const std::vector<std::string_view> parts = StrSplit(line, ' ');
  if (parts.size() != numbers.size() + 1 || parts[0] != word) return false;
  for (size_t i = 0; i < numbers.size(); ++i) {
    const std::string_view part = parts[i + 1];
    const auto result = std::from_chars(part.data(), part.data() + part.size(), numbers[i]);
    if (result.ec != std::errc() || result.ptr != part.data() + part.size()) return false;
  }
  return true;
}

}  // namespace

std::array<char, kFileHeadBytes> EncodeFileHead(uint64_t file_number) {
  std::array<char, kFileHeadBytes> head{};
  kFileMagic.copy(head.data(), kFileMagic.size());
  Store32(kCheckpointFormat, &head[8]);
  Store64(file_number, &head[16]);
  Store32(Crc32c(0, {head.data(), 28}), &head[28]);
  return head;
}

std::string CheckFileHead(std::string_view bytes, uint64_t file_number) {
  if (bytes.size() < kFileHeadBytes) return "the file ends within its head";
  if (Crc32c(0, bytes.substr(0, 28)) != Load32(&bytes[28])) return "the checksum of the head";
  if (bytes.substr(0, kFileMagic.size()) != kFileMagic) return "the head of another kind of file";
  if (Load32(&bytes[8]) != kCheckpointFormat) {
    return StrCat("the format version ", Load32(&bytes[8]));
  }
  if (Load64(&bytes[16]) != file_number) return "the head of another file";
  return {};
}

std::array<char, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header, FramePlace place) {
  std::array<char, kFrameHeaderBytes> bytes;
  Store32(kFrameMagic, &bytes[0]);
  Store32(header.payload_crc, &bytes[4]);
  Store64(header.payload_bytes, &bytes[8]);
  Store64(header.sequence, &bytes[16]);
  Store64(header.synced_bytes, &bytes[24]);
  Store32(header.op_count, &bytes[32]);
  Store32(FrameHeaderCrc(bytes.data(), place), &bytes[36]);
  return bytes;
}

std::optional<FrameHeader> ParseFrameHeader(std::string_view bytes, FramePlace place) {
  if (bytes.size() < kFrameHeaderBytes || Load32(&bytes[0]) != kFrameMagic ||
      Load32(&bytes[36]) != FrameHeaderCrc(bytes.data(), place)) {
    return std::nullopt;
  }
  FrameHeader header;
  header.payload_crc = Load32(&bytes[4]);
  header.payload_bytes = Load64(&bytes[8]);
  header.sequence = Load64(&bytes[16]);
  header.synced_bytes = Load64(&bytes[24]);
  header.op_count = Load32(&bytes[32]);
  return header;
}

void AppendOp(const WriteOp& op, std::string* out) {
  static_assert(kTableCount <= 16);
  const auto kind = static_cast<unsigned>(op.kind) + 1;
  out->push_back(static_cast<char>(kind << 4 | static_cast<unsigned>(op.table)));
  AppendVarint(static_cast<uint32_t>(op.key.size()), out);
  AppendVarint(static_cast<uint32_t>(op.value_or_end.size()), out);
  out->append(op.key);
  out->append(op.value_or_end);
}

bool ParseOps(std::string_view payload, uint32_t op_count,
              absl::FunctionRef<void(const WriteOp&)> visitor) {
  for (uint32_t i = 0; i < op_count; ++i) {
    if (payload.empty()) return false;
    const auto head = static_cast<unsigned char>(payload.front());
    payload.remove_prefix(1);
    const unsigned kind = head >> 4;
    const unsigned table = head & 15;
    if (kind < 1 || kind > 3 || table >= kTableCount) return false;
    uint32_t key_bytes;
    uint32_t value_bytes;
    WriteOp op;
    op.kind = static_cast<WriteOp::Kind>(kind - 1);
    op.table = static_cast<Table>(table);
    if (!ParseVarint(&payload, &key_bytes) || !ParseVarint(&payload, &value_bytes) ||
        !ParsePart(key_bytes, &payload, &op.key) ||
        !ParsePart(value_bytes, &payload, &op.value_or_end)) {
      return false;
    }
    visitor(op);
  }
  return payload.empty();
}

std::string EncodeManifest(const CheckpointManifest& manifest) {
  std::string text(kManifestTitle);
  StrAppend(&text, "format ", kCheckpointFormat, "\n");
  if (manifest.base.has_value()) {
    StrAppend(&text, "base ", manifest.base->number, " ", manifest.base->bytes, "\n");
  }
  for (const auto& file : manifest.sealed) {
    StrAppend(&text, "sealed ", file.number, " ", file.bytes, "\n");
  }
  StrAppend(&text, "active ", manifest.active.number, " ", manifest.active.bytes, "\n");
  StrAppend(&text, "sequence ", manifest.first_sequence, "\n");
  char crc[16];
  std::snprintf(crc, sizeof(crc), "crc %08x\n", Crc32c(0, text));
  return text + crc;
}

absl::StatusOr<CheckpointManifest> ParseManifest(std::string_view text, const std::string& path) {
  const size_t crc_at = text.rfind("crc ");
  if (crc_at == std::string_view::npos) return CheckpointDamage(path, text.size(), "no checksum");
  char crc[16];
  std::snprintf(crc, sizeof(crc), "crc %08x\n", Crc32c(0, text.substr(0, crc_at)));
  if (text.substr(crc_at) != crc) return CheckpointDamage(path, crc_at, "wrong checksum");

  CheckpointManifest manifest;
  uint64_t format = 0;
  uint64_t numbers[2];
  bool has_active = false;
  bool has_sequence = false;
  size_t offset = kManifestTitle.size();
  if (text.substr(0, offset) != kManifestTitle) return CheckpointDamage(path, 0, "wrong title");
  while (offset < crc_at) {
    const std::string_view line = text.substr(offset, text.find('\n', offset) - offset);
    if (ParseNumbers(line, "format", {numbers, 1})) {
      format = numbers[0];
      if (format > kCheckpointFormat) {
        return absl::FailedPreconditionError(
            StrCat(path, " has format ", format, ", this program knows up to ", kCheckpointFormat,
                   "; start the newer program that wrote it"));
      }
    } else if (ParseNumbers(line, "base", numbers)) {
      manifest.base = {numbers[0], numbers[1]};
    } else if (ParseNumbers(line, "sealed", numbers)) {
      manifest.sealed.push_back({numbers[0], numbers[1]});
    } else if (ParseNumbers(line, "active", numbers)) {
      manifest.active = {numbers[0], numbers[1]};
      has_active = true;
    } else if (ParseNumbers(line, "sequence", {numbers, 1})) {
      manifest.first_sequence = numbers[0];
      has_sequence = true;
    } else {
      return CheckpointDamage(path, offset, StrCat("unknown line '", line, "'"));
    }
    offset += line.size() + 1;
  }
  if (format == 0 || !has_active || !has_sequence) {
    return CheckpointDamage(path, crc_at, "a line is missing");
  }
  return manifest;
}

std::string BaseFileName(uint64_t number) { return NumberedName("base", number); }
std::string DeltaFileName(uint64_t number) { return NumberedName("delta", number); }

absl::Status CheckpointDamage(const std::string& path, uint64_t offset, std::string_view what) {
  return absl::DataLossError(
      StrCat("memory checkpoint damaged: ", path, " at offset ", offset, ": ", what,
             "; restore this member from a snapshot, or remove it from the cluster and add it anew "
             "with an empty data directory"));
}

}  // namespace quorate::kv
