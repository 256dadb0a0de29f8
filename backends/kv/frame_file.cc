#include "backends/kv/frame_file.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr size_t kWriteBytes = 1 << 20;  // copied together for one write
constexpr size_t kReadBytes = 1 << 20;   // read ahead

// A file read front to back through one buffer.
class ReadWindow {
 public:
  ReadWindow(const File& file, uint64_t file_bytes) : file_(file), file_bytes_(file_bytes) {}

  // [offset, offset + size), or as much of it as the file has. Valid until the next call.
  absl::StatusOr<std::string_view> Get(uint64_t offset, uint64_t size) {
    size = std::min(size, file_bytes_ - std::min(offset, file_bytes_));
    if (offset < start_ || offset + size > start_ + buffer_.size()) {
      buffer_.resize(
          std::min<uint64_t>(std::max<uint64_t>(size, kReadBytes), file_bytes_ - offset));
      QR_ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(offset, buffer_.size(), buffer_.data()));
      buffer_.resize(got);
      start_ = offset;
    }
    return std::string_view(buffer_).substr(offset - start_, size);
  }

 private:
  const File& file_;
  const uint64_t file_bytes_;
  uint64_t start_ = 0;
  std::string buffer_;
};

class Loader {
 public:
  Loader(const File& file, uint64_t number, uint64_t file_bytes,
         std::optional<uint64_t> before_sequence)
      : file_(file),
        number_(number),
        file_bytes_(file_bytes),
        before_known_(before_sequence.has_value()),
        window_(file, file_bytes) {
    content_.last_sequence = before_sequence.value_or(0);
  }

  absl::StatusOr<FrameFileContent> Load(FrameFileEnd end,
                                        absl::FunctionRef<void(const WriteOp&)> visitor) {
    QR_ASSIGN_OR_RETURN(const std::string_view head, window_.Get(0, kFileHeadBytes));
    std::string wrong = CheckFileHead(head, number_);
    if (!wrong.empty()) return CheckpointDamage(file_.path(), 0, wrong);
    content_.good_bytes = kFileHeadBytes;
    content_.proven_bytes = end.intact_bytes;
    const uint64_t stop = end.tail == FrameFileEnd::Tail::kNone
                              ? std::min(end.intact_bytes, file_bytes_)
                              : file_bytes_;
    while (content_.good_bytes < stop && wrong.empty()) {
      QR_ASSIGN_OR_RETURN(wrong, LoadFrame(visitor));
    }
    if (wrong.empty() && content_.good_bytes < end.intact_bytes) wrong = "the file ends here";
    if (wrong.empty()) return content_;
    if (content_.good_bytes < end.intact_bytes) {
      return CheckpointDamage(
          file_.path(), content_.good_bytes,
          StrCat(wrong, ", where ", end.intact_bytes, " bytes were on disk before"));
    }
    QR_RETURN_IF_ERROR(CheckNotSynced(wrong));
    content_.torn = wrong;
    return content_;
  }

 private:
  // What is wrong with the frame at good_bytes; empty when it was good and is now behind.
  absl::StatusOr<std::string> LoadFrame(absl::FunctionRef<void(const WriteOp&)> visitor) {
    const uint64_t offset = content_.good_bytes;
    QR_ASSIGN_OR_RETURN(const std::string_view head, window_.Get(offset, kFrameHeaderBytes));
    const std::optional<FrameHeader> header = ParseFrameHeader(head, {number_, offset});
    if (!header.has_value()) return std::string("no frame header with the right checksum");
    const uint64_t sequence = content_.last_sequence + (header->is_mark() ? 0 : 1);
    if (std::exchange(before_known_, true) && header->sequence != sequence) {
      return CheckpointDamage(file_.path(), offset,
                              StrCat("batch ", header->sequence, " where ", sequence, " follows"));
    }
    const uint64_t payload_at = offset + kFrameHeaderBytes;
    if (header->payload_bytes > file_bytes_ - payload_at) {
      return std::string("the file ends within a frame");
    }
    QR_ASSIGN_OR_RETURN(const std::string_view payload,
                        window_.Get(payload_at, header->payload_bytes));
    if (Crc32c(0, payload) != header->payload_crc) {
      return std::string("the content of a frame has the wrong checksum");
    }
    if (!ParseOps(payload, header->op_count, visitor)) {
      return CheckpointDamage(file_.path(), payload_at, "unknown content under a right checksum");
    }
    content_.good_bytes = payload_at + header->payload_bytes;
    content_.proven_bytes = std::max(content_.proven_bytes, header->synced_bytes);
    content_.last_sequence = header->sequence;
    return std::string();
  }

  // A bad frame is a torn tail only if no frame behind it knew that it was on disk.
  absl::Status CheckNotSynced(std::string_view wrong) {
    for (uint64_t at = content_.good_bytes + 1; at + kFrameHeaderBytes <= file_bytes_; ++at) {
      QR_ASSIGN_OR_RETURN(const std::string_view bytes, window_.Get(at, kFrameHeaderBytes));
      const std::optional<FrameHeader> header = ParseFrameHeader(bytes, {number_, at});
      if (header.has_value() && header->synced_bytes > content_.good_bytes) {
        return CheckpointDamage(
            file_.path(), content_.good_bytes,
            StrCat(wrong, ", though it was on disk when the frame at ", at, " was written"));
      }
    }
    return absl::OkStatus();
  }

