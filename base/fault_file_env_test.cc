#include "base/fault_file_env.h"

#include <catch2/catch.hpp>
#include <set>

#include "base/fault_file_content.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate {
namespace {

constexpr size_t kSector = FaultFileContent::kSectorBytes;

absl::Status Write(File* file, uint64_t offset, std::string_view data) {
  return file->WriteAt(offset, std::span(&data, 1));
}

std::unique_ptr<File> OpenFile(FaultFileEnv* env, const std::string& path,
                               WriteMode mode = WriteMode::kBuffered) {
  auto file = env->Exists(path) ? env->Open(path, mode) : env->Create(path, mode);
  REQUIRE(file.ok());
  return std::move(*file);
}

// A file whose name and content are durable.
std::unique_ptr<File> DurableFile(FaultFileEnv* env, const std::string& path,
                                  std::string_view content) {
  auto file = OpenFile(env, path);
  REQUIRE(Write(file.get(), 0, content).ok());
  REQUIRE(file->Sync().ok());
  REQUIRE(env->SyncDir(FolderOf(path)).ok());
  return file;
}

std::string Content(FaultFileEnv* env, const std::string& path) {
  const auto content = ReadFileToString(env, path);
  return content.ok() ? *content : std::string(content.status().message());
}

// All contents of /f that crashes with different seeds leave after `prepare`.
template <class Prepare>
std::set<std::string> Outcomes(Prepare prepare, int crashes = 300) {
  Random random(TestSeed());
  std::set<std::string> outcomes;
  for (int i = 0; i < crashes; ++i) {
    FaultFileEnv env;
    prepare(&env);
    env.Crash(random);
    outcomes.insert(env.Exists("/f") ? Content(&env, "/f") : "(none)");
  }
  return outcomes;
}

using Set = std::set<std::string>;

TEST_CASE("What was synced, with its name, survives every crash") {
  REQUIRE(Outcomes([](FaultFileEnv* env) { DurableFile(env, "/f", "kept"); }) == Set{"kept"});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "");
            REQUIRE(Write(OpenFile(env, "/f", WriteMode::kDataSync).get(), 0, "kept").ok());
          }) == Set{"kept"});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "kept");
            REQUIRE(env->MakeDirs("/d/e").ok());
            REQUIRE(env->Exists("/d/e"));
          }) == Set{"kept"});
}

TEST_CASE("A write that was not synced may be there, gone, or leave zeros") {
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            const auto file = DurableFile(env, "/f", "old");
            REQUIRE(Write(file.get(), 3, "new").ok());
          }) == Set{"old", "oldnew", std::string("old\0\0\0", 6)});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            REQUIRE(DurableFile(env, "/f", "abc")->Truncate(1).ok());
          }) == Set{"abc", "a"});
}

TEST_CASE("Writes reach the disk in any order") {
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            const auto file = DurableFile(env, "/f", "..");
            REQUIRE(Write(file.get(), 0, "1").ok());
            REQUIRE(Write(file.get(), 1, "2").ok());
          }) == Set{"..", "1.", ".2", "12"});
}

TEST_CASE("A write is torn at sectors and nowhere else") {
  const std::string old_text(4 * kSector, 'o');
  const std::string new_text(3 * kSector, 'n');
  const Set outcomes = Outcomes(
      [&](FaultFileEnv* env) {
        const auto file = DurableFile(env, "/f", old_text);
        REQUIRE(Write(file.get(), 100, new_text).ok());
      },
      2000);
  // Sector borders within the write, and its two ends.
  REQUIRE(outcomes.size() == 16);
  for (const std::string& outcome : outcomes) {
    for (size_t i = 1; i < outcome.size(); ++i) {
      const bool border = i % kSector == 0 || i == 100 || i == 100 + new_text.size();
      if (outcome[i] != outcome[i - 1]) REQUIRE(border);
    }
  }
}

TEST_CASE("A name needs SyncDir, even when the file was synced") {
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            const auto file = OpenFile(env, "/f");
            REQUIRE(Write(file.get(), 0, "x").ok());
            REQUIRE(file->Sync().ok());
          }) == Set{"(none)", "x"});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "x");
            REQUIRE(env->Remove("/f").ok());
          }) == Set{"(none)", "x"});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "x");
            REQUIRE(env->Remove("/f").ok());
            REQUIRE(env->SyncDir("/").ok());
          }) == Set{"(none)"});
}

TEST_CASE("A rename is all or nothing") {
  const auto prepare = [](FaultFileEnv* env) {
    DurableFile(env, "/f", "old");
    DurableFile(env, "/g", "new");
    REQUIRE(env->Rename("/g", "/f").ok());
  };
  REQUIRE(Outcomes(prepare) == Set{"old", "new"});
  REQUIRE(Outcomes([&](FaultFileEnv* env) {
            prepare(env);
            REQUIRE(env->SyncDir("/").ok());
            REQUIRE_FALSE(env->Exists("/g"));
          }) == Set{"new"});
}

