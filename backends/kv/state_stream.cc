#include "backends/kv/state_stream.h"

#include <algorithm>

#include "backends/kv/write_check.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

// Layout, little-endian (docs/formats/state-stream.md):
//   header 16:  0 "QRSTATES"   8 u32 format   12 u32 crc of 0-11
//   block 24:   0 "QRSB"   4 u32 payload bytes   8 u64 number, from 0   16 u32 crc of the payload
//              20 u32 crc of 0-19          then the payload: records, in order of table and key
//   end 32:     0 "QRSE"   4 u32 zero   8 u64 records   16 u64 blocks   24 u32 crc of all payloads
//              28 u32 crc of 0-27
//   record 9:   0 u8 table   1 u32 key bytes   5 u32 value bytes   key   value
constexpr std::string_view kStreamMagic = "QRSTATES";
constexpr std::string_view kBlockMagic = "QRSB";
constexpr std::string_view kEndMagic = "QRSE";
constexpr size_t kHeaderBytes = 16;
constexpr size_t kBlockHeaderBytes = 24;
constexpr size_t kEndBytes = 32;
constexpr size_t kRecordHeaderBytes = 9;
constexpr size_t kBlockBytes = 256 << 10;
constexpr uint64_t kBlockBytesMax = kBlockBytes + kRecordHeaderBytes + 2 * uint64_t{kValueBytesMax};
// An import syncs this often. On a journaling file system a sync of the log waits for what others
// have written and not synced: with 32 MiB, puts took twice as long meanwhile.
constexpr uint64_t kSyncBytes = 4 << 20;

void Append32(uint32_t value, std::string* out) {
  for (int i = 0; i < 4; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void Append64(uint64_t value, std::string* out) {
  Append32(static_cast<uint32_t>(value), out);
  Append32(static_cast<uint32_t>(value >> 32), out);
}

uint32_t Load32(std::string_view data, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= uint32_t{static_cast<unsigned char>(data[at + i])} << (8 * i);
  }
  return value;
}

uint64_t Load64(std::string_view data, size_t at) {
  return uint64_t{Load32(data, at)} | uint64_t{Load32(data, at + 4)} << 32;
}

void AppendCrcOf(size_t begin, std::string* out) {
  Append32(Crc32c(0, std::string_view(*out).substr(begin)), out);
}

// Whether the last four of `size` bytes are the checksum of those before.
bool EndsInCrc(std::string_view data, size_t size) {
  return Crc32c(0, data.substr(0, size - 4)) == Load32(data, size - 4);
}

}  // namespace

StateExporter::StateExporter(std::unique_ptr<KvSnapshot> snapshot)
    : snapshot_(std::move(snapshot)) {
  QR_CHECK(snapshot_ != nullptr);
  bytes_.append(kStreamMagic);
  Append32(kStateStreamFormat, &bytes_);
  AppendCrcOf(0, &bytes_);
}

absl::StatusOr<std::string_view> StateExporter::Read(size_t bytes_max) {
  QR_CHECK(bytes_max > 0);
  if (taken_ == bytes_.size() && snapshot_ != nullptr) {
    bytes_.clear();
    taken_ = 0;
    QR_RETURN_IF_ERROR(FillBlock());
    if (bytes_.empty()) {
      AppendEnd();
      snapshot_.reset();
    }
  }
  const std::string_view next = std::string_view(bytes_).substr(taken_, bytes_max);
  taken_ += next.size();
  return next;
}

