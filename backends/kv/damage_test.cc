// Folders that are not what they should be: of another backend, of a later version, of nobody,
// damaged. (Damage of the memory backend's files: memory_crash_test.cc.)
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "backends/kv/kv_test_util.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

std::string ReadFile(const std::string& path) {
  auto content = ReadFileToString(PosixFileEnv(), path);
  REQUIRE_OK(content.status());
  return *content;
}

void WriteFile(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary).write(content.data(), content.size());
}

std::string Message(const absl::Status& status) { return std::string(ToStd(status.message())); }

// The only file below `dir` whose name ends so; the largest when there are more.
std::string FindFile(const std::string& dir, std::string_view ending) {
  std::string found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_regular_file() || !entry.path().string().ends_with(ending)) continue;
    if (!found.empty() && entry.file_size() <= std::filesystem::file_size(found)) continue;
    found = entry.path();
  }
  REQUIRE(!found.empty());
  return found;
}

void FillWithRecords(TestStore& store) {
  for (int batch = 0; batch < 10; ++batch) {
    std::vector<OwnedOp> ops;
    for (int i = 0; i < 100; ++i) {
      ops.push_back(PutOp(Table::kKey, BatchSource::Key(batch * 100 + i), std::string(300, 'v')));
    }
    ops.push_back(PutOp(Table::kKey, BatchSource::Key(5000 + batch), std::string(9000, 'L')));
    REQUIRE_OK(WriteOps(*store, ops));
  }
  REQUIRE_OK(store->Sync());
  store.Close();
}

// Opens and reads all, as the server does at start.
absl::Status OpenAndScan(const TestStore& store) {
  auto backend = OpenKvBackend(store.name(), store.options());
  if (!backend.ok()) return backend.status();
  auto snapshot = (*backend)->NewSnapshot();
  if (!snapshot.ok()) return snapshot.status();
  return (*snapshot)->Scan(Table::kKey, {}, {},
                           [](std::string_view, std::string_view) { return true; });
}

TEST_CASE("a folder of another backend is refused with the way out", "[folder]") {
  TestStore store(AnyBackend());
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "a", "1")}));
  REQUIRE_OK(store->Sync());
  store.Close();
  for (const KvBackendRow& row : KvBackendRegistry()) {
    if (row.traits.name == store.name()) continue;
    const absl::Status status = OpenKvBackend(row.traits.name, store.options()).status();
    CHECK(absl::IsFailedPrecondition(status));
    CHECK(Message(status).find(StrCat("--backend=", store.name())) != std::string::npos);
    CHECK(Message(status).find(store.options().dir) != std::string::npos);
  }
  store.Reopen();
  CHECK(ReadOne(*store, Table::kKey, "a") == "1");
}

TEST_CASE("a folder of a newer format is refused, a broken marker is damage", "[folder]") {
  TestStore store(AnyBackend());
  store.Close();
  const std::string marker = store.options().dir + "/BACKEND";
  const std::string good = ReadFile(marker);
  CHECK(good == store.name() + " 1\n");
  WriteFile(marker, store.name() + " 2\n");
  absl::Status status = OpenKvBackend(store.name(), store.options()).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status).find("newer program") != std::string::npos);
  for (const std::string& broken : {std::string(), store.name(), store.name() + " one\n"}) {
    WriteFile(marker, broken);
    status = OpenKvBackend(store.name(), store.options()).status();
    CHECK(absl::IsDataLoss(status));
    CHECK(Message(status).find(marker) != std::string::npos);
  }
  WriteFile(marker, good);
  store.Reopen();
}

TEST_CASE("a folder with other files is not taken over", "[folder]") {
  TestStore store(AnyBackend());
  store.Close();
  std::filesystem::remove(store.options().dir + "/BACKEND");
  const absl::Status status = OpenKvBackend(store.name(), store.options()).status();
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(Message(status).find("BACKEND") != std::string::npos);
  // An attempt that was cut short while it made the marker is no obstacle.
  std::filesystem::remove_all(store.options().dir);
  std::filesystem::create_directories(store.options().dir);
  WriteFile(store.options().dir + "/BACKEND.tmp", "mem");
  store.Reopen();
}

