// The whole content of a backend as a stream of bytes in a format of its own, independent of the
// kind of backend: so a leader on memory can bring up a follower on lmdb. The bytes are written
// down in docs/formats/state-stream.md.
//
// Sender: StateExporter pulls one block at a time out of a snapshot. Receiver: StateImporter takes
// the bytes in any cuts and writes nothing that has not passed its checksum; only Finish says
// whether the state is whole. Until then the receiving backend must not be used for anything else:
// folder_swap.h has it written beside the one in use and swapped in when it is complete.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/kv_backend.h"

namespace quorate::kv {

inline constexpr uint32_t kStateStreamFormat = 1;

// One thread at a time.
class StateExporter {
 public:
  explicit StateExporter(std::unique_ptr<KvSnapshot> snapshot);

  // The next bytes of the stream, at most `bytes_max` (at least 1) of them; empty at its end, after
  // which the snapshot has been let go. Holds one block at a time: a quarter of a megabyte, or one
  // record when that is larger. Errors are those of the snapshot; after one there is no more.
  absl::StatusOr<std::string_view> Read(size_t bytes_max);  // valid until the next call

  uint64_t records() const { return records_; }  // sent so far

 private:
  absl::Status FillBlock();
  void AppendEnd();

  std::unique_ptr<KvSnapshot> snapshot_;  // null: the end mark has been made
  std::string bytes_;                     // made and not taken yet, from taken_ on
  size_t taken_ = 0;
  size_t table_ = 0;   // where the next block begins
  std::string begin_;  // first key of that table that was not sent
  uint64_t records_ = 0;
  uint64_t blocks_ = 0;
  uint32_t total_crc_ = 0;
};

// One thread: the backend's writer.
class StateImporter {
 public:
  // `backend` must be empty; anything in it is kFailedPrecondition at the first Take.
  explicit StateImporter(KvBackend* backend) : backend_(backend) {}

  // The next bytes, in any cuts. kDataLoss names the offset in the stream of what is wrong: a
  // flipped bit, a block that is missing, repeated or out of order, bytes behind the end.
  // kFailedPrecondition for a newer format. Other errors are the backend's. Every error is final:
  // the backend then holds a part of the state and is to be thrown away. Memory: one block.
  absl::Status Take(std::string_view bytes);
  // Syncs. Ok exactly when all of the state has been taken; kDataLoss when the stream was cut
  // short.
  absl::Status Finish();

  uint64_t bytes_taken() const { return offset_ + buffer_.size(); }
  uint64_t records() const { return records_; }

 private:
  enum class Stage { kHeader, kBlocks, kComplete };

  absl::Status CheckEmpty() const;
  absl::Status TakeSome(std::string_view bytes);
  // Brings the buffer up to `size` bytes from the front of *bytes; whether it has them.
  bool Gather(size_t size, std::string_view* bytes);
  absl::Status TakeHeader();
  absl::Status TakeBlock();
  absl::Status TakeEnd();
  absl::Status WritePayload(std::string_view payload, uint64_t payload_offset);
  absl::Status Damage(uint64_t offset, std::string_view what) const;

  KvBackend* const backend_;
  absl::Status failed_;
  Stage stage_ = Stage::kHeader;
  bool checked_empty_ = false;
  std::string buffer_;   // of what begins at offset_
  uint64_t offset_ = 0;  // in the stream
  uint64_t unsynced_bytes_ = 0;
  WriteBatch batch_;
  std::string last_;  // table byte and key of the last record
  uint64_t records_ = 0;
  uint64_t blocks_ = 0;
  uint32_t total_crc_ = 0;
};

}  // namespace quorate::kv