// Leaves bytes_ empty when there are no more records.
absl::Status StateExporter::FillBlock() {
  bytes_.assign(kBlockHeaderBytes, '\0');
  while (table_ < kTableCount && bytes_.size() < kBlockBytes) {
    bool full = false;
    std::string next;  // begin_ is in use until the scan returns
    const auto take = [&](std::string_view key, std::string_view value) {
      full = bytes_.size() >= kBlockBytes;
      if (full) {
        next.assign(key);
        return false;
      }
      bytes_.push_back(static_cast<char>(table_));
      Append32(static_cast<uint32_t>(key.size()), &bytes_);
      Append32(static_cast<uint32_t>(value.size()), &bytes_);
      bytes_.append(key);
      bytes_.append(value);
      ++records_;
      return true;
    };
    QR_RETURN_IF_ERROR(snapshot_->Scan(static_cast<Table>(table_), begin_, {}, take));
    begin_.swap(next);
    if (full) break;
    ++table_;
  }
  const std::string_view payload = std::string_view(bytes_).substr(kBlockHeaderBytes);
  if (payload.empty()) {
    bytes_.clear();
    return absl::OkStatus();
  }
  QR_CHECK(payload.size() <= kBlockBytesMax);
  total_crc_ = Crc32c(total_crc_, payload);
  std::string header(kBlockMagic);
  Append32(static_cast<uint32_t>(payload.size()), &header);
  Append64(blocks_++, &header);
  Append32(Crc32c(0, payload), &header);
  AppendCrcOf(0, &header);
  header.copy(bytes_.data(), header.size());
  return absl::OkStatus();
}

void StateExporter::AppendEnd() {
  const size_t begin = bytes_.size();
  bytes_.append(kEndMagic);
  Append32(0, &bytes_);
  Append64(records_, &bytes_);
  Append64(blocks_, &bytes_);
  Append32(total_crc_, &bytes_);
  AppendCrcOf(begin, &bytes_);
}

absl::Status StateImporter::Damage(uint64_t offset, std::string_view what) const {
  return absl::DataLossError(StrCat("the stream of the state is damaged at offset ", offset, ": ",
                                    what, "; it has to be sent again"));
}

absl::Status StateImporter::CheckEmpty() const {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<KvSnapshot> snapshot, backend_->NewSnapshot());
  for (size_t i = 0; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    bool empty = true;
    QR_RETURN_IF_ERROR(snapshot->Scan(table, {}, {}, [&](std::string_view, std::string_view) {
      empty = false;
      return false;
    }));
    if (empty) continue;
    return absl::FailedPreconditionError(
        StrCat("a state can only be taken into an empty backend; table ", TableName(table),
               " of this one has content"));
  }
  return absl::OkStatus();
}

absl::Status StateImporter::Take(std::string_view bytes) {
  QR_RETURN_IF_ERROR(failed_);
  failed_ = TakeSome(bytes);
  return failed_;
}

absl::Status StateImporter::TakeSome(std::string_view bytes) {
  if (!checked_empty_) QR_RETURN_IF_ERROR(CheckEmpty());
  checked_empty_ = true;
  while (true) {
    if (stage_ == Stage::kComplete) {
      return bytes.empty() ? absl::OkStatus() : Damage(offset_, "bytes behind the end mark");
    }
    if (stage_ == Stage::kHeader) {
      if (!Gather(kHeaderBytes, &bytes)) return absl::OkStatus();
      QR_RETURN_IF_ERROR(TakeHeader());
      continue;
    }
    if (!Gather(kBlockMagic.size(), &bytes)) return absl::OkStatus();
    if (buffer_.starts_with(kEndMagic)) {
      if (!Gather(kEndBytes, &bytes)) return absl::OkStatus();
      QR_RETURN_IF_ERROR(TakeEnd());
      continue;
    }
    if (!Gather(kBlockHeaderBytes, &bytes)) return absl::OkStatus();
    if (!buffer_.starts_with(kBlockMagic) || !EndsInCrc(buffer_, kBlockHeaderBytes)) {
      return Damage(offset_, "no block header with the right checksum");
    }
    const uint32_t payload_bytes = Load32(buffer_, 4);
    if (payload_bytes > kBlockBytesMax) return Damage(offset_ + 4, "the size of the block");
    if (!Gather(kBlockHeaderBytes + payload_bytes, &bytes)) return absl::OkStatus();
    QR_RETURN_IF_ERROR(TakeBlock());
  }
}

bool StateImporter::Gather(size_t size, std::string_view* bytes) {
  if (buffer_.size() < size) {
    const size_t missing = std::min(size - buffer_.size(), bytes->size());
    buffer_.append(bytes->substr(0, missing));
    bytes->remove_prefix(missing);
  }
  return buffer_.size() >= size;
}

