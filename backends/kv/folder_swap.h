// Putting a new state in the place of a backend's folder, so that a crash at any moment leaves the
// old state or the new one, whole. For the backend in <dir>:
//   <dir>.incoming   where the new state is written, with a backend of its own
//   <dir>.install    says that it is complete, and of which log entry; from then on it counts
//   <dir>.old        the state before, until the log fits the new one
//
// Steps of the receiver:
//   1. ClearIncoming, open a backend in IncomingFolder(dir), import (state_stream.h), close it
//   2. CommitInstall: the one moment at which the state changes
//   3. close the backend in <dir>; FinishSwap moves the folders; open it anew
//   4. make the log fit (LogStore::Reset), then EndInstall
// A start calls FinishSwap before it opens the backend and, if that answers an installation, does
// step 4 again: every step may be repeated. Bytes of the mark: docs/formats/state-stream.md.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_env.h"
#include "base/ids.h"

namespace quorate::kv {

// The last log entry that an installed state has applied.
struct Installation {
  LogIndex index;
  Term term;
  bool operator==(const Installation&) const = default;
};

std::string IncomingFolder(const std::string& dir);

// Removes what an import that was not committed has left. Not while an installation is under way.
absl::Status ClearIncoming(FileEnv* env, const std::string& dir);
// The incoming folder is complete, synced and closed. Durable when it returns.
absl::Status CommitInstall(FileEnv* env, const std::string& dir, const Installation& installation);
// Moves the folders of a committed installation and answers it; nothing when there is none, and
// then leftovers are removed. The backend must be closed. kDataLoss when the mark is damaged or its
// folder is missing.
absl::StatusOr<std::optional<Installation>> FinishSwap(FileEnv* env, const std::string& dir);
// The log fits: forgets the installation and removes the old state.
absl::Status EndInstall(FileEnv* env, const std::string& dir);

// Removes a folder with all that is in it, or a file; fine when there is none. Not durable.
absl::Status RemoveTree(FileEnv* env, const std::string& path);

}  // namespace quorate::kv
