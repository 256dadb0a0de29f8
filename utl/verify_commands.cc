// verify: looks through everything that a stopped member keeps, or through a snapshot file, and
// names each damaged file with the offset where it is known.

#include <memory>
#include <string>
#include <vector>

#include "backends/log/verify.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/engine.h"
#include "server/data_dir.h"
#include "utl/member_folder.h"
#include "utl/state.h"

namespace quorate::utl {
namespace {

constexpr size_t kProblemsMax = 1000;

struct Findings {
  std::vector<std::string> problems;

  void Take(const absl::Status& status) {
    if (!status.ok()) problems.emplace_back(ToStd(status.message()));
  }
};

// Every pair of every table.
void ReadAll(const kv::KvSnapshot& state, Findings* findings) {
  for (size_t i = 0; i < kv::kTableCount; ++i) {
    findings->Take(state.Scan(static_cast<kv::Table>(i), {}, {}, [](auto, auto) { return true; }));
  }
}

void VerifyFile(const std::string& path, Findings* findings) {
  const auto file = OpenSnapshotFile(path);
  if (!file.ok()) return findings->Take(file.status());
  const std::vector<std::string> problems = (*file)->reader().Check(kProblemsMax);
  findings->problems.insert(findings->problems.end(), problems.begin(), problems.end());
  if ((*file)->stored_digest()) {
    const absl::StatusOr<bbolt::Digest> digest = (*file)->ComputeDigest();
    findings->Take(digest.status());
    if (digest.ok() && *digest != *(*file)->stored_digest()) {
      findings->problems.push_back(StrCat(path, ": offset ",
                                          (*file)->file_bytes() - bbolt::kDigestBytes,
                                          ": the SHA-256 here is not that of what is before it"));
    }
  } else {
    Out(StrCat("note: ", path, " has no SHA-256: changed values would not be seen\n"));
  }
  if (findings->problems.empty()) findings->Take(FindRevisions(**file).status());
}

// That a server would start from it: each record can be read and fits the others.
absl::Status RebuildEngine(MemberFolder* folder, const kv::KvBackend* backend,
                           const log::LogStore* log) {
  engine::EngineOptions options;
  options.allocator = folder->allocator();
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Engine> engine,
                      engine::Engine::Open(options, backend, [](uint64_t) {}));
  if (log == nullptr) return absl::OkStatus();
  return server::EntriesAfter(*log, engine->applied_index()).status();
}

void VerifyMember(MemberFolder* folder, Findings* findings) {
  const absl::StatusOr<log::LogReport> log_report = log::VerifyLog(folder->log_options());
  findings->Take(log_report.status());
  if (log_report.ok()) {
    findings->problems.insert(findings->problems.end(), log_report->problems.begin(),
                              log_report->problems.end());
    for (const std::string& note : log_report->notes) Out(StrCat("note: ", note, "\n"));
    Out(StrCat("log: ", log_report->segments, " segments, ", log_report->records, " records\n"));
  }
  const absl::StatusOr<std::vector<std::string>> damage = folder->FindBackendDamage();
  if (!damage.ok()) return findings->Take(damage.status());
  findings->problems.insert(findings->problems.end(), damage->begin(), damage->end());
  if (!damage->empty()) return;
  absl::StatusOr<std::unique_ptr<kv::KvBackend>> backend = folder->OpenBackend();
  if (!backend.ok()) return findings->Take(backend.status());
  // The files are sound; whether records behind right checksums are, only a reader of them tells.
  const absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> state = (*backend)->NewSnapshot();
  if (!state.ok()) return findings->Take(state.status());
  const size_t before = findings->problems.size();
  ReadAll(**state, findings);
  if (findings->problems.size() > before) return;
  const auto log = folder->OpenLog();
  findings->Take(RebuildEngine(folder, backend->get(), log.ok() ? log->get() : nullptr));
  Out(StrCat("backend: ", folder->backend_name(), "\n"));
}

int Verify(const Invocation& invocation) {
  Findings findings;
  for (const std::string& path : invocation.words) VerifyFile(path, &findings);
  if (!invocation.values.GetString("data-dir").empty()) {
    const auto folder = MemberFolder::Open(invocation);
    if (!folder.ok()) return Fail(folder.status());
    VerifyMember(folder->get(), &findings);
  } else if (invocation.words.empty()) {
    return Fail(kExitError, "required flag(s) \"data-dir\" not set");
  }
  if (findings.problems.empty()) {
    Out("no damage found\n");
    return kExitOk;
  }
  for (const std::string& problem : findings.problems) Out(StrCat("damaged: ", problem, "\n"));
  return Fail(kExitError, StrCat(findings.problems.size(), " problems found"));
}

}  // namespace

std::vector<Command> VerifyCommands() {
  return {{"verify",
           "<filename>... | --data-dir {dir}",
           "Names every damaged place in a data directory or in snapshot files",
           MemberFolder::Flags(),
           {},
           Verify}};
}

}  // namespace quorate::utl
