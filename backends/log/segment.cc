// Layout (little-endian). A segment file is preallocated and begins with a block of 4096 bytes:
//    0 magic "QRLOGSEG"     8 format version u32 (1)      12 u32: 1 when the log begins anew here
//   16 sequence u64        24 first index u64             32 term before first u64
//   40 member u64          48 cluster u64                 56 incarnation u64
//   64 hard state: term u64, vote u64, commit u64 (as of the creation of the segment)
//   88 crc32c u32 of bytes 0..87
// Magic, version and the checksum keep their places in every later version.
//
// Records follow, each padded with zeros to 8 bytes:
//    0 crc32c u32 over: incarnation u64, file offset u64, bytes 4..9, bytes 12..31, the payload
//    4 length u32 of the payload
//    8 type u8: 1 entry, 2 hard state     9 entry type u8
//   10 the lower half, u16, of that checksum's value before the payload
//   12 offset / 8 u32 up to which the segment was synced when this was written
//   16 term u64   24 index u64 (hard state: commit)
//   32 payload (hard state: vote u64)
// 32 zero bytes end the segment; the next append overwrites them.
//
// The check of the header alone (at 10) is there for the search through what a torn write or an
// earlier use of the file left behind: without it, bytes that a client once wrote could name any
// length, and each would cost a checksum over as much.

#include "backends/log/segment.h"

#include <cstring>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/text.h"

namespace quorate::log {
namespace {

constexpr std::string_view kMagic = "QRLOGSEG";
constexpr size_t kHeaderBytes = 88;  // before its checksum

void Put16(char* out, uint16_t value) { memcpy(out, &value, 2); }
void Put32(char* out, uint32_t value) { memcpy(out, &value, 4); }
void Put64(char* out, uint64_t value) { memcpy(out, &value, 8); }
uint16_t Get16(const char* in) {
  uint16_t value;
  memcpy(&value, in, 2);
  return value;
}
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

// The checksum before the payload.
uint32_t HeaderCrc(const RecordPlace& place, const char* header) {
  constexpr size_t kPlaceBytes = 16;
  char covered[kPlaceBytes + 6 + 20];
  Put64(covered, place.incarnation);
  Put64(covered + 8, place.offset);
  memcpy(covered + kPlaceBytes, header + 4, 6);
  memcpy(covered + kPlaceBytes + 6, header + 12, 20);
  return Crc32c(0, {covered, sizeof(covered)});
}

}  // namespace

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  std::string block(kHeaderBlockBytes, '\0');
  char* out = block.data();
  memcpy(out, kMagic.data(), kMagic.size());
  Put32(out + 8, kFormatVersion);
  Put32(out + 12, header.begins_anew ? 1 : 0);
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
    return absl::DataLossError(StrCat(path, ": offset 0: this is not a log segment"));
  }
  const char* in = block.data();
  if (Get32(in + kHeaderBytes) != Crc32c(0, {in, kHeaderBytes})) {
    return absl::DataLossError(StrCat(path, ": offset 0: the segment header is damaged"));
  }
  const uint32_t version = Get32(in + 8);
  if (version > kFormatVersion) {
    return absl::FailedPreconditionError(
        StrCat(path, ": offset 8: log format ", version, " is newer than this program's ",
               kFormatVersion, "; start the version that wrote it, or a newer one"));
  }
  SegmentHeader header;
  header.begins_anew = Get32(in + 12) != 0;
  header.sequence = Get64(in + 16);
  header.first = LogIndex(Get64(in + 24));
  header.term_before_first = Term(Get64(in + 32));
  header.identity = {MemberId(Get64(in + 40)), ClusterId(Get64(in + 48))};
  header.incarnation = Get64(in + 56);
  header.hard_state = {Term(Get64(in + 64)), MemberId(Get64(in + 72)), LogIndex(Get64(in + 80))};
  return header;
}

uint32_t EncodeRecordHeader(const RecordFields& fields, std::string_view payload,
                            const RecordPlace& place, char* out) {
  QR_CHECK(payload.size() <= UINT32_MAX);
  QR_CHECK(fields.synced_offset / kRecordAlignment <= UINT32_MAX);
  QR_CHECK(place.offset % kRecordAlignment == 0);
  Put32(out + 4, static_cast<uint32_t>(payload.size()));
  out[8] = static_cast<char>(fields.type);
  out[9] = static_cast<char>(fields.entry_type);
  Put32(out + 12, static_cast<uint32_t>(fields.synced_offset / kRecordAlignment));
  Put64(out + 16, fields.term.value());
  Put64(out + 24, fields.index.value());
  const uint32_t header_crc = HeaderCrc(place, out);
  Put16(out + 10, static_cast<uint16_t>(header_crc));
  const uint32_t crc = Crc32c(header_crc, payload);
  Put32(out, crc);
  return crc;
}

absl::StatusOr<Record> DecodeRecord(std::string_view data, const RecordPlace& place) {
  Record record;
  if (data.size() < kRecordHeaderBytes) return record;
  if (data.substr(0, kRecordHeaderBytes).find_first_not_of('\0') == std::string_view::npos) {
    return record;
  }
  const char* in = data.data();
  const uint32_t header_crc = HeaderCrc(place, in);
  if (Get16(in + 10) != static_cast<uint16_t>(header_crc)) {
    return absl::DataLossError("the checksum of the record's header does not match");
  }
  const uint32_t length = Get32(in + 4);
  if (kRecordHeaderBytes + uint64_t{length} > data.size()) {
    return absl::DataLossError("the record is longer than the segment");
  }
  record.payload = data.substr(kRecordHeaderBytes, length);
  record.crc = Get32(in);
  if (record.crc != Crc32c(header_crc, record.payload)) {
    return absl::DataLossError("the checksum of the record does not match");
  }
  record.fields = {static_cast<RecordType>(in[8]), static_cast<EntryType>(in[9]),
                   uint64_t{Get32(in + 12)} * kRecordAlignment, Term(Get64(in + 16)),
                   LogIndex(Get64(in + 24))};
  record.bytes = PaddedRecordBytes(length);
  return record;
}

HardState HardStateAfterReset(HardState state, LogIndex index, Term term) {
  QR_CHECK_MSG(state.commit <= index, "a snapshot that is older than what is committed");
  state.commit = index;
  if (state.term < term) state = {term, MemberId(0), index};
  return state;
}

void EncodeVote(MemberId vote, char* out) { Put64(out, vote.value()); }

absl::StatusOr<HardState> HardStateOf(const Record& record) {
  QR_CHECK(record.fields.type == RecordType::kHardState);
  if (record.payload.size() != kVoteBytes) {
    return absl::DataLossError(StrCat("a hard state of ", record.payload.size(), " bytes"));
  }
  return HardState{record.fields.term, MemberId(Get64(record.payload.data())), record.fields.index};
}

}  // namespace quorate::log