  const File& file_;
  const uint64_t number_;
  const uint64_t file_bytes_;
  bool before_known_;
  ReadWindow window_;
  FrameFileContent content_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FrameFileWriter>> FrameFileWriter::Create(FileEnv* env,
                                                                         const std::string& path,
                                                                         uint64_t number) {
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env->Create(path, WriteMode::kBuffered));
  const auto head = EncodeFileHead(number);
  const std::string_view piece(head.data(), head.size());
  QR_RETURN_IF_ERROR(file->WriteAt(0, std::span(&piece, 1)));
  return std::unique_ptr<FrameFileWriter>(
      new FrameFileWriter(std::move(file), number, kFileHeadBytes, 0));
}

absl::StatusOr<std::unique_ptr<FrameFileWriter>> FrameFileWriter::Continue(
    FileEnv* env, const std::string& path, uint64_t number, const FrameFileContent& end) {
  const uint64_t size = end.good_bytes;
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env->Open(path, WriteMode::kBuffered));
  QR_ASSIGN_OR_RETURN(const uint64_t file_bytes, file->Size());
  QR_CHECK(size <= file_bytes);
  if (size < file_bytes) QR_RETURN_IF_ERROR(file->Truncate(size));
  // That the good frames could be read says nothing about their being on disk: after a sync that
  // failed, Linux keeps the pages but takes them for written, and the next sync would succeed.
  std::string bytes;
  for (uint64_t at = end.proven_bytes; at < size; at += bytes.size()) {
    bytes.resize(std::min<uint64_t>(size - at, kWriteBytes));
    QR_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(at, bytes.size(), bytes.data()));
    if (got != bytes.size()) return CheckpointDamage(path, at + got, "the file ends here");
    const std::string_view piece = bytes;
    QR_RETURN_IF_ERROR(file->WriteAt(at, std::span(&piece, 1)));
  }
  QR_RETURN_IF_ERROR(file->Sync());
  return std::unique_ptr<FrameFileWriter>(new FrameFileWriter(std::move(file), number, size, size));
}

absl::Status FrameFileWriter::WriteBuffer(uint64_t offset) {
  const std::string_view piece = buffer_;
  QR_RETURN_IF_ERROR(file_->WriteAt(offset, std::span(&piece, 1)));
  return absl::OkStatus();
}

absl::Status FrameFileWriter::Append(std::span<const WriteOp> ops, uint64_t sequence) {
  QR_CHECK(!ops.empty());
  QR_CHECK(ops.size() <= UINT32_MAX);
  FrameHeader header;
  header.sequence = sequence;
  header.synced_bytes = synced_size_;
  header.op_count = static_cast<uint32_t>(ops.size());
  // Room for the header; it is filled in when the checksum of all that follows is known.
  buffer_.assign(kFrameHeaderBytes, '\0');
  size_t counted = kFrameHeaderBytes;
  uint64_t written = 0;
  for (const WriteOp& op : ops) {
    AppendOp(op, &buffer_);
    if (buffer_.size() < kWriteBytes) continue;
    header.payload_crc = Crc32c(header.payload_crc, std::string_view(buffer_).substr(counted));
    QR_RETURN_IF_ERROR(WriteBuffer(size_ + written));
    written += buffer_.size();
    buffer_.clear();
    counted = 0;
  }
  header.payload_crc = Crc32c(header.payload_crc, std::string_view(buffer_).substr(counted));
  header.payload_bytes = written + buffer_.size() - kFrameHeaderBytes;
  const auto bytes = EncodeFrameHeader(header, {number_, size_});
  if (written == 0) {
    std::copy(bytes.begin(), bytes.end(), buffer_.begin());
    QR_RETURN_IF_ERROR(WriteBuffer(size_));
  } else {
    QR_RETURN_IF_ERROR(WriteBuffer(size_ + written));
    const std::string_view piece(bytes.data(), bytes.size());
    QR_RETURN_IF_ERROR(file_->WriteAt(size_, std::span(&piece, 1)));
  }
  size_ += kFrameHeaderBytes + header.payload_bytes;
  unsynced_bytes_ += kFrameHeaderBytes + header.payload_bytes;
  return absl::OkStatus();
}

absl::Status FrameFileWriter::Sync(uint64_t last_sequence) {
  QR_RETURN_IF_ERROR(file_->Sync());
  synced_size_ = size_;
  unsynced_bytes_ = 0;
  FrameHeader mark;
  mark.sequence = last_sequence;
  mark.synced_bytes = synced_size_;
  const auto bytes = EncodeFrameHeader(mark, {number_, size_});
  const std::string_view piece(bytes.data(), bytes.size());
  QR_RETURN_IF_ERROR(file_->WriteAt(size_, std::span(&piece, 1)));
  size_ += kFrameHeaderBytes;
  return absl::OkStatus();
}

absl::StatusOr<FrameFileContent> LoadFrameFile(FileEnv* env, const std::string& path,
                                               uint64_t number,
                                               std::optional<uint64_t> before_sequence,
                                               FrameFileEnd end,
                                               absl::FunctionRef<void(const WriteOp&)> visitor) {
  absl::StatusOr<std::unique_ptr<File>> file = env->Open(path, WriteMode::kBuffered);
  if (absl::IsNotFound(file.status())) return CheckpointDamage(path, 0, "the file is missing");
  QR_RETURN_IF_ERROR(file.status());
  QR_ASSIGN_OR_RETURN(const uint64_t file_bytes, (*file)->Size());
  return Loader(**file, number, file_bytes, before_sequence).Load(end, visitor);
}

}  // namespace quorate::kv
