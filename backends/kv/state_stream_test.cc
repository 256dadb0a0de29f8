// The state as a stream: from every backend into every backend, and what damage does.
#include "backends/kv/state_stream.h"

#include "backends/kv/kv_test_util.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

std::string ExportAll(const KvBackend& backend, size_t bytes_max = 100'000) {
  StateExporter exporter(MustSnapshot(backend));
  std::string stream;
  while (true) {
    const auto next = exporter.Read(bytes_max);
    REQUIRE_OK(next.status());
    REQUIRE(next->size() <= bytes_max);
    if (next->empty()) return stream;
    stream.append(*next);
  }
}

void Fill(KvBackend& backend, Random& random, int batches) {
  BatchSource source(random);
  for (int i = 0; i < batches; ++i) REQUIRE_OK(WriteOps(backend, source.Next(60)));
}

// What Take or Finish answers for a stream that comes in pieces of up to `piece_max` bytes.
absl::Status Import(KvBackend& backend, std::string_view stream, Random& random,
                    size_t piece_max = 70'000) {
  StateImporter importer(&backend);
  while (!stream.empty()) {
    const std::string piece(stream.substr(0, 1 + random.Below(piece_max)));
    const absl::Status status = importer.Take(piece);
    if (!status.ok()) {
      CHECK(importer.Finish() == status);  // an error is final
      return status;
    }
    stream.remove_prefix(piece.size());
  }
  return importer.Finish();
}

