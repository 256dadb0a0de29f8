#include "base/log_sink.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/text.h"

namespace quorate {
namespace {

constexpr int64_t kDaySeconds = 86400;

void WriteAll(int fd, std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(fd, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    line.remove_prefix(static_cast<size_t>(written));
  }
}

absl::StatusOr<int> OpenForAppend(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, StrCat("open log output ", path));
  return fd;
}

class DescriptorSink final : public LogSink {
 public:
  explicit DescriptorSink(int fd) : fd_(fd) {}
  void Write(int, std::string_view line) override { WriteAll(fd_, line); }

 private:
  const int fd_;
};

class FileSink final : public LogSink {
 public:
  explicit FileSink(int fd) : fd_(fd) {}
  ~FileSink() override { ::close(fd_); }
  void Write(int, std::string_view line) override { WriteAll(fd_, line); }

 private:
  const int fd_;
};

class RotatingSink final : public LogSink {
 public:
  RotatingSink(std::string path, const LogRotation& rotation, const Clock* clock, int fd)
      : path_(std::move(path)), rotation_(rotation), clock_(clock), fd_(fd) {
    struct stat state {};
    if (fstat(fd_, &state) == 0) bytes_ = static_cast<uint64_t>(state.st_size);
  }
  ~RotatingSink() override { ::close(fd_); }

  void Write(int, std::string_view line) override {
    if (bytes_ != 0 && bytes_ + line.size() > rotation_.bytes_max) Rotate();
    WriteAll(fd_, line);
    bytes_ += line.size();
  }

 private:
  // The old file goes on being used when there can be no new one.
  void Rotate() {
    const std::string backup = BackupName();
    if (::rename(path_.c_str(), backup.c_str()) != 0) return;
    const absl::StatusOr<int> fresh = OpenForAppend(path_);
    if (!fresh.ok()) {
      ::rename(backup.c_str(), path_.c_str());
      return;
    }
    ::close(std::exchange(fd_, *fresh));
    bytes_ = 0;
    DropOld();
  }

  std::string BackupName() const {
    const std::filesystem::path path(path_);
    const std::string base = (path.parent_path() / path.stem()).string();
    for (int64_t wall_ns = clock_->WallNs();; wall_ns += kNanosPerMilli) {
      const time_t seconds = wall_ns / kNanosPerSecond;
      tm parts;
      rotation_.local_time ? localtime_r(&seconds, &parts) : gmtime_r(&seconds, &parts);
      char text[64];
      size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H-%M-%S", &parts);
      size += static_cast<size_t>(
          snprintf(text + size, sizeof(text) - size, ".%03d",
                   static_cast<int>(wall_ns % kNanosPerSecond / kNanosPerMilli)));
      std::string name = StrCat(base, "-", std::string_view(text, size), path.extension().string());
      if (::access(name.c_str(), F_OK) != 0) return name;
    }
  }

  void DropOld() const {
    const std::filesystem::path path(path_);
    const std::string before = path.stem().string() + "-";
    const std::string after = path.extension().string();
    std::vector<std::filesystem::path> backups;
    std::error_code error;
    const auto folder = path.has_parent_path() ? path.parent_path() : ".";
    for (const auto& item : std::filesystem::directory_iterator(folder, error)) {
      const std::string name = item.path().filename().string();
      constexpr size_t kStampSize = sizeof("2006-01-02T15-04-05.000") - 1;
      if (name.size() == before.size() + kStampSize + after.size() && name.starts_with(before) &&
          name.ends_with(after)) {
        backups.push_back(item.path());
      }
    }
    std::sort(backups.rbegin(), backups.rend());  // the newest first, as the names are made
    const int64_t now_seconds = clock_->WallNs() / kNanosPerSecond;
    for (size_t i = 0; i < backups.size(); ++i) {
      struct stat state {};
      const bool too_many = rotation_.backups_max != 0 && i >= rotation_.backups_max;
      const bool too_old =
          rotation_.age_days_max != 0 && ::stat(backups[i].c_str(), &state) == 0 &&
          now_seconds - state.st_mtime > int64_t{rotation_.age_days_max} * kDaySeconds;
      if (too_many || too_old) ::unlink(backups[i].c_str());
    }
  }

  const std::string path_;
  const LogRotation rotation_;
  const Clock* const clock_;
  int fd_;
  uint64_t bytes_ = 0;
};

class JournalSink final : public LogSink {
 public:
  explicit JournalSink(int fd) : fd_(fd) {}
  ~JournalSink() override { ::close(fd_); }

  // A line has no newline inside, so that the short form of a field holds it.
  void Write(int priority, std::string_view line) override {
    if (line.ends_with('\n')) line.remove_suffix(1);
    const std::string entry =
        StrCat("PRIORITY=", priority, "\nSYSLOG_IDENTIFIER=quorate\nMESSAGE=", line, "\n");
    ::send(fd_, entry.data(), entry.size(), MSG_NOSIGNAL);
  }

 private:
  const int fd_;
};

}  // namespace

std::unique_ptr<LogSink> MakeDescriptorSink(int fd) { return std::make_unique<DescriptorSink>(fd); }

absl::StatusOr<std::unique_ptr<LogSink>> OpenFileSink(const std::string& path) {
  const absl::StatusOr<int> fd = OpenForAppend(path);
  if (!fd.ok()) return fd.status();
  return std::unique_ptr<LogSink>(std::make_unique<FileSink>(*fd));
}

absl::StatusOr<std::unique_ptr<LogSink>> OpenRotatingSink(const std::string& path,
                                                          const LogRotation& rotation,
                                                          const Clock* clock) {
  const absl::StatusOr<int> fd = OpenForAppend(path);
  if (!fd.ok()) return fd.status();
  return std::unique_ptr<LogSink>(std::make_unique<RotatingSink>(path, rotation, clock, *fd));
}

absl::StatusOr<std::unique_ptr<LogSink>> OpenJournalSink(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(StrCat("socket path too long: ", socket_path));
  }
  memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "socket");
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    const int error = errno;
    ::close(fd);
    return absl::UnavailableError(
        StrCat("connect to the journal at ", socket_path, ": ", std::strerror(error)));
  }
  return std::unique_ptr<LogSink>(std::make_unique<JournalSink>(fd));
}

}  // namespace quorate