TEST_CASE("a folder is open in one place at a time", "[folder]") {
  TestStore store(AnyBackend());
  const absl::Status status = OpenKvBackend(store.name(), store.options()).status();
  CHECK(absl::IsUnavailable(status));
  CHECK(Message(status).find("LOCK") != std::string::npos);
  store.Reopen();
}

TEST_CASE("lmdb: an inverted bit in a record is found and named with file and offset", "[damage]") {
  TestStore store("lmdb");
  FillWithRecords(store);
  const std::string path = FindFile(store.options().dir, "data.mdb");
  const std::string good = ReadFile(path);
  Random random(TestSeed() + 30);
  for (const char kind : {'v', 'L'}) {
    for (int i = 0; i < 40; ++i) {
      // Within a run of value bytes.
      size_t offset = random.Below(good.size());
      offset = good.find(std::string(50, kind), offset);
      if (offset == std::string::npos) offset = good.find(std::string(50, kind));
      offset += random.Below(50);
      std::string bad = good;
      bad[offset] = static_cast<char>(bad[offset] ^ (1 << random.Below(8)));
      WriteFile(path, bad);
      const absl::Status status = OpenAndScan(store);
      INFO(offset << ": " << Message(status));
      // Pages that are free now may hold old records.
      if (status.ok()) continue;
      REQUIRE(absl::IsDataLoss(status));
      REQUIRE(Message(status).find(path) != std::string::npos);
      const size_t at = Message(status).find("offset ");
      REQUIRE(at != std::string::npos);
      const uint64_t named = std::stoull(Message(status).substr(at + 7));
      REQUIRE(named <= offset);
      REQUIRE(offset < named + 9100);
    }
  }
  WriteFile(path, good);
  CHECK(OpenAndScan(store).ok());
}

TEST_CASE("lmdb: damaged meta pages and a file cut short are found", "[damage]") {
  TestStore store("lmdb");
  FillWithRecords(store);
  const std::string path = FindFile(store.options().dir, "data.mdb");
  const std::string good = ReadFile(path);
  std::string bad = good;
  for (const size_t page : {0, 1}) bad[page * 4096 + 16] = 'x';  // the magic number
  WriteFile(path, bad);
  absl::Status status = OpenKvBackend("lmdb", store.options()).status();
  INFO(Message(status));
  CHECK(absl::IsDataLoss(status));
  CHECK(Message(status).find(path) != std::string::npos);

  for (const size_t size : {good.size() / 2, good.size() - 4096 * 3}) {
    WriteFile(path, std::string_view(good).substr(0, size));
    status = OpenKvBackend("lmdb", store.options()).status();
    INFO(Message(status));
    CHECK(absl::IsDataLoss(status));
    CHECK(Message(status).find(StrCat(path, " at offset ", size)) != std::string::npos);
  }
}

TEST_CASE("lmdb: a bound of the map that is too small is a clear error", "[folder]") {
  TempDir folder;
  KvOptions options;
  options.dir = folder.path() + "/kv";
  options.map_bytes_max = 1 << 20;
  auto backend = MustOpen("lmdb", options);
  std::vector<OwnedOp> ops;
  for (int i = 0; i < 4000; ++i) {
    ops.push_back(PutOp(Table::kKey, BatchSource::Key(i), std::string(300, 'v')));
  }
  absl::Status status = WriteOps(*backend, ops);
  if (status.ok()) status = backend->Sync();
  CHECK(absl::IsResourceExhausted(status));
  CHECK(Message(status).find("map") != std::string::npos);
  // Final, as for every failed write; what was there before still is.
  CHECK(!backend->Sync().ok());
  backend.reset();
  options.map_bytes_max = 64 << 20;
  backend = MustOpen("lmdb", options);
  REQUIRE_OK(WriteOps(*backend, ops));
  REQUIRE_OK(backend->Sync());
}

