#include "base/file_env.h"

#include "base/status_util.h"
#include "base/text.h"

namespace quorate {
namespace {

absl::Status WriteNewFile(FileEnv* env, const std::string& path, std::string_view data) {
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env->Create(path, WriteMode::kBuffered));
  QR_RETURN_IF_ERROR(file->WriteAt(0, std::span(&data, 1)));
  return file->Sync();
}

}  // namespace

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::StatusOr<std::string> ReadFileToString(FileEnv* env, const std::string& path) {
  constexpr size_t kReadStep = 64 << 10;
  QR_ASSIGN_OR_RETURN(std::unique_ptr<File> file, env->Open(path, WriteMode::kBuffered));
  QR_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::string content(size, '\0');
  size_t total = 0;
  // The size is a hint: files of /proc say 0, and a file may grow meanwhile.
  while (true) {
    if (total == content.size()) content.resize(total + kReadStep);
    QR_ASSIGN_OR_RETURN(const size_t got,
                        file->ReadAt(total, content.size() - total, content.data() + total));
    total += got;
    if (got == 0) break;
  }
  content.resize(total);
  return content;
}

absl::Status WriteFileAtomically(FileEnv* env, const std::string& path, std::string_view data) {
  const std::string temporary = StrCat(path, ".tmp");
  absl::Status status = WriteNewFile(env, temporary, data);
  if (status.ok()) status = env->Rename(temporary, path);
  if (!status.ok()) {
    // The first error is the one to tell; a left-over is overwritten by the next attempt.
    env->Remove(temporary).IgnoreError();
    return status;
  }
  return env->SyncDir(FolderOf(path));
}

}  // namespace quorate