TEST_CASE("A rename between folders is durable with the new folder") {
  const auto prepare = [](FaultFileEnv* env) {
    REQUIRE(env->MakeDirs("/d").ok());
    DurableFile(env, "/d/g", "moved");
    REQUIRE(env->Rename("/d/g", "/f").ok());
  };
  REQUIRE(Outcomes([&](FaultFileEnv* env) {
            prepare(env);
            REQUIRE(env->SyncDir("/d").ok());
          }) == Set{"(none)", "moved"});
  REQUIRE(Outcomes([&](FaultFileEnv* env) {
            prepare(env);
            REQUIRE(env->SyncDir("/").ok());
          }) == Set{"moved"});
}

TEST_CASE("A file is never left under two names") {
  Random random(TestSeed());
  for (int i = 0; i < 200; ++i) {
    FaultFileEnv env;
    DurableFile(&env, "/a", "x");
    REQUIRE(env.MakeDirs("/d").ok());
    REQUIRE(env.Rename("/a", "/b").ok());
    REQUIRE(env.Rename("/b", "/d/c").ok());
    if (i % 2 == 0) REQUIRE(env.SyncDir("/d").ok());
    env.Crash(random);
    const int names = env.Exists("/a") + env.Exists("/b") + env.Exists("/d/c");
    REQUIRE(names == 1);
    if (i % 2 == 0) REQUIRE(env.Exists("/d/c"));
  }
}

TEST_CASE("A file written atomically is the old or the new one wherever the crash falls") {
  // Forgetting the sync shows: the name is there and the content may not be.
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "old");
            REQUIRE(Write(OpenFile(env, "/f.tmp").get(), 0, "new").ok());
            REQUIRE(env->Rename("/f.tmp", "/f").ok());
          }).contains(""));
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "old");
            env->FailSyncs({.path_part = "/", .skip = 1});
            REQUIRE_FALSE(WriteFileAtomically(env, "/f", "new").ok());
          }) == Set{"old", "new"});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            DurableFile(env, "/f", "old");
            REQUIRE(WriteFileAtomically(env, "/f", "new").ok());
          }) == Set{"new"});
}

TEST_CASE("After a failed sync nothing is certain, whatever later syncs say") {
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            const auto file = DurableFile(env, "/f", "...");
            REQUIRE(Write(file.get(), 0, "1").ok());
            env->FailSyncs({.path_part = "f", .count = 1});
            const absl::Status status = file->Sync();
            REQUIRE(status.message() == "sync /f: Input/output error");
            REQUIRE(Write(file.get(), 1, "2").ok());
            REQUIRE(file->Sync().ok());
          }) == Set{".2.", "12."});
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            const auto file = DurableFile(env, "/f", "old");
            const auto direct = OpenFile(env, "/f", WriteMode::kDataSync);
            env->FailSyncs({.path_part = "f", .skip = 1});
            REQUIRE(Write(direct.get(), 0, "O").ok());
            REQUIRE(absl::IsUnavailable(Write(direct.get(), 1, "L")));
            env->HealSyncs();
            REQUIRE(Write(direct.get(), 2, "D").ok());
          }) == Set{"OlD", "OLD"});
}

TEST_CASE("A folder's failed sync leaves its names uncertain") {
  REQUIRE(Outcomes([](FaultFileEnv* env) {
            const auto file = OpenFile(env, "/f");
            REQUIRE(file->Sync().ok());
            env->FailSyncs({.path_part = "/"});
            REQUIRE_FALSE(env->SyncDir("/").ok());
          }) == Set{"(none)", ""});
}

TEST_CASE("A full disk takes what fits and says so") {
  FaultFileEnv env;
  const auto file = DurableFile(&env, "/f", "12345");
  env.SetCapacityBytes(10);
  const absl::Status status = Write(file.get(), 5, "abcdefgh");
  REQUIRE(absl::IsResourceExhausted(status));
  REQUIRE(status.message() == "write /f: No space left on device");
  REQUIRE(Content(&env, "/f") == "12345abcde");
  REQUIRE(absl::IsResourceExhausted(file->Preallocate(11)));
  REQUIRE(absl::IsResourceExhausted(Write(OpenFile(&env, "/g").get(), 0, "x")));
  REQUIRE(Write(file.get(), 0, "54321").ok());
  REQUIRE(file->Truncate(5).ok());
  REQUIRE(Write(OpenFile(&env, "/g").get(), 0, "x").ok());
  env.SetCapacityBytes(UINT64_MAX);
  REQUIRE(file->Preallocate(100).ok());
}

TEST_CASE("misdirected writes land elsewhere in silence, and only where there is room") {
  FaultFileEnv env;
  const auto file = DurableFile(&env, "/f", "0123456789");
  env.MisdirectWrites({.path_part = "/f", .shift_bytes = 4, .count = 1});
  REQUIRE(Write(file.get(), 8, "ab").ok());  // would end behind the file: goes right
  REQUIRE(Content(&env, "/f") == "01234567ab");
  REQUIRE(Write(file.get(), 0, "XY").ok());
  REQUIRE(Content(&env, "/f") == "0123XY67ab");
  REQUIRE(Write(file.get(), 0, "Z").ok());  // there was one only
  REQUIRE(Content(&env, "/f") == "Z123XY67ab");
  REQUIRE(env.counts().misdirected == 1);
}

