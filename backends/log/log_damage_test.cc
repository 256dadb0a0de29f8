// What the segmented log does with files that are not as it left them: every damage to what was
// synced is named, nothing wrong is ever served; full disks and failed syncs stop it.
#include "backends/log/log_test_util.h"
#include "backends/log/segment.h"
#include "base/crc32c.h"
#include "base/test_seed.h"

namespace quorate::log {
namespace {

constexpr char kDir[] = "/data/log";

class Fixture {
 public:
  Fixture() {
    options_.dir = kDir;
    options_.env = &disk_;
    options_.segment_bytes = 6000;
  }
  std::unique_ptr<LogStore> Create() {
    auto log = CreateSegmentedLog(options_, kTestIdentity);
    REQUIRE_OK(log.status());
    return *std::move(log);
  }
  absl::StatusOr<std::unique_ptr<LogStore>> Open() { return OpenSegmentedLog(options_); }
  std::unique_ptr<LogStore> OpenGood() {
    auto log = Open();
    REQUIRE_OK(log.status());
    return *std::move(log);
  }
  // One entry of 200 bytes a batch, each with a hard state, each synced.
  void AppendSynced(LogStore& log, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const Entry entry = MakeEntry(model_.last() + 1, 1, std::string(200, 'v'));
      const HardState state{Term(1), MemberId(1), LogIndex(model_.last())};
      REQUIRE_OK(log.Append({&entry, 1}, &state));
      REQUIRE_OK(log.Sync());
      model_.Put(entry);
      model_.hard_state = state;
    }
  }
  void Write(const std::string& path, uint64_t offset, std::string_view data) {
    auto file = disk_.Open(path, WriteMode::kBuffered);
    REQUIRE_OK(file.status());
    REQUIRE_OK((*file)->WriteAt(offset, {&data, 1}));
    REQUIRE_OK((*file)->Sync());
  }
  std::string Content(const std::string& path) {
    auto content = ReadFileToString(&disk_, path);
    REQUIRE_OK(content.status());
    return *content;
  }
  std::vector<std::string> Files() {
    auto names = disk_.List(kDir);
    REQUIRE_OK(names.status());
    return *names;
  }
  static std::string Segment(int sequence) {
    return StrCat(kDir, "/000000000000000", sequence, ".seg");
  }

  FaultFileEnv disk_;
  LogOptions options_;
  LogModel model_;
};

bool Names(const absl::Status& status, std::string_view text) {
  return ToStd(status.message()).find(text) != std::string_view::npos;
}

// The text must name file and offset and say what to do.
void RequireDamage(const absl::Status& status, const std::string& path) {
  INFO(std::string(ToStd(status.ToString())));
  REQUIRE(absl::IsDataLoss(status));
  REQUIRE(Names(status, path));
  REQUIRE(Names(status, ": offset "));
  REQUIRE(Names(status, "restore this member"));
}

TEST_CASE("any flipped bit is named or has no effect", "[log][damage]") {
  Fixture healthy;
  {
    auto log = healthy.Create();
    healthy.AppendSynced(*log, 12);
  }
  const std::vector<std::string> files = healthy.Files();
  const std::string last_segment = Fixture::Segment(2);
  REQUIRE(files.size() >= 2);
  LogModel without_last_batch = healthy.model_;
  without_last_batch.entries.pop_back();
  without_last_batch.hard_state.commit = LogIndex(10);
  LogModel without_last_state = healthy.model_;
  without_last_state.hard_state.commit = LogIndex(10);
  Random random(TestSeed());
  size_t named = 0;
  for (const std::string& path : {Fixture::Segment(1), last_segment}) {
    const std::string content = healthy.Content(path);
    for (uint64_t offset = 0; offset < content.size(); ++offset) {
      if (offset > 100 && offset < kHeaderBlockBytes - 8) continue;  // unused part of the header
      const char damaged = static_cast<char>(content[offset] ^ (1 << random.Below(8)));
      healthy.Write(path, offset, {&damaged, 1});
      auto log = healthy.Open();
      INFO(path << " offset " << offset);
      if (log.ok()) {
        // The very last batch cannot be told from one that a crash cut off.
        const bool harmless =
            Difference(**log, healthy.model_).empty() ||
            (path == last_segment && (Difference(**log, without_last_batch).empty() ||
                                      Difference(**log, without_last_state).empty()));
        REQUIRE(harmless);
      } else if (offset >= 8 && offset < 12) {
        REQUIRE(Names(log.status(), path));  // damaged, or a newer version
      } else {
        RequireDamage(log.status(), kDir);
        ++named;
      }
      log = absl::NotFoundError("closed");
      healthy.Write(path, 0, content);  // an opened log may have repaired it
    }
  }
  // All of the first segment's records, and the second's but for the last batch.
  REQUIRE(named > 11 * 200);
  auto log = healthy.OpenGood();
  REQUIRE(Difference(*log, healthy.model_) == "");
}

TEST_CASE("a damaged record with intact ones behind it stops the start, with its place",
          "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 4);
  }
  const uint64_t second = kHeaderBlockBytes + PaddedRecordBytes(200) + PaddedRecordBytes(8);
  REQUIRE_OK(f.disk_.FlipBit(Fixture::Segment(1), second + 50, 3));
  const absl::Status status = f.Open().status();
  RequireDamage(status, Fixture::Segment(1));
  REQUIRE(Names(status, StrCat("offset ", second, ":")));
}

