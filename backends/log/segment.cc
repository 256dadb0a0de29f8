#include "backends/log/segment.h"

#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/text.h"

namespace quorate::log {
namespace {

constexpr std::string_view kMagic = "QRLOGSEG";
constexpr size_t kHeaderBytes = 88;  // before its checksum

void Put32(char* out, uint32_t value) { memcpy(out, &value, 4); }
void Put64(char* out, uint64_t value) { memcpy(out, &value, 8); }
uint32_t Get32(const char* in) {
  uint32_t value;
  memcpy(&value, in, 4);
  return value;
}
uint64_t Get64(const char* in) {
  uint64_t value;
  memcpy(&value, in, 8);
  return value;
}

uint32_t RecordCrc(uint64_t incarnation, uint64_t offset, std::string_view rest,
                   std::string_view payload) {
  char seed[16];
  Put64(seed, incarnation);
  Put64(seed + 8, offset);
  uint32_t crc = Crc32c(0, {seed, sizeof(seed)});
  crc = Crc32c(crc, rest);
  return Crc32c(crc, payload);
}

}  // namespace

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  std::string block(kHeaderBlockBytes, '\0');
  char* out = block.data();
  memcpy(out, kMagic.data(), kMagic.size());
  Put32(out + 8, kFormatVersion);
  Put64(out + 16, header.sequence);
  Put64(out + 24, header.first.value());
  Put64(out + 32, header.term_before_first.value());
  Put64(out + 40, header.identity.member.value());
  Put64(out + 48, header.identity.cluster.value());
  Put64(out + 56, header.incarnation);
  Put64(out + 64, header.hard_state.term.value());
  Put64(out + 72, header.hard_state.vote.value());
  Put64(out + 80, header.hard_state.commit.value());
  Put32(out + kHeaderBytes, Crc32c(0, {out, kHeaderBytes}));
  return block;
}

absl::StatusOr<SegmentHeader> DecodeSegmentHeader(std::string_view block, const std::string& path) {
  if (block.size() < kHeaderBlockBytes || block.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError(
        StrCat(path, ": offset 0: this is not a log segment; restore the data directory"));
  }
  const char* in = block.data();
  if (Get32(in + kHeaderBytes) != Crc32c(0, {in, kHeaderBytes})) {
    return absl::DataLossError(
        StrCat(path, ": offset 0: the segment header is damaged; restore the data directory"));
  }
  const uint32_t version = Get32(in + 8);
  if (version > kFormatVersion) {
    return absl::FailedPreconditionError(StrCat(path, ": log format ", version,
                                                " is newer than this program's ", kFormatVersion,
                                                "; start the newer version"));
  }
  SegmentHeader header;
  header.sequence = Get64(in + 16);
  header.first = LogIndex(Get64(in + 24));
  header.term_before_first = Term(Get64(in + 32));
  header.identity = {MemberId(Get64(in + 40)), ClusterId(Get64(in + 48))};
  header.incarnation = Get64(in + 56);
  header.hard_state = {Term(Get64(in + 64)), MemberId(Get64(in + 72)), LogIndex(Get64(in + 80))};
  return header;
}

void EncodeRecordHeader(const RecordFields& fields, std::string_view payload, uint64_t incarnation,
                        uint64_t offset, char* out) {
  memset(out, 0, kRecordHeaderBytes);
  Put32(out + 4, static_cast<uint32_t>(payload.size()));
  out[8] = static_cast<char>(fields.type);
  out[9] = static_cast<char>(fields.entry_type);
  Put32(out + 12, static_cast<uint32_t>(fields.synced_offset / 8));
  Put64(out + 16, fields.term.value());
  Put64(out + 24, fields.index.value());
  Put32(out, RecordCrc(incarnation, offset, {out + 4, kRecordHeaderBytes - 4}, payload));
}

absl::StatusOr<Record> DecodeRecord(std::string_view data, uint64_t offset, uint64_t incarnation,
                                    uint64_t file_offset) {
  Record record;
  if (offset + kRecordHeaderBytes > data.size()) return record;
  const char* in = data.data() + offset;
  const std::string_view header(in, kRecordHeaderBytes);
  if (header.find_first_not_of('\0') == std::string_view::npos) return record;
  const uint32_t length = Get32(in + 4);
  if (offset + kRecordHeaderBytes + length > data.size()) {
    return absl::DataLossError("the record is longer than the segment");
  }
  record.payload = data.substr(offset + kRecordHeaderBytes, length);
  if (Get32(in) != RecordCrc(incarnation, file_offset, header.substr(4), record.payload)) {
    return absl::DataLossError("the checksum does not match");
  }
  record.fields = {static_cast<RecordType>(in[8]), static_cast<EntryType>(in[9]),
                   uint64_t{Get32(in + 12)} * 8, Term(Get64(in + 16)), LogIndex(Get64(in + 24))};
  record.bytes = PaddedRecordBytes(length);
  return record;
}

}  // namespace quorate::log
