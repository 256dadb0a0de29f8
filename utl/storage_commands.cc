// defrag, migrate: on the data directory of a member that is not running.

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "ctl/text_forms.h"
#include "utl/member_folder.h"
#include "utl/state.h"

namespace quorate::utl {
namespace {

using Type = OptionSpec::Type;

constexpr std::string_view kStorageVersion = "storageVersion";

absl::Status DefragFolder(const Invocation& invocation) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<MemberFolder> folder, MemberFolder::Open(invocation));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> backend, folder->OpenBackend());
  const SystemClock clock;
  const int64_t start_ns = clock.MonotonicNs();
  const kv::KvSizes before = backend->Sizes();
  LogInfo("defragmenting", {{"path", folder->backend_dir()},
                            {"current-db-size-bytes", before.on_disk},
                            {"current-db-size", ctl::HumanBytes(before.on_disk)},
                            {"current-db-size-in-use-bytes", before.in_use},
                            {"current-db-size-in-use", ctl::HumanBytes(before.in_use)}});
  QR_RETURN_IF_ERROR(kv::ReclaimAll(*backend));
  QR_RETURN_IF_ERROR(backend->Sync());
  const kv::KvSizes after = backend->Sizes();
  LogInfo("finished defragmenting directory",
          {{"path", folder->backend_dir()},
           {"current-db-size-bytes-diff",
            static_cast<int64_t>(after.on_disk) - static_cast<int64_t>(before.on_disk)},
           {"current-db-size-bytes", after.on_disk},
           {"current-db-size", ctl::HumanBytes(after.on_disk)},
           {"current-db-size-in-use-bytes", after.in_use},
           {"took", FormatGoDuration(clock.MonotonicNs() - start_ns)}});
  return absl::OkStatus();
}

int Defrag(const Invocation& invocation) {
  const absl::Status status = DefragFolder(invocation);
  if (status.ok()) return kExitOk;
  return Fail(kExitError,
              StrCat("Failed to defragment etcd data[", invocation.values.GetString("data-dir"),
                     "] (", ToStd(status.message()), ")"));
}

struct MinorVersion {
  int major = 0, minor = 0;
  auto operator<=>(const MinorVersion&) const = default;
};
constexpr MinorVersion kOldest{3, 5}, kNewest{3, 7};

// "3.6", also out of "3.6.0"; nullopt for anything else.
std::optional<MinorVersion> ParseVersion(std::string_view text) {
  const std::vector<std::string_view> parts = StrSplit(text, '.');
  if (parts.size() < 2) return std::nullopt;
  MinorVersion version;
  for (const auto& [part, number] :
       {std::pair(parts[0], &version.major), std::pair(parts[1], &version.minor)}) {
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), *number);
    if (error != std::errc() || end != part.data() + part.size()) return std::nullopt;
  }
  return version;
}

std::string TextOf(const MinorVersion& version) {
  return StrCat(version.major, ".", version.minor);
}

// The state is the same for all versions that are known here; what changes is what it says of
// itself, and thereby which etcd takes a snapshot of it.
absl::Status MigrateFolder(const Invocation& invocation, const MinorVersion& target) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<MemberFolder> folder, MemberFolder::Open(invocation));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> backend, folder->OpenBackend());
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvSnapshot> state, backend->NewSnapshot());
  QR_ASSIGN_OR_RETURN(const std::optional<std::string> stored, FindMeta(*state, kStorageVersion));
  const std::optional<MinorVersion> current = stored ? ParseVersion(*stored) : kNewest;
  if (current == target) {
    LogInfo("storage version up-to-date", {{"storage-version", TextOf(target)}});
    return absl::OkStatus();
  }
  const bool force = invocation.values.GetBool("force");
  if (target > kNewest && !force) {
    return absl::InvalidArgumentError(StrCat("cannot create migration plan: version \"",
                                             kNewest.major, ".", kNewest.minor + 1,
                                             ".0\" is not supported"));
  }
  const std::string text = TextOf(target) + ".0";
  const kv::WriteOp op{kv::WriteOp::Kind::kPut, kv::Table::kMeta, kStorageVersion, text};
  QR_RETURN_IF_ERROR(backend->Write({&op, 1}));
  QR_RETURN_IF_ERROR(backend->Sync());
  LogInfo("updated storage version", {{"new-storage-version", text}});
  return absl::OkStatus();
}

int Migrate(const Invocation& invocation) {
  const std::string& text = invocation.values.GetString("target-version");
  const std::optional<MinorVersion> target = ParseVersion(text);
  if (!target || StrSplit(text, '.').size() != 2) {
    return Fail(kExitError,
                StrCat("wrong target version format, expected \"X.Y\", got \"", text, "\""));
  }
  if (*target < kOldest) {
    return Fail(kExitError, StrCat("target version \"", text, "\" not supported. Minimal \"",
                                   TextOf(kOldest), "\""));
  }
  const absl::Status status = MigrateFolder(invocation, *target);
  return status.ok() ? kExitOk : Fail(status);
}

std::vector<OptionSpec> MigrateFlags() {
  std::vector<OptionSpec> flags = MemberFolder::Flags();
  flags.push_back({"target-version", Type::kString, "",
                   "Version that the state shall be of: \"X.Y\", 3.5 to 3.7.", "Flags"});
  flags.push_back({"force", Type::kBool, "false",
                   "Writes a version that is not known here. Not recommended.", "Flags"});
  return flags;
}

}  // namespace

std::vector<Command> StorageCommands() {
  return {
      {"defrag",
       "--data-dir {dir}",
       "Gives space back that deleted data took",
       MemberFolder::Flags(),
       {"data-dir"},
       Defrag},
      {"migrate",
       "--data-dir {dir} --target-version {X.Y}",
       "Sets the version of etcd whose storage the data is",
       MigrateFlags(),
       {"data-dir", "target-version"},
       Migrate},
  };
}

}  // namespace quorate::utl
