#include "backends/kv/marker.h"

#include <charconv>
#include <vector>

#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::string_view kMarkerName = "BACKEND";

struct Marker {
  std::string backend;
  uint32_t version = 0;
};

absl::StatusOr<Marker> ParseMarker(const std::string& path, std::string_view text) {
  const std::vector<std::string_view> parts = StrSplit(text, ' ');
  Marker marker;
  bool good = parts.size() == 2 && parts[1].ends_with('\n');
  if (good) {
    const char* end = parts[1].data() + parts[1].size() - 1;
    const auto parsed = std::from_chars(parts[1].data(), end, marker.version);
    good = parsed.ec == std::errc() && parsed.ptr == end;
  }
  if (!good) {
    return absl::DataLossError(
        StrCat(path, " is damaged at offset 0: it should name a backend and a format version"));
  }
  marker.backend = parts[0];
  return marker;
}

absl::Status CheckMarker(const std::string& path, std::string_view text, std::string_view backend) {
  QR_ASSIGN_OR_RETURN(const Marker marker, ParseMarker(path, text));
  if (marker.backend != backend) {
    return absl::FailedPreconditionError(
        StrCat(path, ": this folder was made by backend '", marker.backend, "', not '", backend,
               "'; start with --backend=", marker.backend, " or use another data directory"));
  }
  if (marker.version > kBackendFormat) {
    return absl::FailedPreconditionError(
        StrCat(path, ": this folder has format ", marker.version, " of backend '", backend,
               "', this program knows up to ", kBackendFormat,
               "; start the newer program that wrote it or use another data directory"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> BackendOf(FileEnv* env, const std::string& dir) {
  const std::string path = StrCat(dir, "/", kMarkerName);
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFileToString(env, path));
  QR_ASSIGN_OR_RETURN(const Marker marker, ParseMarker(path, text));
  return marker.backend;
}

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
