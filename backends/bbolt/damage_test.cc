// A damaged file never crashes its reader, is never taken for whole, and the page is named where
// the damage can be seen at all: bbolt has no checksums but in its two meta pages, so what changes
// a value only shows in the digest.
#include <algorithm>

#include "backends/bbolt/bbolt_test_util.h"
#include "base/test_seed.h"

namespace quorate::bbolt {
namespace {

class DamagedFile {
 public:
  explicit DamagedFile(const State& state) {
    WriteSnapshotFile(path(), state, 1 << 20);
    good_ = *ReadFileToString(PosixFileEnv(), path());
  }
  std::string path() const { return folder_.path() + "/snapshot.db"; }
  const std::string& good() const { return good_; }
  void Put(const std::string& bytes) const {
    auto file = PosixFileEnv()->Create(path(), WriteMode::kBuffered);
    REQUIRE_OK(file.status());
    const std::string_view pieces[] = {bytes};
    REQUIRE_OK((*file)->WriteAt(0, pieces));
  }
  uint64_t pages() const { return good_.size() / kPageBytes; }

 private:
  const TempDir folder_;
  std::string good_;
};

// Everything that a tool does with a file. False: something told that it is damaged.
bool LooksWhole(const std::string& path, bool* named) {
  auto file = SnapshotFile::Open(PosixFileEnv(), path);
  const auto names = [&](std::string_view text) { return text.find("page ") != text.npos; };
  if (!file.ok()) {
    *named = names(ToStd(file.status().message()));
    return false;
  }
  const std::vector<std::string> problems = (*file)->reader().Check(20);
  *named = std::all_of(problems.begin(), problems.end(), names);
  const bool readable = Summarize((*file)->reader()).ok();
  const bool same_digest =
      (*file)->stored_digest() && (*file)->ComputeDigest().value() == *(*file)->stored_digest();
  return problems.empty() && readable && same_digest;
}

void Damage(Random& random, std::string* bytes, uint64_t page) {
  const size_t begin = page * kPageBytes;
  switch (random.Below(5)) {
    case 0: {  // one bit, in the head of the page or anywhere in it
      const size_t at = begin + random.Below(random.Below(2) == 0 ? 200 : kPageBytes);
      (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random.Below(8)));
      break;
    }
    case 1: {  // a few bytes of anything
      const size_t size = 1 + random.Below(16);
      bytes->replace(begin + random.Below(kPageBytes - size), size, RandomBytes(random, size));
      break;
    }
    case 2: {  // a number that is too large
      const size_t at = begin + 4 * random.Below(60);
      bytes->replace(at, 4, std::string(4, '\xff'));
      break;
    }
    case 3:  // another page in its place
      bytes->replace(
          begin, kPageBytes,
          bytes->substr(kPageBytes * random.Below(bytes->size() / kPageBytes), kPageBytes));
      break;
    default:  // a hole
      bytes->replace(begin, kPageBytes, std::string(kPageBytes, '\0'));
  }
}

TEST_CASE("random damage at every page is found and crashes nothing") {
  Random random(TestSeed());
  const DamagedFile file(RandomState(random, 4000, 120));
  bool named = false;
  REQUIRE(LooksWhole(file.path(), &named));
  for (uint64_t page = 0; page < file.pages(); ++page) {
    for (int round = 0; round < 12; ++round) {
      std::string bytes = file.good();
      Damage(random, &bytes, page);
      if (bytes == file.good()) continue;
      CAPTURE(page, round);
      file.Put(bytes);
      CHECK_FALSE(LooksWhole(file.path(), &named));
      CHECK(named);
    }
  }
}

TEST_CASE("what a page says of itself is checked, and the page is named with its offset") {
  Random random(TestSeed());
  const DamagedFile file(RandomState(random, 4000, 120));
  // The pages that another one runs on into say nothing of themselves.
  const auto next_of = [&](uint64_t page) {
    const std::string_view at = std::string_view(file.good()).substr(page * kPageBytes);
    return page + 1 + ParsePageHeader(at).overflow;
  };
  for (uint64_t page = 3; page < file.pages(); page = next_of(page)) {
    std::string bytes = file.good();
    bytes.replace(page * kPageBytes, kPageBytes, std::string(kPageBytes, '\0'));
    file.Put(bytes);
    auto damaged = SnapshotFile::Open(PosixFileEnv(), file.path());
    const std::string text =
        damaged.ok() ? StrJoin((*damaged)->reader().Check(5), "\n") : damaged.status().ToString();
    CHECK_THAT(text,
               Catch::Contains(StrCat("page ", page, " at offset ", page * kPageBytes, ": ")));
  }
}

TEST_CASE("a file that was cut anywhere is not taken for whole") {
  Random random(TestSeed());
  const DamagedFile file(RandomState(random, 1500, 120));
  bool named = false;
  for (int round = 0; round < 400; ++round) {
    const size_t size = round < 100 ? file.good().size() - 1 - static_cast<size_t>(round)
                                    : random.Below(file.good().size());
    CAPTURE(size);
    file.Put(file.good().substr(0, size));
    CHECK_FALSE(LooksWhole(file.path(), &named));
  }
}

TEST_CASE("either meta page alone is enough, and none is not") {
  Random random(TestSeed());
  const State state = RandomState(random, 100, 100);
  const DamagedFile file(state);
  for (const size_t page : {0, 1}) {
    std::string bytes = file.good();
    bytes.replace(page * kPageBytes + 40, 8, "damaged!");
    file.Put(bytes);
    CHECK(ContentOf(*MustOpen(file.path())) == state);
  }
  std::string bytes = file.good();
  bytes.replace(40, 8, "damaged!");
  bytes.replace(kPageBytes + 40, 8, "damaged!");
  file.Put(bytes);
  const auto refused = SnapshotFile::Open(PosixFileEnv(), file.path());
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK_THAT(refused.status().ToString(), Catch::Contains("checksum of the meta page is wrong"));
}

TEST_CASE("files that are no databases are refused by name") {
  const TempDir folder;
  const std::string path = folder.path() + "/notes.txt";
  CHECK(absl::IsNotFound(SnapshotFile::Open(PosixFileEnv(), path).status()));
  for (const size_t size : {0, 10, 79, 80, 5000, 100000}) {
    REQUIRE_OK(WriteFileAtomically(PosixFileEnv(), path, std::string(size, 'x')));
    const absl::Status status = SnapshotFile::Open(PosixFileEnv(), path).status();
    CHECK(absl::IsFailedPrecondition(status));
    CHECK_THAT(status.ToString(), Catch::Contains(path + ": is no bbolt database"));
  }
}

TEST_CASE("a tree that leads back to itself ends in an error") {
  Random random(TestSeed());
  const DamagedFile file(RandomState(random, 4000, 120));
  for (uint64_t page = 3; page < file.pages(); ++page) {
    if (ParsePageHeader(std::string_view(file.good()).substr(page * kPageBytes)).flags !=
        kBranchPage) {
      continue;
    }
    std::string bytes = file.good();
    std::string self;
    AppendU64(&self, page);
    bytes.replace(page * kPageBytes + kHeaderBytes + 8, 8, self);  // of its first child
    file.Put(bytes);
    CHECK_FALSE(Summarize(MustOpen(file.path())->reader()).ok());
  }
}

}  // namespace
}  // namespace quorate::bbolt
