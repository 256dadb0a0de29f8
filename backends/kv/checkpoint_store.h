// CheckpointStore: how the memory backend comes back after a restart. Every batch is appended to a
// delta file as it is written; Sync() makes the delta durable. When more than half of the bytes in
// the files is superseded, the content is rewritten, in order and slice by slice, into a base file
// while new batches go to a new delta; then the manifest switches and the old files go. So a byte
// is written once, and once more for each time as much garbage as live data has come together.
//
// A rewrite need not be of one moment: each of its slices shows the then latest state, and the
// delta begun with the rewrite is replayed over it. Puts and deletes are absolute, so replay ends
// in the exact state, provided the delta is on disk up to the last slice before the switch.
//
// Bytes: checkpoint_format.h, docs/formats/memory-checkpoint.md. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/kv/checkpoint_format.h"
#include "backends/kv/frame_file.h"
#include "backends/kv/kv_backend.h"
#include "base/file_env.h"

namespace quorate::kv {

class CheckpointStore {
 public:
  // Opens or creates; calls `replay` for all changes, oldest first. A torn tail (of writes that
  // were never synced) is cut off and logged. kDataLoss names file and offset; kUnavailable when
  // another process has the folder open.
  static absl::StatusOr<std::unique_ptr<CheckpointStore>> Open(
      FileEnv* env, const std::string& dir, absl::FunctionRef<void(const WriteOp&)> replay);

  // What is wrong with a store that nobody has open: the first place of each damaged file.
  static std::vector<std::string> FindDamage(FileEnv* env, const std::string& dir);

  // After an error the store is of no use any more.
  absl::Status Append(std::span<const WriteOp> batch);
  absl::Status Sync();

  // A rewrite: between Begin and Finish puts, in any number of slices, that together are the whole
  // content. A disk too full for it is no error: the rewrite is given up, `rewriting()` is false
  // after the call, and the store goes on with the files it has.
  absl::Status BeginRewrite();
  absl::Status RewriteSlice(std::span<const WriteOp> puts);
  absl::Status FinishRewrite();
  bool rewriting() const { return base_ != nullptr; }

  // Of the files that make up the state; a rewrite in progress is not counted.
  uint64_t bytes() const;

 private:
  CheckpointStore(FileEnv* env, std::string dir, std::unique_ptr<FileLock> lock)
      : env_(env), dir_(std::move(dir)), lock_(std::move(lock)) {}
  absl::Status CreateNew();
  absl::Status Load(absl::FunctionRef<void(const WriteOp&)> replay);
  absl::Status WriteManifest(const CheckpointManifest& manifest);
  absl::Status RemoveUnlisted();
  absl::Status CreateRewriteFiles(std::unique_ptr<FrameFileWriter>* delta);
  // Ends a rewrite that found the disk full; passes other errors on.
  absl::Status GiveUpIfFull(const absl::Status& status);
  std::string PathOf(const std::string& name) const { return dir_ + "/" + name; }

  FileEnv* const env_;
  const std::string dir_;
  const std::unique_ptr<FileLock> lock_;
  CheckpointManifest manifest_;  // as on disk
  std::unique_ptr<FrameFileWriter> active_;
  uint64_t sequence_ = 0;  // of the last batch
  uint64_t next_file_ = 1;

  // A rewrite in progress.
  std::unique_ptr<FrameFileWriter> base_;
  uint64_t base_frames_ = 0;
  uint64_t rewrite_first_sequence_ = 0;  // of the delta begun with it
};

}  // namespace quorate::kv
