#include "engine/mvcc/key_index.h"

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::engine {
namespace {

std::unique_ptr<Allocator> MakeAllocator() { return *CreateAllocator("malloc", {}); }

struct ModelRecord {
  RecordRef ref;
  bool operator==(const ModelRecord& other) const { return ref.revision == other.ref.revision; }
};

// Every key's records, and the questions answered by looking at all of them.
class Model {
 public:
  void Add(const std::string& key, const RecordRef& ref) { history_[key].push_back(ref); }

  static std::optional<RecordRef> LiveAt(const std::vector<RecordRef>& records, int64_t main) {
    std::optional<RecordRef> found;
    for (const RecordRef& ref : records) {
      if (ref.revision.main <= main) found = ref;
    }
    if (found && found->kind == RecordKind::kTombstone) found.reset();
    return found;
  }

  LiveSums SumsAt(const KeyInterval& interval, int64_t main, uint64_t keys_max) const {
    LiveSums sums;
    for (const auto& [key, records] : history_) {
      const auto ref = LiveAt(records, main);
      if (!interval.Contains(key) || !ref || sums.keys == keys_max) continue;
      sums += {1, FramedKvBytes(ref->kv_bytes)};
    }
    return sums;
  }

  // What a compaction at `main` drops, by the rule as it is written down.
  std::vector<Revision> Compact(int64_t main) {
    std::vector<Revision> dropped;
    for (auto it = history_.begin(); it != history_.end();) {
      std::vector<RecordRef> kept;
      for (size_t i = 0; i < it->second.size(); ++i) {
        const RecordRef& ref = it->second[i];
        const bool last = i + 1 == it->second.size() || it->second[i + 1].revision.main > main;
        const bool keep = ref.revision.main > main ||
                          (ref.kind == RecordKind::kTombstone ? ref.revision.main == main : last);
        if (keep) {
          kept.push_back(ref);
        } else {
          dropped.push_back(ref.revision);
        }
      }
      it->second = kept;
      it = kept.empty() ? history_.erase(it) : std::next(it);
    }
    std::sort(dropped.begin(), dropped.end());
    return dropped;
  }

  bool Lives(const std::string& key) const {
    const auto it = history_.find(key);
    return it != history_.end() && it->second.back().kind == RecordKind::kPut;
  }
  const std::map<std::string, std::vector<RecordRef>>& history() const { return history_; }

 private:
  std::map<std::string, std::vector<RecordRef>> history_;
};

std::string RandomKey(Random& random, uint64_t keys) {
  const uint64_t number = random.Below(keys);
  switch (number % 4) {
    case 0:
      return StrCat("/registry/pods/default/pod-", number);
    case 1:
      return StrCat("/registry/leases/a-long-namespace-that-fills-the-shared-prefix-of-nodes/",
                    number);
    case 2:
      return std::string(number % 7 + 1, '\0') + std::to_string(number % 3);
    default:
      return StrCat(number % 10, "k", number);
  }
}

KeyInterval RandomInterval(Random& random, uint64_t keys, std::string* begin, std::string* end) {
  *begin = RandomKey(random, keys);
  *end = RandomKey(random, keys);
  if (random.OneIn(4)) end->clear();
  if (random.OneIn(6)) end->assign(1, '\0');
  if (random.OneIn(10)) begin->assign(1, '\0');
  return KeyInterval::Of(*begin, *end);
}

class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed), allocator_(MakeAllocator()) {
    index_ = std::make_unique<KeyIndex>(allocator_.get());
  }

  void Change(uint64_t keys) {
    ++main_;
    const int changes = static_cast<int>(1 + random_.Below(3));
    for (int sub = 0; sub < changes; ++sub) {
      const std::string key = RandomKey(random_, keys);
      RecordRef ref{{main_, sub}, static_cast<uint32_t>(1 + random_.Below(300)), RecordKind::kPut};
      if (model_.Lives(key) && random_.OneIn(3)) ref.kind = RecordKind::kTombstone;
      index_->Add(key, ref, {.create_revision = 1, .version = 1});
      model_.Add(key, ref);
    }
  }

  void Compare(uint64_t keys) {
    std::string begin, end;
    const KeyInterval interval = RandomInterval(random_, keys, &begin, &end);
    const int64_t main = random_.OneIn(3)
                             ? kNewest
                             : compacted_ + static_cast<int64_t>(random_.Below(
                                                static_cast<uint64_t>(main_ - compacted_ + 2)));
    REQUIRE(index_->SumsAt(interval, main) == model_.SumsAt(interval, main, UINT64_MAX));
    const uint64_t limit = random_.Below(20);
    REQUIRE(index_->FirstAt(interval, main, limit) == model_.SumsAt(interval, main, limit));
    std::vector<Revision> walked, expected;
    index_->Walk(interval, [&](const KeyEntry& entry) {
      if (const auto ref = entry.LiveAt(main)) walked.push_back(ref->revision);
      return true;
    });
    for (const auto& [key, records] : model_.history()) {
      const auto ref = Model::LiveAt(records, main);
      if (interval.Contains(key) && ref) expected.push_back(ref->revision);
    }
    REQUIRE(walked == expected);
  }

  void Compact() {
    compacted_ +=
        static_cast<int64_t>(random_.Below(static_cast<uint64_t>(main_ - compacted_) + 1));
    std::vector<Revision> dropped;
    std::string resume;
    const uint32_t work = static_cast<uint32_t>(1 + random_.Below(50));
    while (index_->Compact(compacted_, work, &resume,
                           [&](const RecordRef& ref) { dropped.push_back(ref.revision); })) {
      index_->Verify();
    }
    std::sort(dropped.begin(), dropped.end());
    REQUIRE(dropped == model_.Compact(compacted_));
    REQUIRE(index_->entries() == model_.history().size());
  }

  void Verify() const { index_->Verify(); }
  Random& random() { return random_; }
  KeyIndex& index() { return *index_; }
  int64_t main() const { return main_; }
  AllocatorStats Drop() {
    index_.reset();
    return allocator_->Stats();
  }

 private:
  Random random_;
  std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<KeyIndex> index_;
  Model model_;
  int64_t main_ = 0;
  int64_t compacted_ = 0;
};

