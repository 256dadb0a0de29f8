#include "backends/kv/marker.h"

#include <charconv>
#include <vector>

#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::string_view kMarkerName = "BACKEND";

absl::Status CheckMarker(const std::string& path, std::string_view text, std::string_view backend) {
  const std::vector<std::string_view> parts = StrSplit(text, ' ');
  uint32_t version = 0;
  bool good = parts.size() == 2 && parts[1].ends_with('\n');
  if (good) {
    const char* end = parts[1].data() + parts[1].size() - 1;
    const auto parsed = std::from_chars(parts[1].data(), end, version);
    good = parsed.ec == std::errc() && parsed.ptr == end;
  }
  if (!good) {
    return absl::DataLossError(
        StrCat(path, " is damaged at offset 0: it should name a backend and a format version"));
  }
  if (parts[0] != backend) {
    return absl::FailedPreconditionError(
        StrCat(path, ": this folder was made by backend '", parts[0], "', not '", backend,
               "'; start with --backend=", parts[0], " or use another data directory"));
  }
  if (version > kBackendFormat) {
    return absl::FailedPreconditionError(
        StrCat(path, ": this folder has format ", version, " of backend '", backend,
               "', this program knows up to ", kBackendFormat,
               "; start the newer program that wrote it or use another data directory"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ClaimFolder(FileEnv* env, const std::string& dir, std::string_view backend) {
  const std::string path = StrCat(dir, "/", kMarkerName);
  QR_RETURN_IF_ERROR(env->MakeDirs(dir));
  if (env->Exists(path)) {
    // An attempt before this one may have been cut short, or failed, before its names were on disk.
    QR_RETURN_IF_ERROR(env->SyncDir(FolderOf(dir)));
    QR_RETURN_IF_ERROR(env->SyncDir(dir));
    QR_ASSIGN_OR_RETURN(const std::string text, ReadFileToString(env, path));
    return CheckMarker(path, text, backend);
  }
  QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, env->List(dir));
  for (const std::string& name : names) {
    if (name.starts_with(kMarkerName)) continue;  // left over by an attempt that was cut short
    return absl::FailedPreconditionError(
        StrCat(dir, " holds ", name, " but no file ", kMarkerName,
               ": it was not made by a backend of this program; use another data directory"));
  }
  return WriteFileAtomically(env, path, StrCat(backend, " ", kBackendFormat, "\n"));
}

}  // namespace quorate::kv