TEST_CASE("zeros where synced records were stop the start", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 12);
  }
  const std::string content = f.Content(Fixture::Segment(1));
  // From the middle of the first segment to its end: as if writes had been lost there.
  f.Write(Fixture::Segment(1), 4800, std::string(content.size() - 4800, '\0'));
  RequireDamage(f.Open().status(), Fixture::Segment(1));
}

TEST_CASE("a missing segment stops the start", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 20);
  }
  REQUIRE(f.disk_.Exists(Fixture::Segment(3)));
  REQUIRE_OK(f.disk_.Remove(Fixture::Segment(2)));
  const absl::Status status = f.Open().status();
  RequireDamage(status, Fixture::Segment(3));
  REQUIRE(Names(status, "segment 2 of the log is missing"));
}

TEST_CASE("a log whose only segment lost its header is damaged, not absent", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 12);
    REQUIRE_OK(log->TruncatePrefix(LogIndex(11)));
  }
  REQUIRE_FALSE(f.disk_.Exists(Fixture::Segment(1)));
  f.Write(Fixture::Segment(2), 0, std::string(6000, '\0'));
  RequireDamage(f.Open().status(), Fixture::Segment(2));
  REQUIRE(f.disk_.Exists(Fixture::Segment(2)));
}

TEST_CASE("another member's segment stops the start", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 12);
  }
  auto header = DecodeSegmentHeader(f.Content(Fixture::Segment(2)), "x");
  REQUIRE_OK(header.status());
  header->identity.member = MemberId(0xbeef);
  f.Write(Fixture::Segment(2), 0, EncodeSegmentHeader(*header));
  const absl::Status status = f.Open().status();
  REQUIRE(absl::IsFailedPrecondition(status));
  REQUIRE(Names(status, Fixture::Segment(2) + ": offset 40"));
  REQUIRE(Names(status, "beef"));
}

TEST_CASE("a newer format is refused with the way out", "[log][damage]") {
  Fixture f;
  f.Create();
  std::string block = f.Content(Fixture::Segment(1)).substr(0, 88);
  block[8] = 2;
  const uint32_t crc = Crc32c(0, block);
  block.append(reinterpret_cast<const char*>(&crc), 4);
  f.Write(Fixture::Segment(1), 0, block);
  const absl::Status status = f.Open().status();
  REQUIRE(absl::IsFailedPrecondition(status));
  REQUIRE(Names(status, "log format 2 is newer than this program's 1"));
}

TEST_CASE("a log that ends before its commit stops the start", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 3);
    const HardState beyond{Term(1), MemberId(1), LogIndex(9)};  // as if 4 to 9 had been lost
    REQUIRE_OK(log->Append({}, &beyond));
  }
  const absl::Status status = f.Open().status();
  RequireDamage(status, Fixture::Segment(1));
  REQUIRE(Names(status, "ends at entry 3, but entry 9 was committed"));
}

TEST_CASE("files of other names are left alone", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 3);
  }
  for (const char* name : {"backup.seg", "000000000000000g.seg", "ffff.seg"}) {
    auto file = f.disk_.Create(StrCat(kDir, "/", name), WriteMode::kBuffered);
    REQUIRE_OK(file.status());
  }
  auto log = f.OpenGood();
  REQUIRE(Difference(*log, f.model_) == "");
  REQUIRE(f.disk_.Exists(StrCat(kDir, "/backup.seg")));
}

