// A file environment whose power goes at a chosen operation. For tests of this room.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_env.h"

namespace quorate::kv {

// Counts down the calls that change the disk, then fails them all: whatever the backend was doing,
// it is cut short there. The crash that follows decides what had reached the disk.
class CutOffEnv final : public FileEnv {
 public:
  explicit CutOffEnv(FileEnv* env) : env_(env) {}
  void CutAfter(uint64_t calls) { left_ = calls; }
  bool cut() const { return left_ == 0; }

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, WriteMode mode) override {
    auto file = env_->Open(path, mode);
    if (!file.ok()) return file;
    return std::make_unique<CutOffFile>(this, std::move(*file));
  }
  absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path, WriteMode mode) override {
    absl::Status status = Count();
    if (!status.ok()) return status;
    auto file = env_->Create(path, mode);
    if (!file.ok()) return file;
    return std::make_unique<CutOffFile>(this, std::move(*file));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    const absl::Status status = Count();
    return status.ok() ? env_->Rename(from, to) : status;
  }
  absl::Status Remove(const std::string& path) override {
    const absl::Status status = Count();
    return status.ok() ? env_->Remove(path) : status;
  }
  absl::Status MakeDirs(const std::string& path) override { return env_->MakeDirs(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override {
    return env_->List(dir);
  }
  bool Exists(const std::string& path) override { return env_->Exists(path); }
  absl::Status SyncDir(const std::string& dir) override {
    const absl::Status status = Count();
    return status.ok() ? env_->SyncDir(dir) : status;
  }
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return env_->Lock(path);
  }

 private:
  class CutOffFile final : public File {
   public:
    CutOffFile(CutOffEnv* env, std::unique_ptr<File> file) : env_(env), file_(std::move(file)) {}
    absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
      const absl::Status status = env_->Count();
      return status.ok() ? file_->WriteAt(offset, pieces) : status;
    }
    absl::StatusOr<size_t> ReadAt(uint64_t offset, size_t size, char* out) const override {
      return file_->ReadAt(offset, size, out);
    }
    absl::Status Sync() override {
      const absl::Status status = env_->Count();
      return status.ok() ? file_->Sync() : status;
    }
    absl::Status Preallocate(uint64_t size) override { return file_->Preallocate(size); }
    absl::Status Truncate(uint64_t size) override {
      const absl::Status status = env_->Count();
      return status.ok() ? file_->Truncate(size) : status;
    }
    absl::StatusOr<uint64_t> Size() const override { return file_->Size(); }
    const std::string& path() const override { return file_->path(); }

   private:
    CutOffEnv* const env_;
    const std::unique_ptr<File> file_;
  };

  absl::Status Count() {
    if (left_ == 0) return absl::UnavailableError("the power is off");
    --left_;
    return absl::OkStatus();
  }

  FileEnv* const env_;
  uint64_t left_ = UINT64_MAX;
};

}  // namespace quorate::kv
