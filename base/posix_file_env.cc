// FileEnv over POSIX calls.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/file_env.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate {
namespace {

constexpr size_t kPiecesPerCall = 64;  // far below IOV_MAX, and fits on the stack
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirMode = 0700;

absl::Status ErrnoStatus(std::string_view operation, const std::string& path, int error) {
  const std::string text = StrCat(operation, " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case EEXIST:
      return absl::AlreadyExistsError(text);
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
      return absl::FailedPreconditionError(text);
    case EINVAL:
    case ENAMETOOLONG:
      return absl::InvalidArgumentError(text);
    case EFBIG:
      return absl::OutOfRangeError(text);
    default:
      return absl::UnavailableError(text);
  }
}

// Repeats a call that a signal interrupted.
template <class Call>
auto Retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
    std::array<iovec, kPiecesPerCall> vectors;
    size_t next = 0;  // first piece that is not fully written
    size_t done = 0;  // bytes of it that are
    while (true) {
      size_t filled = 0;
      for (size_t i = next; i < pieces.size() && filled < vectors.size(); ++i) {
        std::string_view piece = pieces[i];
        if (i == next) piece.remove_prefix(done);
        if (piece.empty()) continue;
        vectors[filled++] = {const_cast<char*>(piece.data()), piece.size()};
      }
      if (filled == 0) return absl::OkStatus();
      const ssize_t written = Retry([&] {
        return ::pwritev(fd_, vectors.data(), static_cast<int>(filled), static_cast<off_t>(offset));
      });
      if (written < 0) return ErrnoStatus("write", path_, errno);
      if (written == 0) return ErrnoStatus("write", path_, EIO);
      offset += static_cast<uint64_t>(written);
      done += static_cast<size_t>(written);
      while (next < pieces.size() && done >= pieces[next].size()) done -= pieces[next++].size();
    }
  }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, size_t size, char* out) const override {
    size_t total = 0;
    while (total < size) {
      const ssize_t got = Retry([&] {
        return ::pread(fd_, out + total, size - total, static_cast<off_t>(offset + total));
      });
      if (got < 0) return ErrnoStatus("read", path_, errno);
      if (got == 0) break;
      total += static_cast<size_t>(got);
    }
    return total;
  }

  absl::Status Sync() override {
    // Not repeated on EINTR or any other error: after a failed sync nobody knows what is on disk.
    if (::fdatasync(fd_) != 0) return ErrnoStatus("sync", path_, errno);
    return absl::OkStatus();
  }

  absl::Status Preallocate(uint64_t size) override {
    if (size == 0) return absl::OkStatus();
    if (Retry([&] { return ::fallocate(fd_, 0, 0, static_cast<off_t>(size)); }) == 0) {
      return absl::OkStatus();
    }
    if (errno != EOPNOTSUPP) return ErrnoStatus("preallocate", path_, errno);
    // A file system without reservation: the zeros have to be written.
    const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(size));
    return error == 0 ? absl::OkStatus() : ErrnoStatus("preallocate", path_, error);
  }

  absl::Status Truncate(uint64_t size) override {
    if (Retry([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) != 0) {
      return ErrnoStatus("truncate", path_, errno);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() const override {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return ErrnoStatus("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  const std::string& path() const override { return path_; }

 private:
  const int fd_;
  const std::string path_;
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}
  ~PosixLock() override { ::close(fd_); }

 private:
  const int fd_;
};

class PosixEnv final : public FileEnv {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, WriteMode mode) override {
    absl::StatusOr<std::unique_ptr<File>> file = OpenFile("open", path, O_RDWR | ModeFlags(mode));
    // Files that may only be read (another user's configuration, a read-only mount) open as such.
    if (absl::IsPermissionDenied(file.status())) file = OpenFile("open", path, O_RDONLY);
    return file;
  }

  absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path, WriteMode mode) override {
    return OpenFile("create", path, O_RDWR | O_CREAT | O_TRUNC | ModeFlags(mode));
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(StrCat("rename ", from, " to"), to, errno);
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return absl::OkStatus();
    if (errno == EISDIR && ::rmdir(path.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus("remove", path, errno);
  }

  absl::Status MakeDirs(const std::string& path) override {
    size_t end = 0;
    while (end != std::string::npos) {
      end = path.find('/', end + 1);
      const std::string prefix = path.substr(0, end);
      if (prefix.empty()) continue;
      if (::mkdir(prefix.c_str(), kDirMode) == 0) {
        QR_RETURN_IF_ERROR(SyncDir(FolderOf(prefix)));
        continue;
      }
      const int error = errno;
      struct stat info;
      if (::stat(prefix.c_str(), &info) == 0) {
        if (S_ISDIR(info.st_mode)) continue;
        return ErrnoStatus("create folder", prefix, ENOTDIR);
      }
      return ErrnoStatus("create folder", prefix, error);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override {
    DIR* stream = ::opendir(dir.c_str());
    if (stream == nullptr) return ErrnoStatus("list", dir, errno);
    std::vector<std::string> names;
    int error = 0;
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(stream);
      if (entry == nullptr) {
        error = errno;
        break;
      }
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    ::closedir(stream);
    if (error != 0) return ErrnoStatus("list", dir, error);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) override {
    struct stat info;
    return ::stat(path.c_str(), &info) == 0;
  }

  absl::Status SyncDir(const std::string& dir) override {
    const int fd = Retry([&] { return ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd < 0) return ErrnoStatus("open folder", dir, errno);
    const int error = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return error == 0 ? absl::OkStatus() : ErrnoStatus("sync folder", dir, error);
  }

  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    const int fd =
        Retry([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode); });
    if (fd < 0) return ErrnoStatus("open lock file", path, errno);
    if (Retry([&] { return ::flock(fd, LOCK_EX | LOCK_NB); }) == 0) {
      return std::make_unique<PosixLock>(fd);
    }
    const int error = errno;
    ::close(fd);
    if (error == EWOULDBLOCK) {
      return absl::UnavailableError(
          StrCat("lock ", path, ": held by another process; stop that one or use another path"));
    }
    return ErrnoStatus("lock", path, error);
  }

 private:
  static int ModeFlags(WriteMode mode) { return mode == WriteMode::kDataSync ? O_DSYNC : 0; }

  static absl::StatusOr<std::unique_ptr<File>> OpenFile(std::string_view operation,
                                                        const std::string& path, int flags) {
    const int fd = Retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, kFileMode); });
    if (fd < 0) return ErrnoStatus(operation, path, errno);
    return std::make_unique<PosixFile>(fd, path);
  }
};

}  // namespace

FileEnv* PosixFileEnv() {
  static auto* env = new PosixEnv;
  return env;
}

}  // namespace quorate