TEST_CASE("a state goes from every backend into every other", "[state]") {
  Random random(TestSeed() + 40);
  const std::string from = AnyBackend();
  TestStore source(from);
  Fill(*source, random, 60);
  const std::string long_key(700, 'k');
  REQUIRE_OK(WriteOps(
      *source, {PutOp(Table::kAuthUsers, long_key, "long"),
                PutOp(Table::kAuthUsers, long_key + "2", "longer"), PutOp(Table::kKey, "empty", ""),
                PutOp(Table::kKey, "large", std::string(1'500'000, 'x')),
                PutOp(Table::kMeta, "confState", R"({"voters":[1,2,3]})")}));
  const Model model = ReadModel(*source);
  StateExporter exporter(MustSnapshot(*source));
  // Later writes do not show.
  REQUIRE_OK(WriteOps(*source, {DeleteRangeOp(Table::kKey, {}, {})}));
  std::string stream;
  while (true) {
    const auto next = exporter.Read(1 + random.Below(300'000));
    REQUIRE_OK(next.status());
    if (next->empty()) break;
    stream.append(*next);
  }
  uint64_t records = 0;
  for (const auto& table : model.tables) records += table.size();
  CHECK(exporter.records() == records);
  for (const KvBackendRow& row : KvBackendRegistry()) {
    INFO(from << " into " << row.traits.name);
    TestStore target{std::string(row.traits.name)};
    REQUIRE_OK(Import(*target, stream, random));
    CHECK(ReadModel(*target) == model);
    target.Reopen();
    CHECK(ReadModel(*target) == model);
    // The same content gives the same bytes, whatever holds it.
    CHECK(ExportAll(*target) == stream);
  }
}

TEST_CASE("an empty state is a whole one", "[state]") {
  Random random(TestSeed() + 41);
  TestStore source(AnyBackend());
  TestStore target(source.name());
  const std::string stream = ExportAll(*source, 1);
  REQUIRE_OK(Import(*target, stream, random, 1));
  CHECK(ReadModel(*target) == Model());
}

TEST_CASE("a state is not laid over another", "[state]") {
  Random random(TestSeed() + 42);
  TestStore source(AnyBackend());
  TestStore target(source.name());
  REQUIRE_OK(WriteOps(*target, {PutOp(Table::kMembers, "a", "1")}));
  const absl::Status status = Import(*target, ExportAll(*source), random);
  CHECK(absl::IsFailedPrecondition(status));
  CHECK(std::string(status.message()).find("members") != std::string::npos);
}

// A stream of several blocks and what it stands for.
class Damaged {
 public:
  explicit Damaged(uint64_t seed) : random_(seed), source_("memory") {
    Fill(*source_, random_, 400);
    std::string large(700'000, '\0');
    for (char& c : large) c = static_cast<char>(random_.Next());
    REQUIRE_OK(WriteOps(*source_, {PutOp(Table::kKey, "large", large)}));
    for (int i = 0; i < 3; ++i) {  // blocks of their own
      const std::string key = StrCat("a", i);
      REQUIRE_OK(WriteOps(*source_, {PutOp(Table::kAuth, key, std::string(300'000, 'a'))}));
    }
    model_ = ReadModel(*source_);
    stream_ = ExportAll(*source_);
    REQUIRE(stream_.size() > 1'600'000);
  }
  const std::string& stream() const { return stream_; }
  Random& random() { return random_; }

  // What is named lies at `offset_max` or before it.
  void RequireRefused(const std::string& damaged, uint64_t offset_max) {
    TestStore target("memory");
    const absl::Status status = Import(*target, damaged, random_);
    const std::string text(status.message());
    INFO(text);
    REQUIRE((absl::IsDataLoss(status) || absl::IsFailedPrecondition(status)));
    if (!absl::IsDataLoss(status)) return;
    const size_t at = text.find("offset ");
    REQUIRE(at != std::string::npos);
    CHECK(std::stoull(text.substr(at + 7)) <= offset_max);
    // What was written is right as far as it goes: nothing unchecked came through.
    const Model found = ReadModel(*target);
    for (size_t i = 0; i < kTableCount; ++i) {
      for (const auto& [key, value] : found.tables[i]) {
        REQUIRE(model_.tables[i].contains(key));
        REQUIRE(model_.tables[i].at(key) == value);
      }
    }
  }

 private:
  Random random_;
  TestStore source_;
  Model model_;
  std::string stream_;
};

TEST_CASE("a stream with an inverted bit or cut short is never taken as whole", "[state]") {
  Damaged damage(TestSeed() + 43);
  const std::string& stream = damage.stream();
  Random& random = damage.random();
  for (int i = 0; i < 60; ++i) {
    // The headers and the end mark for certain, the rest by chance.
    const uint64_t offset = i < 40   ? static_cast<uint64_t>(i)
                            : i < 50 ? stream.size() - 1 - random.Below(32)
                                     : random.Below(stream.size());
    INFO("bit at " << offset);
    std::string damaged = stream;
    damaged[offset] = static_cast<char>(damaged[offset] ^ (1 << random.Below(8)));
    damage.RequireRefused(damaged, offset);
  }
  for (int i = 0; i < 12; ++i) {
    const uint64_t size =
        i < 6 ? stream.size() - 1 - static_cast<uint64_t>(i) * 7 : random.Below(stream.size());
    INFO("cut at " << size);
    damage.RequireRefused(stream.substr(0, size), size);
  }
}

TEST_CASE("blocks that are missing, repeated or in another order are refused", "[state]") {
  Damaged damage(TestSeed() + 44);
  const std::string& stream = damage.stream();
  damage.RequireRefused(stream + "x", stream.size());
  damage.RequireRefused(stream + stream, stream.size());
  constexpr size_t kHeader = 16;
  const auto block_end = [&](size_t at) {  // a block's size stands at 4 of its header
    uint32_t size = 0;
    for (int i = 3; i >= 0; --i) size = size << 8 | static_cast<unsigned char>(stream[at + 4 + i]);
    return at + 24 + size;
  };
  const size_t second = block_end(kHeader);
  const size_t third = block_end(second);
  const std::string head = stream.substr(0, kHeader);
  const std::string one = stream.substr(kHeader, second - kHeader);
  const std::string two = stream.substr(second, third - second);
  const std::string rest = stream.substr(third);
  damage.RequireRefused(head + two + one + rest, kHeader + 8);
  damage.RequireRefused(head + one + rest, second + 8);
  damage.RequireRefused(head + one + one + two + rest, second + 8);
  damage.RequireRefused(one + two + rest, 0);
  // The end of another, shorter state behind the blocks of this one.
  TestStore other("memory");
  const std::string empty = ExportAll(*other);
  damage.RequireRefused(head + one + empty.substr(kHeader), second);
}

}  // namespace
}  // namespace quorate::kv