TEST_CASE("key index beside a model over changes, questions and compactions", "[engine][index]") {
  Pair pair(TestSeed());
  const uint64_t keys = GENERATE(20, 900, 6000);
  for (int step = 0; step < 6000; ++step) {
    pair.Change(keys);
    if (step % 20 == 0) pair.Compare(keys);
    if (step % 500 == 499) pair.Compact();
    if (step % 100 == 0) pair.Verify();
  }
  pair.Compact();
  pair.Verify();
  REQUIRE(pair.Drop().bytes_in_use == 0);
}

TEST_CASE("an index from which everything was compacted is empty and serves again",
          "[engine][index]") {
  const auto allocator = MakeAllocator();
  KeyIndex index(allocator.get());
  for (int round = 0; round < 3; ++round) {
    const int64_t main = round * 10 + 1;
    for (int i = 0; i < 5000; ++i) {
      index.Add(StrCat("key", i * 7919 % 5000), {{main, i}, 10, RecordKind::kPut}, {1, 1, 0});
    }
    index.Verify();
    REQUIRE(index.Total().keys == 5000);
    for (int i = 0; i < 5000; ++i) {
      index.Add(StrCat("key", i), {{main + 1, i}, 5, RecordKind::kTombstone}, {});
    }
    REQUIRE(index.Total() == LiveSums{});
    std::string resume;
    int slices = 0;
    uint64_t dropped = 0;
    while (index.Compact(main + 2, 100, &resume, [&](const RecordRef&) { ++dropped; })) ++slices;
    REQUIRE(dropped == 10000);
    REQUIRE(slices >= 99);
    REQUIRE(index.entries() == 0);
    index.Verify();
  }
}