TEST_CASE("an inspector changes nothing", "[log][damage]") {
  Fixture f;
  {
    auto log = f.Create();
    f.AppendSynced(*log, 3);
    const Entry torn = MakeEntry(4, 1, std::string(300, 't'));
    REQUIRE_OK(log->Append({&torn, 1}, nullptr));
  }
  const uint64_t fourth = kHeaderBlockBytes + 3 * (PaddedRecordBytes(200) + PaddedRecordBytes(8));
  REQUIRE_OK(f.disk_.FlipBit(Fixture::Segment(1), fourth + 100, 1));
  const std::string before = f.Content(Fixture::Segment(1));
  f.options_.read_only = true;
  auto log = f.OpenGood();
  REQUIRE(Difference(*log, f.model_) == "");
  REQUIRE(f.Content(Fixture::Segment(1)) == before);
}

TEST_CASE("segments are used again, and the folder stops growing", "[log]") {
  Fixture f;
  auto log = f.Create();
  size_t files_max = 0;
  for (int round = 0; round < 40; ++round) {
    f.AppendSynced(*log, 10);
    REQUIRE_OK(log->TruncatePrefix(LogIndex(f.model_.last() - 1)));
    if (round % 5 == 4) {
      log.reset();
      log = f.OpenGood();
    }
    REQUIRE(Difference(*log, f.model_) == "");
    files_max = std::max(files_max, f.Files().size());
  }
  REQUIRE(log->first_index() > LogIndex(300));
  REQUIRE(files_max <= 2 + 1 + f.options_.spare_segments_max);
}

TEST_CASE("what a recycled segment held before never comes back", "[log]") {
  Fixture f;
  auto log = f.Create();
  f.AppendSynced(*log, 30);
  REQUIRE_OK(log->TruncatePrefix(LogIndex(29)));
  // Every record boundary of the old content becomes the end of the new one.
  for (int i = 0; i < 30; ++i) {
    f.AppendSynced(*log, 1);
    log.reset();
    log = f.OpenGood();
    REQUIRE(Difference(*log, f.model_) == "");
  }
}

TEST_CASE("a full disk stops the log before anything is lost", "[log][full]") {
  Fixture f;
  auto log = f.Create();
  f.AppendSynced(*log, 3);
  f.disk_.SetCapacityBytes(15'000);
  absl::Status failed;
  LogModel before;
  for (int i = 0; i < 200 && failed.ok(); ++i) {
    const Entry entry = MakeEntry(f.model_.last() + 1, 1, std::string(200, 'v'));
    before = f.model_;
    failed = log->Append({&entry, 1}, nullptr);
    if (!failed.ok()) break;
    REQUIRE_OK(log->Sync());
    f.model_.Put(entry);
  }
  INFO(std::string(ToStd(failed.ToString())));
  REQUIRE(absl::IsResourceExhausted(failed));
  REQUIRE(Names(failed, kDir));
  // Nothing of the refused append counts, and nothing is written after it.
  REQUIRE(Difference(*log, f.model_) == "");
  f.disk_.SetCapacityBytes(UINT64_MAX);
  const Entry later = MakeEntry(f.model_.last() + 1, 1, "later");
  REQUIRE(log->Append({&later, 1}, nullptr) == failed);
  REQUIRE(log->Sync() == failed);
  log.reset();
  log = f.OpenGood();
  REQUIRE(Difference(*log, f.model_) == "");
  f.AppendSynced(*log, 30);
  REQUIRE(Difference(*log, f.model_) == "");
}

TEST_CASE("a failed sync is final", "[log][full]") {
  Fixture f;
  auto log = f.Create();
  f.AppendSynced(*log, 3);
  const Entry entry = MakeEntry(4, 1, "x");
  REQUIRE_OK(log->Append({&entry, 1}, nullptr));
  f.disk_.FailSyncs({.path_part = ".seg"});
  REQUIRE(absl::IsUnavailable(log->Sync()));
  f.disk_.HealSyncs();
  REQUIRE(absl::IsUnavailable(log->Sync()));
  const Entry next = MakeEntry(5, 1, "y");
  REQUIRE(absl::IsUnavailable(log->Append({&next, 1}, nullptr)));
}

TEST_CASE("a log is created once", "[log]") {
  Fixture f;
  REQUIRE(absl::IsNotFound(f.Open().status()));
  f.Create();
  REQUIRE(absl::IsAlreadyExists(CreateSegmentedLog(f.options_, kTestIdentity).status()));
}

}  // namespace
}  // namespace quorate::log
