#include "backends/kv/folder_swap.h"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string_view>
#include <vector>

#include "base/crc32c.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr std::string_view kTitle = "quorate install";

std::string OldFolder(const std::string& dir) { return dir + ".old"; }
std::string MarkPath(const std::string& dir) { return dir + ".install"; }

std::string EncodeMark(const Installation& installation) {
  std::string text = StrCat(kTitle, "\nindex ", installation.index.value(), "\nterm ",
                            installation.term.value(), "\n");
  char crc[16];
  std::snprintf(crc, sizeof(crc), "%08x", Crc32c(0, text));
  return StrCat(text, "crc ", crc, "\n");
}

// "word 12": the number.
std::optional<uint64_t> NumberOf(std::string_view line, std::string_view word) {
  const auto [found, digits] = SplitOnce(line, ' ');
  uint64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, number);
  if (found != word || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return number;
}

absl::StatusOr<Installation> ParseMark(std::string_view text, const std::string& path) {
  const std::vector<std::string_view> lines = StrSplit(text, '\n');
  if (lines.size() > 2) {
    const auto index = NumberOf(lines[1], "index");
    const auto term = NumberOf(lines[2], "term");
    if (index.has_value() && term.has_value()) {
      const Installation installation{LogIndex(*index), Term(*term)};
      if (EncodeMark(installation) == text) return installation;
    }
  }
  return absl::DataLossError(
      StrCat(path,
             ": offset 0: the mark of an installed state is damaged; remove this member's "
             "data directory and let it join anew"));
}

}  // namespace

std::string IncomingFolder(const std::string& dir) { return dir + ".incoming"; }

absl::Status RemoveTree(FileEnv* env, const std::string& path) {
  if (!env->Exists(path)) return absl::OkStatus();
  const absl::StatusOr<std::vector<std::string>> names = env->List(path);
  if (names.ok()) {
    for (const std::string& name : *names) {
      QR_RETURN_IF_ERROR(RemoveTree(env, StrCat(path, "/", name)));
    }
  }
  return env->Remove(path);
}

absl::Status ClearIncoming(FileEnv* env, const std::string& dir) {
  if (env->Exists(MarkPath(dir))) {
    return absl::FailedPreconditionError(
        StrCat(MarkPath(dir), ": an installed state has not been taken over yet"));
  }
  QR_RETURN_IF_ERROR(RemoveTree(env, IncomingFolder(dir)));
  QR_RETURN_IF_ERROR(RemoveTree(env, OldFolder(dir)));
  QR_RETURN_IF_ERROR(RemoveTree(env, MarkPath(dir) + ".tmp"));  // of a mark that was cut short
  return env->SyncDir(FolderOf(dir));
}

absl::Status CommitInstall(FileEnv* env, const std::string& dir, const Installation& installation) {
  return WriteFileAtomically(env, MarkPath(dir), EncodeMark(installation));
}

absl::StatusOr<std::optional<Installation>> FinishSwap(FileEnv* env, const std::string& dir) {
  const std::string folder = FolderOf(dir);
  if (!env->Exists(folder)) return std::optional<Installation>();
  // The mark may have been read from memory alone, after a sync that failed or never came.
  QR_RETURN_IF_ERROR(env->SyncDir(folder));
  if (!env->Exists(MarkPath(dir))) {
    QR_RETURN_IF_ERROR(ClearIncoming(env, dir));
    return std::optional<Installation>();
  }
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFileToString(env, MarkPath(dir)));
  QR_ASSIGN_OR_RETURN(const Installation installation, ParseMark(text, MarkPath(dir)));
  if (env->Exists(IncomingFolder(dir))) {
    // Each move is on disk before the next, so that one of the two states is always in reach.
    if (env->Exists(dir)) {
      QR_RETURN_IF_ERROR(RemoveTree(env, OldFolder(dir)));
      QR_RETURN_IF_ERROR(env->Rename(dir, OldFolder(dir)));
      QR_RETURN_IF_ERROR(env->SyncDir(folder));
    }
    QR_RETURN_IF_ERROR(env->Rename(IncomingFolder(dir), dir));
    QR_RETURN_IF_ERROR(env->SyncDir(folder));
  } else if (!env->Exists(dir)) {
    return absl::DataLossError(StrCat(dir, " and ", IncomingFolder(dir), " are missing, though ",
                                      MarkPath(dir),
                                      " says that a state was installed; remove "
                                      "this member's data directory and let it join anew"));
  }
  return std::optional<Installation>(installation);
}

absl::Status EndInstall(FileEnv* env, const std::string& dir) {
  QR_RETURN_IF_ERROR(RemoveTree(env, MarkPath(dir)));
  QR_RETURN_IF_ERROR(env->SyncDir(FolderOf(dir)));
  return RemoveTree(env, OldFolder(dir));
}

}  // namespace quorate::kv