TEST_CASE("compaction keeps the live value of a key made again in the compacted revision",
          "[engine][index]") {
  // etcd#22377: the deletion ends a generation at the compacted revision, and the put behind it in
  // the same transaction was taken for garbage.
  const auto allocator = MakeAllocator();
  KeyIndex index(allocator.get());
  index.Add("b", {{2, 0}, 10, RecordKind::kPut}, {2, 1, 0});
  index.Add("b", {{3, 0}, 3, RecordKind::kTombstone}, {});
  index.Add("b", {{3, 1}, 10, RecordKind::kPut}, {3, 1, 0});
  index.Add("b", {{4, 0}, 10, RecordKind::kPut}, {3, 2, 0});
  std::vector<Revision> dropped;
  std::string resume;
  REQUIRE_FALSE(index.Compact(3, 100, &resume,
                              [&](const RecordRef& ref) { dropped.push_back(ref.revision); }));
  REQUIRE(dropped == std::vector<Revision>{{2, 0}});
  REQUIRE(index.Find("b")->LiveAt(3)->revision == Revision{3, 1});
  index.Verify();
  // The next compaction has no use for the deletion any more.
  dropped.clear();
  resume.clear();
  index.Compact(4, 100, &resume, [&](const RecordRef& ref) { dropped.push_back(ref.revision); });
  REQUIRE(dropped == std::vector<Revision>{{3, 0}, {3, 1}});
  REQUIRE(index.superseded() == 0);
}

TEST_CASE("compaction work follows the garbage, not the keys", "[engine][index]") {
  const auto allocator = MakeAllocator();
  KeyIndex index(allocator.get());
  int64_t main = 1;
  for (int i = 0; i < 20000; ++i) {
    index.Add(StrCat("key", i), {{++main, 0}, 10, RecordKind::kPut}, {1, 1, 0});
  }
  for (int i = 0; i < 20000; i += 2000) {
    index.Add(StrCat("key", i), {{++main, 0}, 10, RecordKind::kPut}, {1, 2, 0});
  }
  std::string resume;
  uint64_t dropped = 0;
  // Ten keys with one record each to drop: 20 units of work are enough.
  REQUIRE_FALSE(index.Compact(main, 20, &resume, [&](const RecordRef&) { ++dropped; }));
  REQUIRE(dropped == 10);
}

TEST_CASE("a long history gives its memory back", "[engine][index]") {
  const auto allocator = MakeAllocator();
  KeyIndex index(allocator.get());
  for (int64_t main = 2; main < 100'002; ++main) {
    index.Add("hot", {{main, 0}, 10, RecordKind::kPut}, {2, main - 1, 0});
  }
  REQUIRE(allocator->Stats().bytes_in_use > 1'600'000);
  std::string resume;
  while (index.Compact(99'990, 1000, &resume, [](const RecordRef&) {})) {
  }
  REQUIRE(index.Find("hot")->older().size() == 11);
  REQUIRE(allocator->Stats().bytes_in_use < 10'000);
}

TEST_CASE("a million 16-byte keys take at most 100 MB", "[engine][index]") {
  const auto allocator = *CreateAllocator("arena", {});
  KeyIndex index(allocator.get());
  Random random(1);
  char key[17];
  for (int i = 0; i < 200'000; ++i) {
    snprintf(key, sizeof(key), "key-%012llx",
             static_cast<unsigned long long>(random.Next() & 0xffffffffffff));
    index.Add({key, 16}, {{i + 2, 0}, 300, RecordKind::kPut}, {i + 2, 1, 0});
  }
  REQUIRE(allocator->Stats().bytes_reserved <= 2 * (64 << 20));
  REQUIRE(allocator->Stats().bytes_in_use <= 100ull * index.entries());
}

}  // namespace
}  // namespace quorate::engine
