// One data file of the memory backend's checkpoint: written frame by frame, read back at open.
// The bytes are described in checkpoint_format.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/checkpoint_format.h"
#include "backends/kv/kv_backend.h"
#include "base/file_env.h"

namespace quorate::kv {

// How a file must end.
struct FrameFileEnd {
  uint64_t intact_bytes = 0;  // these were durable: anything wrong in them is damage
  enum class Tail { kNone, kMayBeTorn } tail = Tail::kNone;
};

struct FrameFileContent {
  uint64_t good_bytes = 0;     // up to the end of the last good frame
  uint64_t proven_bytes = 0;   // of these a successful sync is known
  uint64_t last_sequence = 0;  // `before_sequence` when there was no frame
  std::string torn;            // what is wrong at good_bytes; empty when the file ends there
};

// One thread. After an error nothing more may be appended.
class FrameFileWriter {
 public:
  // Creates the file with its head. Durable only after Sync and SyncDir of the folder.
  static absl::StatusOr<std::unique_ptr<FrameFileWriter>> Create(FileEnv* env,
                                                                 const std::string& path,
                                                                 uint64_t number);
  // Goes on with a file of which `end.good_bytes` are good; what lies behind is cut off. All of
  // them are durable when it returns: those not proven to be so are written again.
  static absl::StatusOr<std::unique_ptr<FrameFileWriter>> Continue(FileEnv* env,
                                                                   const std::string& path,
                                                                   uint64_t number,
                                                                   const FrameFileContent& end);

  // One frame. Not durable before Sync.
  absl::Status Append(std::span<const WriteOp> ops, uint64_t sequence);
  // Makes all frames durable and leaves a mark of that behind them (the mark itself is not synced:
  // it makes damage tell-tale after anything but a power loss, and nothing rests on it).
  absl::Status Sync(uint64_t last_sequence);

  uint64_t number() const { return number_; }
  uint64_t size() const { return size_; }
  uint64_t synced_size() const { return synced_size_; }
  uint64_t unsynced_bytes() const { return unsynced_bytes_; }  // marks do not count

 private:
  FrameFileWriter(std::unique_ptr<File> file, uint64_t number, uint64_t size, uint64_t synced_size)
      : file_(std::move(file)), number_(number), size_(size), synced_size_(synced_size) {}
  absl::Status WriteHeader(FrameHeader header);
  absl::Status WriteBuffer(uint64_t offset);

  const std::unique_ptr<File> file_;
  const uint64_t number_;
  uint64_t size_;
  uint64_t synced_size_;
  uint64_t unsynced_bytes_ = 0;
  std::string buffer_;
};

// Visits the changes of all good frames in order. The first frame must follow `before_sequence`, if
// that is known.
// kDataLoss names file and offset. Behind `intact_bytes`, with kMayBeTorn, a bad frame ends the
// content, unless a later frame says that it had been synced: then it is damage as well.
absl::StatusOr<FrameFileContent> LoadFrameFile(FileEnv* env, const std::string& path,
                                               uint64_t number,
                                               std::optional<uint64_t> before_sequence,
                                               FrameFileEnd end,
                                               absl::FunctionRef<void(const WriteOp&)> visitor);

}  // namespace quorate::kv
