// Every backend beside the trivial model: random batches with reopening and reclaiming in between,
// and readers beside the writer.
#include <atomic>
#include <thread>

#include "backends/kv/kv_test_util.h"
#include "base/test_seed.h"

namespace quorate::kv {
namespace {

void CheckReads(TestStore& store, Model& model, Random& random) {
  const auto table = static_cast<Table>(random.Below(kTableCount));
  std::vector<std::string> keys;
  for (const auto& [key, value] : model.table(table)) {
    if (keys.size() < 20 && random.OneIn(3)) keys.push_back(key);
  }
  keys.push_back("not there");
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  REQUIRE_OK(store->Read(table, views, [&](size_t i, std::optional<std::string_view> value) {
    const auto found = model.table(table).find(keys[i]);
    REQUIRE(value.has_value() == (found != model.table(table).end()));
    if (value.has_value()) REQUIRE(*value == found->second);
  }));
}

TEST_CASE("tens of thousands of random changes, in lockstep with the model", "[model]") {
  TestStore store(AnyBackend());
  Random random(TestSeed());
  BatchSource source(random);
  Model model;
  Model snapshot_model;
  std::unique_ptr<KvSnapshot> snapshot;
  bool reclaiming = false;
  for (int step = 0; step < 600; ++step) {
    const std::vector<OwnedOp> ops = source.Next(random.OneIn(20) ? 400 : 40);
    REQUIRE_OK(WriteOps(*store, ops));
    for (const OwnedOp& op : ops) model.Apply(op);
    CheckReads(store, model, random);
    if (random.OneIn(20)) {
      snapshot = MustSnapshot(*store);
      snapshot_model = model;
    }
    if (snapshot != nullptr && random.OneIn(10)) {
      REQUIRE(ReadModel(*snapshot) == snapshot_model);
      snapshot.reset();
    }
    if (random.OneIn(10)) REQUIRE_OK(store->Sync());
    if (random.OneIn(40)) REQUIRE_OK(ReclaimAll(*store));
    // Others go on while batches are written, for as long as it takes.
    reclaiming = reclaiming || random.OneIn(40);
    if (reclaiming && random.OneIn(2)) {
      const auto progress = store->ReclaimStep();
      REQUIRE_OK(progress.status());
      reclaiming = *progress == ReclaimProgress::kMore;
    }
    if (random.OneIn(40)) REQUIRE(ReadModel(*store) == model);
    if (random.OneIn(40)) {
      snapshot.reset();
      REQUIRE_OK(store->Sync());
      store.Reopen();
      REQUIRE(ReadModel(*store) == model);
    }
  }
  CHECK(ReadModel(*store) == model);
}

// The writer sets all of `keys` to one number per batch and, in another table, deletes and puts so
// that exactly one key is there.
TEST_CASE("readers beside the writer see whole batches and never go back", "[model]") {
  TestStore store(AnyBackend());
  constexpr int kKeys = 8;
  std::vector<std::string> keys;
  for (int i = 0; i < kKeys; ++i) keys.push_back(BatchSource::Key(i * 1000));
  const auto batch_for = [&](int number) {
    std::vector<OwnedOp> ops;
    for (const std::string& key : keys) {
      ops.push_back(PutOp(Table::kKey, key, std::to_string(number) + std::string(300, '.')));
    }
    ops.push_back(DeleteRangeOp(Table::kLease, {}, {}));
    ops.push_back(PutOp(Table::kLease, BatchSource::Key(number), std::to_string(number)));
    return ops;
  };
  REQUIRE_OK(WriteOps(*store, batch_for(0)));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<int> looks{0};
  const auto reader = [&](uint64_t seed) {
    Random random(seed);
    int newest = 0;
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    while (!stop) {
      std::vector<int> numbers;
      const auto take = [&](std::string_view value) {
        numbers.push_back(std::atoi(std::string(value.substr(0, value.find('.'))).c_str()));
      };
      bool failed = false;
      if (random.OneIn(2)) {
        failed = !store
                      ->Read(Table::kKey, views,
                             [&](size_t, std::optional<std::string_view> value) {
                               take(value.value_or("-1."));
                             })
                      .ok();
      } else {
        auto snapshot = store->NewSnapshot();
        failed = !snapshot.ok();
        const auto visit = [&](std::string_view, std::string_view value) {
          take(value);
          return true;
        };
        if (!failed) {
          failed = !(*snapshot)->Scan(Table::kKey, {}, {}, visit).ok() ||
                   !(*snapshot)->Scan(Table::kLease, {}, {}, visit).ok();
          failed = failed || numbers.size() != kKeys + 1;
        }
      }
      for (const int number : numbers) failed = failed || number != numbers.front();
      failed = failed || numbers.empty() || numbers.front() < newest;
      if (failed) ++wrong;
      if (!numbers.empty()) newest = numbers.front();
      ++looks;
    }
  };
  std::thread one(reader, 1);
  std::thread two(reader, 2);
  absl::Status status;
  for (int number = 1; status.ok() && (number < 300 || looks < 300); ++number) {
    status = WriteOps(*store, batch_for(number));
    if (status.ok() && number % 50 == 0) status = store->Sync();
    if (status.ok() && number % 100 == 0) status = ReclaimAll(*store);
  }
  stop = true;
  one.join();
  two.join();
  REQUIRE_OK(status);
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace quorate::kv
