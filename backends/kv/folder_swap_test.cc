// Installing a state in the place of another, with the power going at every single operation.
#include "backends/kv/folder_swap.h"

#include "backends/kv/cut_off_env.h"
#include "backends/kv/kv_test_util.h"
#include "backends/kv/state_stream.h"
#include "base/fault_file_env.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr char kDir[] = "/data/member/backend";
constexpr Installation kInstalled{LogIndex(48211), Term(7)};

absl::StatusOr<std::unique_ptr<KvBackend>> Open(FileEnv* env, const std::string& dir) {
  KvOptions options;
  options.dir = dir;
  options.env = env;
  return OpenKvBackend("memory", options);
}

// The whole way of a member that takes a state: what server and log do around it is left out.
absl::Status Install(FileEnv* env, const std::string& stream) {
  absl::Status status = ClearIncoming(env, kDir);
  if (!status.ok()) return status;
  {
    auto incoming = Open(env, IncomingFolder(kDir));
    if (!incoming.ok()) return incoming.status();
    StateImporter importer(incoming->get());
    for (size_t at = 0; at < stream.size() && status.ok(); at += 10'000) {
      status = importer.Take(std::string_view(stream).substr(at, 10'000));
    }
    if (status.ok()) status = importer.Finish();
    if (!status.ok()) return status;
  }
  status = CommitInstall(env, kDir, kInstalled);
  if (!status.ok()) return status;
  const auto swapped = FinishSwap(env, kDir);
  if (!swapped.ok()) return swapped.status();
  if (*swapped != kInstalled) return absl::InternalError("another installation");
  return EndInstall(env, kDir);
}

std::string StreamOf(const KvBackend& backend) {
  StateExporter exporter(MustSnapshot(backend));
  std::string stream;
  while (true) {
    const auto next = exporter.Read(1 << 20);
    REQUIRE_OK(next.status());
    if (next->empty()) return stream;
    stream.append(*next);
  }
}

Model Filled(KvBackend& backend, Random& random, int batches) {
  BatchSource source(random);
  for (int i = 0; i < batches; ++i) REQUIRE_OK(WriteOps(backend, source.Next(20)));
  REQUIRE_OK(backend.Sync());
  return ReadModel(backend);
}

TEST_CASE("a power loss at any step of an installation leaves one state or the other",
          "[swap][crash]") {
  Random random(TestSeed() + 50);
  FaultFileEnv elsewhere;
  auto leader = Open(&elsewhere, "/leader");
  REQUIRE_OK(leader.status());
  const Model fresh = Filled(**leader, random, 12);
  const std::string stream = StreamOf(**leader);
  bool reached_end = false;
  size_t finished_later = 0;
  for (uint64_t cut = 0; !reached_end; ++cut) {
    REQUIRE(cut < 1000);
    FaultFileEnv disk;
    REQUIRE_OK(disk.MakeDirs("/data/member"));
    Model old;
    {
      auto backend = Open(&disk, kDir);
      REQUIRE_OK(backend.status());
      old = Filled(**backend, random, 8);
    }
    CutOffEnv env(&disk);
    env.CutAfter(cut);
    const absl::Status status = Install(&env, stream);
    REQUIRE((status.ok() || env.cut()));
    reached_end = status.ok();
    disk.Crash(random);
    // The next start; its own power may go as well.
    for (int more = static_cast<int>(random.Below(3)); more > 0; --more) {
      env.CutAfter(random.Below(8));
      FinishSwap(&env, kDir).status().IgnoreError();
      disk.Crash(random);
    }
    const auto swapped = FinishSwap(&disk, kDir);
    INFO("cut after " << cut);
    REQUIRE_OK(swapped.status());
    auto backend = Open(&disk, kDir);
    REQUIRE_OK(backend.status());
    if (swapped->has_value()) {
      ++finished_later;
      CHECK(**swapped == kInstalled);
      CHECK(ReadModel(**backend) == fresh);
      REQUIRE_OK(EndInstall(&disk, kDir));
    } else if (reached_end) {
      CHECK(ReadModel(**backend) == fresh);
    } else {
      // Before the mark was there, or after it had gone again.
      const Model found = ReadModel(**backend);
      CHECK((found == old || found == fresh));
    }
    const auto names = disk.List("/data/member");
    REQUIRE_OK(names.status());
    CHECK(*names == std::vector<std::string>{"backend"});
  }
  CHECK(finished_later > 3);
}

TEST_CASE("what was not committed is thrown away, also when the backend is another one", "[swap]") {
  TempDir folder;
  KvOptions options;
  options.dir = folder.path() + "/backend";
  const std::string name = AnyBackend();
  FileEnv* files = PosixFileEnv();
  REQUIRE_OK(WriteOps(*MustOpen(name, options), {PutOp(Table::kKey, "a", "old")}));
  KvOptions incoming = options;
  incoming.dir = IncomingFolder(options.dir);
  const auto receive = [&] {
    auto backend = MustOpen(name, incoming);
    REQUIRE_OK(WriteOps(*backend, {PutOp(Table::kKey, "a", "new")}));
    REQUIRE_OK(backend->Sync());
  };
  receive();
  const auto nothing = FinishSwap(files, options.dir);
  REQUIRE_OK(nothing.status());
  CHECK(!nothing->has_value());
  CHECK(!files->Exists(incoming.dir));
  receive();
  REQUIRE_OK(CommitInstall(files, options.dir, kInstalled));
  CHECK(absl::IsFailedPrecondition(ClearIncoming(files, options.dir)));
  for (int i = 0; i < 2; ++i) {  // a second time changes nothing
    const auto swapped = FinishSwap(files, options.dir);
    REQUIRE_OK(swapped.status());
    CHECK(*swapped == kInstalled);
    CHECK(ReadOne(*MustOpen(name, options), Table::kKey, "a") == "new");
  }
  REQUIRE_OK(EndInstall(files, options.dir));
  CHECK(!files->Exists(options.dir + ".old"));
  CHECK(ReadOne(*MustOpen(name, options), Table::kKey, "a") == "new");
}

TEST_CASE("a damaged mark of an installation is named", "[swap][damage]") {
  FaultFileEnv disk;
  REQUIRE_OK(disk.MakeDirs("/data/member/backend"));
  REQUIRE_OK(CommitInstall(&disk, kDir, kInstalled));
  const std::string mark = StrCat(kDir, ".install");
  const auto content = ReadFileToString(&disk, mark);
  REQUIRE_OK(content.status());
  for (uint64_t offset = 0; offset < content->size(); ++offset) {
    REQUIRE_OK(disk.FlipBit(mark, offset, 2));
    const absl::Status status = FinishSwap(&disk, kDir).status();
    CHECK(absl::IsDataLoss(status));
    CHECK(std::string(status.message()).find(mark) != std::string::npos);
    REQUIRE_OK(disk.FlipBit(mark, offset, 2));
  }
  REQUIRE_OK(disk.Remove("/data/member/backend"));
  const absl::Status status = FinishSwap(&disk, kDir).status();
  CHECK(absl::IsDataLoss(status));
  CHECK(std::string(status.message()).find("missing") != std::string::npos);
}

}  // namespace
}  // namespace quorate::kv
