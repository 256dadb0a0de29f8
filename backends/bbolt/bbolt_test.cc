// What is written is read back, from trees of every shape; the file is sound and says what it is.
#include "backends/bbolt/bbolt_test_util.h"
#include "base/crc32c.h"
#include "base/test_seed.h"

namespace quorate::bbolt {
namespace {

void CheckRoundTrip(const State& state, uint64_t step_bytes) {
  const TempDir folder;
  const std::string path = folder.path() + "/snapshot.db";
  WriteSnapshotFile(path, state, step_bytes);
  const auto file = MustOpen(path);
  CHECK(file->reader().buckets().size() == kv::kTableCount);
  CHECK(ContentOf(*file) == state);
  CHECK(file->reader().Check(100) == std::vector<std::string>());
  REQUIRE(file->stored_digest().has_value());
  CHECK(file->ComputeDigest().value() == *file->stored_digest());
  CHECK(file->reader().bytes() + kDigestBytes == file->file_bytes());
}

TEST_CASE("states of many shapes come back as they were written") {
  Random random(TestSeed());
  const size_t records = GENERATE(0, 1, 2, 3, 12, 130, 1000, 20000);
  const size_t value_bytes_max = GENERATE(0, 40, 4000, 9000);
  if (records * value_bytes_max > 20'000'000) return;
  CAPTURE(records, value_bytes_max);
  CheckRoundTrip(RandomState(random, records, value_bytes_max), 1 + random.Below(1 << 20));
}

TEST_CASE("a value of several megabytes and keys of the largest size have pages of their own") {
  Random random(TestSeed());
  State state = RandomState(random, 10, 100);
  state[kv::Table::kKey][RevisionKeyOf(5)] = RandomBytes(random, 3'000'000);
  for (int i = 0; i < 9; ++i) {
    state[kv::Table::kAuthUsers][RandomBytes(random, kKeyBytesMax)] = "user";
  }
  CheckRoundTrip(state, 1 << 20);
}

TEST_CASE("a state of one byte a step is the same file as one written at once") {
  Random random(TestSeed());
  const State state = RandomState(random, 300, 200);
  const TempDir folder;
  WriteSnapshotFile(folder.path() + "/a", state, 1);
  WriteSnapshotFile(folder.path() + "/b", state, UINT32_MAX);
  CHECK(*ReadFileToString(PosixFileEnv(), folder.path() + "/a") ==
        *ReadFileToString(PosixFileEnv(), folder.path() + "/b"));
}

TEST_CASE("a scan begins and ends where it is told and at the visitor's word") {
  Random random(TestSeed());
  const State state = RandomState(random, 5000, 60);
  const Pairs& pairs = state.at(kv::Table::kKey);
  const TempDir folder;
  WriteSnapshotFile(folder.path() + "/s", state, 1 << 20);
  const auto file = MustOpen(folder.path() + "/s");
  for (int round = 0; round < 300; ++round) {
    const std::string begin = RevisionKeyOf(random.Below(15010));
    const std::string end = random.Below(4) == 0 ? "" : RevisionKeyOf(random.Below(15010));
    const size_t most = random.Below(3) == 0 ? random.Below(200) + 1 : SIZE_MAX;
    Pairs expected, seen;
    for (auto it = pairs.lower_bound(begin); it != pairs.end() && expected.size() < most; ++it) {
      if (!end.empty() && it->first >= end) break;
      expected.insert(*it);
    }
    REQUIRE_OK(
        file->Scan(kv::Table::kKey, begin, end, [&](std::string_view key, std::string_view value) {
          seen.emplace(key, value);
          return seen.size() < most;
        }));
    REQUIRE(seen == expected);
  }
}

TEST_CASE("a state that says no storage version gets one, and keeps one that it says") {
  const TempDir folder;
  const std::string stored = GENERATE("", "3.6.0");
  State state;
  state[kv::Table::kMeta] = {{"confState", "{}"}, {"term", "x"}};
  if (!stored.empty()) state[kv::Table::kMeta]["storageVersion"] = stored;
  WriteSnapshotFile(folder.path() + "/s", state, 1 << 20);
  State expected = state;
  expected[kv::Table::kMeta].emplace("storageVersion", "3.7.0");
  const auto file = MustOpen(folder.path() + "/s");
  CHECK(ContentOf(*file) == expected);
  CHECK(StorageVersionOf(StateSnapshot(state), "3.7.0").value() ==
        expected[kv::Table::kMeta]["storageVersion"]);
}

TEST_CASE("the summary is etcdutl's: a checksum over all names, keys and values") {
  Random random(TestSeed());
  const State state = RandomState(random, 700, 100);
  const TempDir folder;
  WriteSnapshotFile(folder.path() + "/s", state, 1 << 20);
  uint32_t hash = 0;
  for (size_t i = 0; i < kv::kTableCount; ++i) {
    const auto table = static_cast<kv::Table>(i);
    hash = Crc32c(hash, TableName(table));
    const auto pairs = state.find(table);
    if (pairs == state.end()) continue;
    for (const auto& [key, value] : pairs->second) hash = Crc32c(Crc32c(hash, key), value);
  }
  const FileSummary summary = Summarize(MustOpen(folder.path() + "/s")->reader()).value();
  CHECK(summary.hash == hash);
  CHECK(summary.revision == 699 * 3 + 2);
  CHECK(summary.version == "3.7.0");
}

}  // namespace
}  // namespace quorate::bbolt
