// The ordered tree and its versions: structure under random changes, frugality, and that nothing is
// leaked or freed too early.
#include "backends/kv/ordered_tree.h"

#include "backends/kv/kv_test_util.h"
#include "backends/kv/table_set.h"
#include "base/test_seed.h"

namespace quorate::kv {
namespace {

// Counts what is in use; with the sanitizers it also finds use after free.
class CountingAllocator final : public Allocator {
 public:
  void* Allocate(size_t size) override {
    bytes += size;
    ++allocations;
    return ::operator new(size);
  }
  void Free(void* memory, size_t size) override {
    bytes -= size;
    ::operator delete(memory);
  }
  AllocatorStats Stats() const override { return {}; }
  std::string_view name() const override { return "counting"; }

  size_t bytes = 0;
  size_t allocations = 0;
};

void CheckAgainst(const TableSet& tables, Model& model) {
  const TableSet::Pin pin = tables.PinLatest();
  int64_t records = 0;
  int64_t payload = 0;
  for (size_t i = 0; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    TreeVerify(pin->root(table));
    auto expected = model.table(table).begin();
    TreeScan(pin->root(table), {}, {}, [&](std::string_view key, std::string_view value) {
      REQUIRE(expected != model.table(table).end());
      REQUIRE(key == expected->first);
      REQUIRE(value == expected->second);
      ++expected;
      ++records;
      payload += static_cast<int64_t>(key.size() + value.size());
      return true;
    });
    REQUIRE(expected == model.table(table).end());
  }
  REQUIRE(tables.totals().records == records);
  REQUIRE(tables.totals().payload_bytes == payload);
}

TEST_CASE("the tree stays in order through random changes and leaks nothing", "[tree]") {
  CountingAllocator allocator;
  Random random(TestSeed() + 2);
  {
    TableSet tables(&allocator);
    BatchSource source(random);
    Model model;
    std::vector<TableSet::Pin> pins;
    for (int step = 0; step < 1500; ++step) {
      tables.Begin();
      for (const OwnedOp& op : source.Next(random.OneIn(10) ? 300 : 20)) {
        tables.Apply({op.kind, op.table, op.key, op.value_or_end});
        model.Apply(op);
      }
      tables.Commit();
      if (random.OneIn(20)) pins.push_back(tables.PinLatest());
      if (!pins.empty() && random.OneIn(20)) pins.erase(pins.begin());
      if (random.OneIn(20)) CheckAgainst(tables, model);
    }
    CheckAgainst(tables, model);
    pins.clear();
    tables.Begin();
    tables.Clear();
    tables.Commit();
    CHECK(tables.totals().records == 0);
    CHECK(tables.totals().payload_bytes == 0);
    CHECK(allocator.bytes == 0);
  }
  CHECK(allocator.bytes == 0);
}

TEST_CASE("keys in any order, also above one node per level", "[tree]") {
  CountingAllocator allocator;
  TableSet tables(&allocator);
  Random random(TestSeed() + 3);
  Model model;
  const std::string order = GENERATE("up", "down", "random");
  std::vector<uint64_t> numbers(30'000);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = order == "down" ? numbers.size() - i : i;
  if (order == "random") std::shuffle(numbers.begin(), numbers.end(), random);
  for (size_t i = 0; i < numbers.size(); i += 1000) {
    tables.Begin();
    for (size_t k = i; k < i + 1000; ++k) {
      const OwnedOp op = PutOp(Table::kKey, BatchSource::Key(numbers[k]), std::string(60, 'v'));
      tables.Put(op.table, op.key, op.value_or_end);
      model.Apply(op);
    }
    tables.Commit();
  }
  CheckAgainst(tables, model);
  // Thin out: two of three go, in random order, then a wide range.
  std::shuffle(numbers.begin(), numbers.end(), random);
  tables.Begin();
  for (size_t i = 0; i < 20'000; ++i) {
    const OwnedOp op = DeleteOp(Table::kKey, BatchSource::Key(numbers[i]));
    tables.Delete(op.table, op.key);
    model.Apply(op);
  }
  tables.Commit();
  CheckAgainst(tables, model);
  CHECK(allocator.bytes < 3 * 10'000 * (17 + 60));
  tables.Begin();
  const OwnedOp op = DeleteRangeOp(Table::kKey, BatchSource::Key(2000), BatchSource::Key(28'000));
  tables.Apply({op.kind, op.table, op.key, op.value_or_end});
  model.Apply(op);
  tables.Commit();
  CheckAgainst(tables, model);
}

TEST_CASE("records appended in order take little more than their bytes", "[tree]") {
  CountingAllocator allocator;
  TableSet tables(&allocator);
  const size_t records = 20'000;
  const std::string value(300, 'v');
  for (size_t i = 0; i < records; i += 100) {
    tables.Begin();
    for (size_t k = i; k < i + 100; ++k) tables.Put(Table::kKey, BatchSource::Key(k), value);
    tables.Commit();
  }
  CHECK(allocator.bytes < records * (17 + 300) * 110 / 100);
  // Each batch copies the path to the right edge once; no allocation for each record.
  CHECK(allocator.allocations < records / 10);
}

TEST_CASE("memory of replaced nodes comes back as soon as nobody can see them", "[tree]") {
  CountingAllocator allocator;
  TableSet tables(&allocator);
  const auto fill = [&](char c) {
    tables.Begin();
    for (int i = 0; i < 2000; ++i) {
      tables.Put(Table::kKey, BatchSource::Key(i), std::string(100, c));
    }
    tables.Commit();
  };
  fill('a');
  const size_t once = allocator.bytes;
  {
    const TableSet::Pin pin = tables.PinLatest();
    fill('b');
    fill('c');
    CHECK(allocator.bytes > once * 2);
    CHECK(TreeFind(pin->root(Table::kKey), BatchSource::Key(1)) == std::string(100, 'a'));
  }
  tables.Collect();
  CHECK(allocator.bytes < once * 5 / 4);
}

}  // namespace
}  // namespace quorate::kv
