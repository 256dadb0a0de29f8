#include "engine/mvcc/window.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/test_seed.h"

namespace quorate::engine {
namespace {

std::unique_ptr<Allocator> MakeAllocator() { return *CreateAllocator("malloc", {}); }

std::string Content(Revision revision, size_t size) {
  return std::string(size, static_cast<char>('a' + (revision.main * 7 + revision.sub) % 26));
}

void Add(Window* window, Revision revision, uint32_t size) {
  char* kv = window->AddRecord({revision, size, RecordKind::kPut});
  memcpy(kv, Content(revision, size).data(), size);
}

TEST_CASE("records are found by revision until they are flushed", "[engine][window]") {
  Random random(TestSeed());
  const auto allocator = MakeAllocator();
  {
    Window window({.chunk_bytes = 2000}, allocator.get());
    std::vector<RecordRef> all;
    size_t flushed = 0;        // records that left
    std::vector<size_t> ends;  // of taken chunks, as counts of records
    std::deque<std::shared_ptr<const FlushChunk>> taken;
    size_t in_chunks = 0;
    uint64_t index = 0;
    for (int64_t main = 2; main < 3000; ++main) {
      const int subs = static_cast<int>(1 + random.Below(4));
      for (int sub = 0; sub < subs; ++sub) {
        const auto size = static_cast<uint32_t>(1 + random.Below(200));
        Add(&window, {main, sub}, size);
        all.push_back({{main, sub}, size, RecordKind::kPut});
      }
      if (random.OneIn(9)) {  // a chunk may hold deletions alone
        window.Delete(kv::Table::kKey, "x");
        window.EndStep();
      }
      window.EndEntry(LogIndex(++index), Term(3));
      for (auto& chunk :
           window.TakeSealed(random.OneIn(20) ? Engine::Seal::kNow : Engine::Seal::kFullOnly)) {
        in_chunks += static_cast<const WindowChunk&>(*chunk).records().size();
        ends.push_back(in_chunks);
        taken.push_back(std::move(chunk));
      }
      if (!taken.empty() && random.OneIn(4)) {
        flushed = ends[ends.size() - taken.size()];
        window.Flushed(taken.front()->sequence());
        taken.pop_front();
      }
      window.Verify();
      const size_t i = random.Below(all.size());
      const auto found = window.Find(all[i].revision);
      REQUIRE(found.has_value() == (i >= flushed));
      if (found) REQUIRE(found->kv == Content(all[i].revision, all[i].kv_bytes));
      REQUIRE_FALSE(window.Find({all[i].revision.main, 9}));
      REQUIRE_FALSE(window.Find({main + 1, 0}));
    }
  }
  REQUIRE(allocator->Stats().bytes_in_use == 0);
}

TEST_CASE("a chunk carries whole entries and the applied index", "[engine][window]") {
  const auto allocator = MakeAllocator();
  Window window({.chunk_bytes = 300}, allocator.get());
  for (int sub = 0; sub < 10; ++sub) Add(&window, {2, sub}, 100);  // above the limit, not cut
  window.EndEntry(LogIndex(1), Term(7));
  const auto chunks = window.TakeSealed(Engine::Seal::kFullOnly);
  REQUIRE(chunks.size() == 1);
  REQUIRE(chunks[0]->applied_index() == LogIndex(1));
  REQUIRE(chunks[0]->ops().size() == 12);
  const kv::WriteOp& index = chunks[0]->ops()[10];
  REQUIRE(index.table == kv::Table::kMeta);
  REQUIRE(index.key == "consistent_index");
  REQUIRE(index.value_or_end == std::string_view("\0\0\0\0\0\0\0\1", 8));
  REQUIRE(chunks[0]->ops()[11].key == "term");
  REQUIRE(chunks[0]->ops()[11].value_or_end == std::string_view("\0\0\0\0\0\0\0\7", 8));
  // Nothing new: nothing to flush. An entry without changes is worth its index.
  REQUIRE(window.TakeSealed(Engine::Seal::kNow).empty());
  window.EndEntry(LogIndex(2), Term(7));
  REQUIRE(window.TakeSealed(Engine::Seal::kFullOnly).empty());
  const auto empty = window.TakeSealed(Engine::Seal::kNow);
  REQUIRE(empty.size() == 1);
  REQUIRE(empty[0]->applied_index() == LogIndex(2));
}

TEST_CASE("a pinned chunk outlives its flush, an unpinned one does not", "[engine][window]") {
  const auto allocator = MakeAllocator();
  Window window({.chunk_bytes = 1000}, allocator.get());
  const uint64_t idle = allocator->Stats().bytes_in_use;
  Add(&window, {2, 0}, 5000);
  const std::string_view kv = window.Find({2, 0})->kv;
  std::shared_ptr<const void> pin = *window.Find({2, 0})->chunk;
  window.EndEntry(LogIndex(1), Term(1));
  {
    const auto chunks = window.TakeSealed(Engine::Seal::kNow);
    window.Flushed(chunks[0]->sequence());
  }
  REQUIRE(window.bytes() == 0);
  REQUIRE_FALSE(window.Find({2, 0}));
  REQUIRE(kv == Content({2, 0}, 5000));
  REQUIRE(allocator->Stats().bytes_in_use >= idle + 5000);
  pin.reset();
  REQUIRE(allocator->Stats().bytes_in_use <= idle);
}

}  // namespace
}  // namespace quorate::engine