TEST_CASE("rocksdb: an inverted bit in a table is found and named with file and offset",
          "[damage]") {
  TestStore store("rocksdb");
  FillWithRecords(store);
  Random random(TestSeed() + 31);
  const std::string path = FindFile(store.options().dir, ".sst");
  const std::string good = ReadFile(path);
  for (int i = 0; i < 12; ++i) {
    size_t offset = good.find(std::string(50, 'v'), random.Below(good.size()));
    if (offset == std::string::npos) offset = good.find(std::string(50, 'v'));
    std::string bad = good;
    bad[offset] = static_cast<char>(bad[offset] ^ (1 << random.Below(8)));
    WriteFile(path, bad);
    const absl::Status status = OpenAndScan(store);
    INFO(offset << ": " << Message(status));
    REQUIRE(absl::IsDataLoss(status));
    REQUIRE(Message(status).find(path) != std::string::npos);
    REQUIRE(Message(status).find("offset") != std::string::npos);
  }
  WriteFile(path, good);
  CHECK(OpenAndScan(store).ok());
}

TEST_CASE("rocksdb: missing and cut files are damage", "[damage]") {
  TestStore store("rocksdb");
  FillWithRecords(store);
  const std::string ending = GENERATE("CURRENT", ".sst", "MANIFEST-");
  std::string path;
  if (ending == "MANIFEST-") {
    const std::string current = ReadFile(store.options().dir + "/db/CURRENT");
    path = store.options().dir + "/db/" + current.substr(0, current.size() - 1);
  } else {
    path = FindFile(store.options().dir, ending);
  }
  const std::string good = ReadFile(path);
  std::filesystem::remove(path);
  absl::Status status = OpenAndScan(store);
  INFO(Message(status));
  CHECK(absl::IsDataLoss(status));
  // RocksDB tells a missing 000008.sst as 000008.ldb, the older name for the same.
  CHECK(Message(status).find(std::filesystem::path(path).stem().string()) != std::string::npos);
  if (ending == ".sst") {
    WriteFile(path, std::string_view(good).substr(0, good.size() / 2));
    status = OpenAndScan(store);
    INFO(Message(status));
    CHECK(absl::IsDataLoss(status));
  }
  WriteFile(path, good);
  CHECK(OpenAndScan(store).ok());
}

// Inverts a bit of the first value in a file, or of the last one.
void DamageValue(const std::string& path, bool last) {
  std::string content = ReadFile(path);
  const std::string value(50, 'v');
  const size_t offset = last ? content.rfind(value) : content.find(value);
  REQUIRE(offset != std::string::npos);
  content[offset] ^= 4;
  WriteFile(path, content);
}

TEST_CASE("all damaged places are found at once, also where the backend cannot be opened any more",
          "[damage]") {
  TestStore store(AnyBackend());
  FillWithRecords(store);
  store.Reopen();
  REQUIRE_OK(ReclaimAll(*store));
  for (int i = 0; i < 300; ++i) {
    REQUIRE_OK(
        WriteOps(*store, {PutOp(Table::kLease, BatchSource::Key(i), std::string(300, 'v'))}));
  }
  REQUIRE_OK(store->Sync());
  store.Close();
  const auto found = [&store] {
    const auto damage = FindKvDamage(store.name(), store.options());
    REQUIRE_OK(damage.status());
    return *damage;
  };
  REQUIRE(found().empty());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store.options().dir)) {
    if (!entry.is_regular_file()) continue;
    const std::string path = entry.path();
    if (ReadFile(path).find(std::string(50, 'v')) != std::string::npos) files.push_back(path);
  }
  REQUIRE(files.size() == (store.name() == "lmdb" ? 1 : 2));
  for (const std::string& path : files) DamageValue(path, false);
  if (store.name() == "lmdb") DamageValue(files[0], true);
  std::vector<std::string> told = found();
  REQUIRE(told.size() == 2);
  REQUIRE(told[0] != told[1]);
  for (const std::string& path : files) {
    const auto names_it = [&path](const std::string& text) {
      return text.find(path) != std::string::npos && text.find("offset") != std::string::npos;
    };
    CHECK(std::any_of(told.begin(), told.end(), names_it));
  }
  if (store.name() != "rocksdb") return;
  const std::string current = ReadFile(store.options().dir + "/db/CURRENT");
  std::filesystem::remove(store.options().dir + "/db/" + current.substr(0, current.size() - 1));
  told = found();
  REQUIRE(told.size() == 3);
  CHECK(told[2].find("MANIFEST") != std::string::npos);
}

}  // namespace
}  // namespace quorate::kv
