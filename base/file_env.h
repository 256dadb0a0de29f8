// The file environment: all disk access of log and backends goes through it, so that tests and the
// simulator can lose unsynced writes, tear them, fail syncs and fill the disk.
// Errors are absl::Status whose text names the path, the operation and the system's reason; a full
// disk is kResourceExhausted, a missing file kNotFound, damage kDataLoss.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quorate {

// One open file, addressed by offset. One writer thread; reads from any thread.
class File {
 public:
  virtual ~File() = default;  // closes
  // Writes all pieces back to back at `offset` (one system call where possible). Not durable.
  virtual absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) = 0;
  // Reads up to `size` bytes; fewer only at the end of the file. Returns the number read.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, size_t size, char* out) const = 0;
  // Makes all completed writes durable (fdatasync).
  virtual absl::Status Sync() = 0;
  // Reserves blocks up to `size` and extends the file with zeros.
  virtual absl::Status Preallocate(uint64_t size) = 0;
  virtual absl::Status Truncate(uint64_t size) = 0;
  virtual absl::StatusOr<uint64_t> Size() const = 0;
  virtual const std::string& path() const = 0;
};

// Held while the object lives; the kernel releases it when the process dies.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// How each write of a file reaches the disk.
enum class WriteMode {
  kBuffered,  // durable after Sync()
  kDataSync,  // O_DSYNC: durable when WriteAt returns
};

// Any thread.
class FileEnv {
 public:
  virtual ~FileEnv() = default;
  // kNotFound when there is no such file.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, WriteMode mode) = 0;
  // Creates or truncates. The new name is durable after SyncDir of its folder.
  virtual absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path, WriteMode mode) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status Remove(const std::string& path) = 0;
  // With all folders above it, mode 0700; existing is fine. New ones are durable when it returns.
  virtual absl::Status MakeDirs(const std::string& path) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& dir) = 0;  // sorted
  virtual bool Exists(const std::string& path) = 0;
  virtual absl::Status SyncDir(const std::string& dir) = 0;
  // Exclusive lock on a file (created if missing). kUnavailable when another process holds it.
  virtual absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
};

// The process-wide POSIX environment.
FileEnv* PosixFileEnv();

// The folder that holds `path`: "." for a bare name, "/" for what lies in the root.
std::string FolderOf(const std::string& path);

// Whole-file helpers. WriteFileAtomically writes to a temporary name, syncs, renames, syncs the
// folder: after it returns the file has the new content, before that the old.
absl::StatusOr<std::string> ReadFileToString(FileEnv* env, const std::string& path);
absl::Status WriteFileAtomically(FileEnv* env, const std::string& path, std::string_view data);

}  // namespace quorate