absl::Status StateImporter::TakeHeader() {
  if (!buffer_.starts_with(kStreamMagic)) return Damage(0, "this is no stream of a state");
  if (!EndsInCrc(buffer_, kHeaderBytes)) return Damage(0, "the checksum of the header");
  const uint32_t format = Load32(buffer_, kStreamMagic.size());
  if (format != kStateStreamFormat) {
    return absl::FailedPreconditionError(StrCat("the stream of the state has format ", format,
                                                ", this program knows ", kStateStreamFormat,
                                                "; run the same version on both members"));
  }
  offset_ = kHeaderBytes;
  buffer_.clear();
  stage_ = Stage::kBlocks;
  return absl::OkStatus();
}

absl::Status StateImporter::TakeBlock() {
  const uint64_t number = Load64(buffer_, 8);
  if (number != blocks_) {
    return Damage(offset_ + 8, StrCat("block ", number, " where ", blocks_, " follows"));
  }
  const std::string_view payload = std::string_view(buffer_).substr(kBlockHeaderBytes);
  if (Crc32c(0, payload) != Load32(buffer_, 16)) {
    return Damage(offset_ + kBlockHeaderBytes, "the checksum of a block");
  }
  total_crc_ = Crc32c(total_crc_, payload);
  QR_RETURN_IF_ERROR(WritePayload(payload, offset_ + kBlockHeaderBytes));
  ++blocks_;
  offset_ += buffer_.size();
  unsynced_bytes_ += buffer_.size();
  buffer_.clear();
  if (unsynced_bytes_ < kSyncBytes) return absl::OkStatus();
  unsynced_bytes_ = 0;
  return backend_->Sync();
}

absl::Status StateImporter::WritePayload(std::string_view payload, uint64_t payload_offset) {
  batch_.clear();
  std::string here;  // table byte and key: their order is that of the stream
  for (size_t at = 0; at < payload.size();) {
    const uint64_t offset = payload_offset + at;
    if (payload.size() - at < kRecordHeaderBytes) return Damage(offset, "half a record");
    const auto table = static_cast<unsigned char>(payload[at]);
    const uint64_t key_bytes = Load32(payload, at + 1);
    const uint64_t value_bytes = Load32(payload, at + 5);
    at += kRecordHeaderBytes;
    if (payload.size() - at < key_bytes + value_bytes) return Damage(offset, "half a record");
    if (table >= kTableCount || key_bytes == 0) return Damage(offset, "an impossible record");
    const std::string_view key = payload.substr(at, key_bytes);
    const std::string_view value = payload.substr(at + key_bytes, value_bytes);
    here.assign(1, static_cast<char>(table));
    here.append(key);
    if (here <= last_) return Damage(offset, "a record that is out of order");
    last_.swap(here);
    batch_.push_back({WriteOp::Kind::kPut, static_cast<Table>(table), key, value});
    at += key_bytes + value_bytes;
    ++records_;
  }
  return backend_->Write(batch_);
}

absl::Status StateImporter::TakeEnd() {
  if (!EndsInCrc(buffer_, kEndBytes)) return Damage(offset_, "the checksum of the end mark");
  const uint64_t records = Load64(buffer_, 8);
  const uint64_t blocks = Load64(buffer_, 16);
  if (records != records_ || blocks != blocks_ || Load32(buffer_, 24) != total_crc_) {
    return Damage(offset_, StrCat("the end mark is of ", records, " records in ", blocks,
                                  " blocks, but ", records_, " in ", blocks_, " have come"));
  }
  offset_ += buffer_.size();
  buffer_.clear();
  stage_ = Stage::kComplete;
  return absl::OkStatus();
}

absl::Status StateImporter::Finish() {
  QR_RETURN_IF_ERROR(failed_);
  if (stage_ != Stage::kComplete) {
    failed_ = Damage(bytes_taken(), "the stream ends here, before its end mark");
    return failed_;
  }
  failed_ = backend_->Sync();
  return failed_;
}

}  // namespace quorate::kv
