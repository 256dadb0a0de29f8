// Taking over a state that a leader sent: backend and log on one disk, the power going at every
// single operation. They always fit each other afterwards.
#include "server/data_dir.h"

#include <catch2/catch.hpp>

#include "backends/kv/cut_off_env.h"
#include "backends/kv/folder_swap.h"
#include "backends/kv/state_stream.h"
#include "base/fault_file_env.h"
#include "base/status_util.h"
#include "base/test_seed.h"

namespace quorate::server {
namespace {

constexpr char kBackendDir[] = "/data/member/backend";
constexpr log::LogIdentity kIdentity{MemberId(0xa1), ClusterId(0xc1)};
constexpr kv::Installation kInstalled{LogIndex(900), Term(4)};

absl::StatusOr<std::unique_ptr<kv::KvBackend>> OpenBackend(FileEnv* env, const std::string& dir) {
  kv::KvOptions options;
  options.dir = dir;
  options.env = env;
  return kv::OpenKvBackend("memory", options);
}

absl::StatusOr<std::unique_ptr<log::LogStore>> OpenLog(FileEnv* env) {
  log::LogOptions options;
  options.dir = "/data/member/log";
  options.env = env;
  options.segment_bytes = 16'000;
  absl::StatusOr<std::unique_ptr<log::LogStore>> log = log::OpenSegmentedLog(options);
  return absl::IsNotFound(log.status()) ? log::CreateSegmentedLog(options, kIdentity)
                                        : std::move(log);
}

absl::Status Put(kv::KvBackend& backend, std::string_view value) {
  const kv::WriteOp op{kv::WriteOp::Kind::kPut, kv::Table::kMeta, "applied", value};
  QR_RETURN_IF_ERROR(backend.Write({&op, 1}));
  return backend.Sync();
}

std::string Applied(FileEnv* env) {
  const auto backend = OpenBackend(env, kBackendDir);
  REQUIRE(backend.ok());
  std::string applied;
  const std::string_view key = "applied";
  REQUIRE((*backend)
              ->Read(kv::Table::kMeta, {&key, 1},
                     [&](size_t, std::optional<std::string_view> value) {
                       applied = std::string(value.value_or("nothing"));
                     })
              .ok());
  return applied;
}

// A member with twenty committed entries, all applied.
absl::Status MakeMember(FileEnv* env) {
  QR_RETURN_IF_ERROR(env->MakeDirs("/data/member"));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<log::LogStore> log, OpenLog(env));
  for (uint64_t i = 1; i <= 20; ++i) {
    const Entry entry{Term(1), LogIndex(i), EntryType::kNormal,
                      Bytes::FromString(std::string(500, 'v'))};
    const HardState state{Term(1), MemberId(3), LogIndex(i)};
    QR_RETURN_IF_ERROR(log->Append({&entry, 1}, &state));
  }
  QR_RETURN_IF_ERROR(log->Sync());
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> backend, OpenBackend(env, kBackendDir));
  return Put(*backend, "20");
}

absl::Status Install(FileEnv* env) {
  QR_RETURN_IF_ERROR(kv::ClearIncoming(env, kBackendDir));
  {
    QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvBackend> incoming,
                        OpenBackend(env, kv::IncomingFolder(kBackendDir)));
    QR_RETURN_IF_ERROR(Put(*incoming, "900"));
  }
  QR_RETURN_IF_ERROR(kv::CommitInstall(env, kBackendDir, kInstalled));
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<log::LogStore> log, OpenLog(env));
  QR_RETURN_IF_ERROR(FinishInstall(env, kBackendDir, log.get()));
  const Entry next{Term(4), LogIndex(901), EntryType::kNormal, Bytes::FromString("next")};
  QR_RETURN_IF_ERROR(log->Append({&next, 1}, nullptr));
  return log->Sync();
}

TEST_CASE("log and backend fit each other after a power loss at any step of an installation",
          "[data-dir]") {
  Random random(TestSeed());
  bool reached_end = false;
  size_t old_states = 0;
  size_t new_states = 0;
  for (uint64_t cut = 0; !reached_end; ++cut) {
    INFO("cut after " << cut);
    REQUIRE(cut < 1000);
    FaultFileEnv disk;
    REQUIRE(MakeMember(&disk).ok());
    kv::CutOffEnv env(&disk);
    env.CutAfter(cut);
    reached_end = Install(&env).ok();
    disk.Crash(random);
    for (uint64_t life = random.Below(3); life > 0; --life) {  // cut short as well
      env.CutAfter(random.Below(25));
      const auto log = OpenLog(&env);
      if (log.ok()) FinishInstall(&env, kBackendDir, log->get()).IgnoreError();
      disk.Crash(random);
    }
    const auto log = OpenLog(&disk);
    INFO(log.status().ToString());
    REQUIRE(log.ok());
    const absl::Status finished = FinishInstall(&disk, kBackendDir, log->get());
    INFO(finished.ToString());
    REQUIRE(finished.ok());
    REQUIRE((*log)->identity() == kIdentity);
    if (Applied(&disk) == "20") {
      REQUIRE((*log)->last_index() == LogIndex(20));
      REQUIRE((*log)->first_index() == LogIndex(1));
      REQUIRE((*log)->hard_state() == HardState{Term(1), MemberId(3), LogIndex(20)});
      ++old_states;
    } else {
      REQUIRE(Applied(&disk) == "900");
      REQUIRE((*log)->first_index() == LogIndex(901));
      REQUIRE((*log)->TermAt(LogIndex(900)) == Term(4));
      REQUIRE((*log)->hard_state() == HardState{Term(4), MemberId(0), LogIndex(900)});
      if (reached_end) REQUIRE((*log)->last_index() == LogIndex(901));
      ++new_states;
    }
  }
  CHECK(old_states > 5);
  CHECK(new_states > 5);
}

}  // namespace
}  // namespace quorate::server