TEST_CASE("A flipped bit stays flipped over crashes") {
  Random random(TestSeed());
  FaultFileEnv env;
  DurableFile(&env, "/f", "aaa");
  REQUIRE(env.FlipBit("/f", 1, 1).ok());
  REQUIRE(Content(&env, "/f") == "aca");
  env.Crash(random);
  REQUIRE(Content(&env, "/f") == "aca");
  REQUIRE(absl::IsOutOfRange(env.FlipBit("/f", 3, 0)));
  REQUIRE(absl::IsNotFound(env.FlipBit("/g", 0, 0)));
}

TEST_CASE("Files and locks of before the crash are dead, new ones work") {
  Random random(TestSeed());
  FaultFileEnv env;
  const auto file = DurableFile(&env, "/f", "x");
  auto old_lock = env.Lock("/lock");
  REQUIRE(old_lock.ok());
  REQUIRE(env.SyncDir("/").ok());
  env.Crash(random);
  REQUIRE(absl::IsFailedPrecondition(Write(file.get(), 0, "y")));
  REQUIRE(absl::IsFailedPrecondition(file->Sync()));
  REQUIRE(absl::IsFailedPrecondition(file->Size().status()));
  const auto new_lock = env.Lock("/lock");
  REQUIRE(new_lock.ok());
  old_lock->reset();
  REQUIRE(absl::IsUnavailable(env.Lock("/lock").status()));
  REQUIRE(Write(OpenFile(&env, "/f").get(), 0, "y").ok());
}

TEST_CASE("It counts writes and syncs") {
  Random random(TestSeed());
  FaultFileEnv env;
  DurableFile(&env, "/f", "12345");
  REQUIRE(Write(OpenFile(&env, "/f", WriteMode::kDataSync).get(), 0, "x").ok());
  env.Crash(random);
  REQUIRE(env.counts().writes == 2);
  REQUIRE(env.counts().bytes_written == 6);
  REQUIRE(env.counts().syncs == 2);
  REQUIRE(env.counts().dir_syncs == 1);
  REQUIRE(env.counts().crashes == 1);
}

// A random history over a few files with crashes in it. Returns a text of all that was seen.
std::string RandomHistory(uint64_t seed) {
  Random random(seed);
  FaultFileEnv env;
  std::string seen;
  for (int step = 0; step < 400; ++step) {
    const std::string path = StrCat("/f", random.Below(3));
    const std::string data(random.Below(2000), static_cast<char>('a' + random.Below(26)));
    switch (random.Below(7)) {
      case 0:
      case 1:
      case 2:
        REQUIRE(Write(OpenFile(&env, path).get(), random.Below(4000), data).ok());
        break;
      case 3:
        REQUIRE(OpenFile(&env, path)->Sync().ok());
        break;
      case 4:
        REQUIRE(env.SyncDir("/").ok());
        break;
      case 5:
        env.Rename(path, StrCat("/f", random.Below(3))).IgnoreError();
        break;
      default: {
        if (!random.OneIn(4)) break;
        env.Crash(random);
        const auto names = env.List("/");
        REQUIRE(names.ok());
        for (const std::string& name : *names) {
          StrAppend(&seen, name, "=", Content(&env, "/" + name), "\n");
        }
      }
    }
  }
  return seen;
}

TEST_CASE("Equal seeds give equal disks, others do not") {
  const uint64_t seed = TestSeed();
  REQUIRE(RandomHistory(seed) == RandomHistory(seed));
  REQUIRE(RandomHistory(seed) != RandomHistory(seed + 1));
}

TEST_CASE("After a crash every byte is one that was written there since the last sync, or synced") {
  Random random(TestSeed());
  for (int round = 0; round < 50; ++round) {
    constexpr size_t kSize = 3000;
    FaultFileEnv env;
    auto file = DurableFile(&env, "/f", std::string(kSize, '0'));
    std::vector<std::set<char>> possible(kSize, {'0'});
    std::string current(kSize, '0');
    for (uint64_t step = random.Below(30); step > 0; --step) {
      if (random.OneIn(5)) {
        REQUIRE(file->Sync().ok());
        for (size_t i = 0; i < kSize; ++i) possible[i] = {current[i]};
        continue;
      }
      const size_t offset = random.Below(kSize);
      const size_t size = random.Below(kSize - offset) + 1;
      const char letter = static_cast<char>('a' + random.Below(26));
      REQUIRE(Write(file.get(), offset, std::string(size, letter)).ok());
      for (size_t i = offset; i < offset + size; ++i) {
        possible[i].insert(letter);
        current[i] = letter;
      }
    }
    REQUIRE(Content(&env, "/f") == current);
    env.Crash(random);
    const std::string after = Content(&env, "/f");
    REQUIRE(after.size() == kSize);
    for (size_t i = 0; i < kSize; ++i) {
      if (!possible[i].contains(after[i])) FAIL("byte " << i << " is " << after[i]);
    }
  }
}

}  // namespace
}  // namespace quorate
