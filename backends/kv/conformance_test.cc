// What KvBackend promises, asked of every row of the registry.
#include "backends/kv/kv_test_util.h"

namespace quorate::kv {
namespace {

TEST_CASE("batches apply all their changes in order and are visible at once", "[conformance]") {
  TestStore store(AnyBackend());
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "a", "1"), PutOp(Table::kKey, "a", "2"),
                               PutOp(Table::kKey, "b", "1"), DeleteOp(Table::kKey, "b"),
                               DeleteOp(Table::kKey, "c"), PutOp(Table::kKey, "c", "3")}));
  CHECK(ReadOne(*store, Table::kKey, "a") == "2");
  CHECK(ReadOne(*store, Table::kKey, "b") == std::nullopt);
  CHECK(ReadOne(*store, Table::kKey, "c") == "3");
  REQUIRE_OK(WriteOps(*store, {DeleteOp(Table::kKey, "a"), PutOp(Table::kKey, "c", "4")}));
  CHECK(ScanLatest(*store, Table::kKey) == Pairs{{"c", "4"}});
  REQUIRE_OK(store->Write({}));
  CHECK(ScanLatest(*store, Table::kKey) == Pairs{{"c", "4"}});
}

TEST_CASE("a range delete and a put of one batch keep their order", "[conformance]") {
  TestStore store(AnyBackend());
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "a", "1"), PutOp(Table::kKey, "b", "1")}));
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "c", "2"), DeleteRangeOp(Table::kKey, "a", "d"),
                               PutOp(Table::kKey, "b", "3")}));
  CHECK(ScanLatest(*store, Table::kKey) == Pairs{{"b", "3"}});
}

TEST_CASE("reads answer for every key with its index, the missing ones too", "[conformance]") {
  TestStore store(AnyBackend());
  std::vector<OwnedOp> ops;
  for (int i = 0; i < 300; i += 2) ops.push_back(PutOp(Table::kKey, BatchSource::Key(i), "v"));
  REQUIRE_OK(WriteOps(*store, ops));
  std::vector<std::string> keys;
  for (int i = 299; i >= 0; --i) keys.push_back(BatchSource::Key(i));
  keys.push_back(BatchSource::Key(10));  // a second time
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::vector<int> seen(keys.size(), 0);
  REQUIRE_OK(store->Read(Table::kKey, views, [&](size_t i, std::optional<std::string_view> value) {
    seen[i] += value.has_value() ? 1 : 2;
  }));
  for (size_t i = 0; i < 300; ++i) CHECK(seen[i] == (i % 2 == 1 ? 1 : 2));
  CHECK(seen[300] == 1);
}

TEST_CASE("tables are apart from each other", "[conformance]") {
  TestStore store(AnyBackend());
  for (size_t i = 0; i < kTableCount; ++i) {
    REQUIRE_OK(WriteOps(*store, {PutOp(static_cast<Table>(i), "k", std::to_string(i))}));
  }
  REQUIRE_OK(WriteOps(*store, {DeleteRangeOp(Table::kKey, {}, {}), DeleteOp(Table::kAuth, "k")}));
  for (size_t i = 0; i < kTableCount; ++i) {
    const auto table = static_cast<Table>(i);
    const bool gone = table == Table::kKey || table == Table::kAuth;
    CHECK(ScanLatest(*store, table) == (gone ? Pairs{} : Pairs{{"k", std::to_string(i)}}));
  }
}

TEST_CASE("scans keep to their bounds and stop when told", "[conformance]") {
  TestStore store(AnyBackend());
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kLease, "b", "1"), PutOp(Table::kLease, "d", "2"),
                               PutOp(Table::kLease, std::string("d\0", 2), "3"),
                               PutOp(Table::kLease, "\xff\xff", "4")}));
  const std::string d0("d\0", 2);
  CHECK(ScanLatest(*store, Table::kLease) ==
        Pairs{{"b", "1"}, {"d", "2"}, {d0, "3"}, {"\xff\xff", "4"}});
  CHECK(ScanLatest(*store, Table::kLease, "b", "d") == Pairs{{"b", "1"}});
  CHECK(ScanLatest(*store, Table::kLease, "c", d0) == Pairs{{"d", "2"}});
  CHECK(ScanLatest(*store, Table::kLease, d0, {}) == Pairs{{d0, "3"}, {"\xff\xff", "4"}});
  CHECK(ScanLatest(*store, Table::kLease, {}, "b") == Pairs{});
  CHECK(ScanLatest(*store, Table::kLease, "x", "c") == Pairs{});
  CHECK(ScanLatest(*store, Table::kMeta) == Pairs{});
  int visits = 0;
  REQUIRE_OK(MustSnapshot(*store)->Scan(
      Table::kLease, {}, {}, [&](std::string_view, std::string_view) { return ++visits < 2; }));
  CHECK(visits == 2);
}

TEST_CASE("a snapshot outlives later writes, deletes and reclaim", "[conformance]") {
  TestStore store(AnyBackend());
  std::vector<OwnedOp> ops;
  for (int i = 0; i < 2000; ++i) {
    ops.push_back(PutOp(Table::kKey, BatchSource::Key(i), std::string(100, 'v')));
  }
  REQUIRE_OK(WriteOps(*store, ops));
  const auto before = MustSnapshot(*store);
  const auto second = MustSnapshot(*store);
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, BatchSource::Key(7), "new"),
                               DeleteRangeOp(Table::kKey, BatchSource::Key(100), {}),
                               PutOp(Table::kMeta, "m", "1")}));
  REQUIRE_OK(store->Sync());
  REQUIRE_OK(ReclaimAll(*store));
  REQUIRE_OK(WriteOps(*store, {DeleteRangeOp(Table::kKey, {}, {})}));
  const Pairs old = ScanAll(*before, Table::kKey);
  REQUIRE(old.size() == 2000);
  for (const auto& [key, value] : old) CHECK(value == std::string(100, 'v'));
  CHECK(ScanAll(*before, Table::kMeta).empty());
  CHECK(ScanAll(*second, Table::kKey) == old);
  CHECK(ScanLatest(*store, Table::kKey).empty());
}

TEST_CASE("what was synced is there after reopening", "[conformance]") {
  TestStore store(AnyBackend());
  const std::string large(1'500'000, 'x');
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "empty", ""), PutOp(Table::kKey, "large", large),
                               PutOp(Table::kKey, "gone", "1"), PutOp(Table::kMeta, "m", "1")}));
  REQUIRE_OK(WriteOps(*store, {DeleteOp(Table::kKey, "gone")}));
  REQUIRE_OK(store->Sync());
  REQUIRE_OK(store->Sync());
  store.Reopen();
  CHECK(ReadOne(*store, Table::kKey, "empty") == "");
  CHECK(ReadOne(*store, Table::kKey, "large") == large);
  CHECK(ReadOne(*store, Table::kKey, "gone") == std::nullopt);
  CHECK(ReadOne(*store, Table::kMeta, "m") == "1");
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kMeta, "m", "2")}));
  REQUIRE_OK(store->Sync());
  store.Reopen();
  CHECK(ReadOne(*store, Table::kMeta, "m") == "2");
  CHECK(ScanLatest(*store, Table::kKey).size() == 2);
}

TEST_CASE("keys may be long", "[conformance]") {
  TestStore store(AnyBackend());
  // Around LMDB's own bound of 511 bytes, with neighbours that differ only behind it.
  const std::string stem(510, 'k');
  std::vector<std::string> keys = {stem,          stem + "a", stem + "ab",
                                   stem + "ac",   stem + "b", stem + std::string(3000, 'c'),
                                   stem.substr(1)};
  std::vector<OwnedOp> ops;
  Model model;
  for (const std::string& key : keys) ops.push_back(PutOp(Table::kAuthUsers, key, key + "!"));
  ops.push_back(PutOp(Table::kAuthUsers, stem + "ab", "again"));
  for (const OwnedOp& op : ops) model.Apply(op);
  REQUIRE_OK(WriteOps(*store, ops));
  REQUIRE_OK(store->Sync());
  store.Reopen();
  CHECK(ReadModel(*store) == model);
  for (const std::string& key : keys) {
    CHECK(ReadOne(*store, Table::kAuthUsers, key) == model.table(Table::kAuthUsers)[key]);
  }
  CHECK(ReadOne(*store, Table::kAuthUsers, stem + "abc") == std::nullopt);
  CHECK(ScanLatest(*store, Table::kAuthUsers, stem + "ab", stem + "b").size() == 2);
  const std::vector<OwnedOp> removals = {DeleteOp(Table::kAuthUsers, stem + "ab"),
                                         DeleteOp(Table::kAuthUsers, stem + "abc"),
                                         DeleteRangeOp(Table::kAuthUsers, stem + "aba", stem + "b"),
                                         DeleteRangeOp(Table::kAuthUsers, stem + "cc", {})};
  for (const OwnedOp& op : removals) {
    model.Apply(op);
    REQUIRE_OK(WriteOps(*store, {op}));
    REQUIRE_OK(store->Sync());
    CHECK(ReadModel(*store) == model);
  }
}

TEST_CASE("a batch that cannot be stored is refused as a whole", "[conformance]") {
  TestStore store(AnyBackend());
  const absl::Status status =
      WriteOps(*store, {PutOp(Table::kKey, "a", "1"), PutOp(Table::kLease, "", "1")});
  CHECK(absl::IsInvalidArgument(status));
  CHECK(std::string(status.message()).find("lease") != std::string::npos);
  CHECK(ScanLatest(*store, Table::kKey).empty());
  // It was the caller's mistake; the backend goes on.
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "a", "1")}));
  CHECK(ReadOne(*store, Table::kKey, "") == std::nullopt);
}

TEST_CASE("sizes start small, grow with content and shrink by reclaim", "[conformance]") {
  TestStore store(AnyBackend());
  REQUIRE_OK(store->Sync());
  // etcd's quota tests set 53,248 bytes and expect room for something.
  CHECK(store->Sizes().on_disk < 53'248 / 2);
  Random random(7);
  Model model;
  for (int batch = 0; batch < 20; ++batch) {
    std::vector<OwnedOp> ops;
    for (int i = 0; i < 500; ++i) {
      std::string value(200, '\0');
      for (char& c : value) c = static_cast<char>(random.Next());
      ops.push_back(PutOp(Table::kKey, BatchSource::Key(batch * 500 + i), std::move(value)));
    }
    for (const OwnedOp& op : ops) model.Apply(op);
    REQUIRE_OK(WriteOps(*store, ops));
    const uint64_t written = (batch + 1) * 500 * 217;
    // RocksDB leaves out the last batch when that made a memtable overflow.
    CHECK(store->Sizes().on_disk >= (written - 500 * 217) * 95 / 100);
    CHECK(store->Sizes().on_disk <= written * 3 + 50'000);
    CHECK(store->Sizes().in_use <= store->Sizes().on_disk);
  }
  REQUIRE_OK(store->Sync());
  const uint64_t payload = 10'000 * 217;
  const KvSizes full = store->Sizes();
  CHECK(full.on_disk >= payload * 95 / 100);
  CHECK(full.on_disk <= payload * 3);
  CHECK(full.in_use >= payload * 90 / 100);
  CHECK(full.in_use <= full.on_disk);

  const std::vector<OwnedOp> removal = {
      DeleteRangeOp(Table::kKey, BatchSource::Key(0), BatchSource::Key(9000))};
  model.Apply(removal[0]);
  REQUIRE_OK(WriteOps(*store, removal));
  REQUIRE_OK(store->Sync());
  REQUIRE_OK(ReclaimAll(*store));
  const KvSizes reclaimed = store->Sizes();
  CHECK(reclaimed.on_disk < full.on_disk / 4);
  CHECK(reclaimed.in_use < full.in_use / 4);
  CHECK(ReadModel(*store) == model);
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kMeta, "after", "reclaim")}));
  REQUIRE_OK(store->Sync());
  store.Reopen();
  model.table(Table::kMeta)["after"] = "reclaim";
  CHECK(ReadModel(*store) == model);
  CHECK(store->Sizes().on_disk < full.on_disk / 4);
}

TEST_CASE("reclaim keeps writes that were never synced", "[conformance]") {
  TestStore store(AnyBackend());
  REQUIRE_OK(WriteOps(*store, {PutOp(Table::kKey, "a", "1"), PutOp(Table::kKey, "b", "1")}));
  REQUIRE_OK(WriteOps(*store, {DeleteOp(Table::kKey, "a")}));
  REQUIRE_OK(ReclaimAll(*store));
  CHECK(ScanLatest(*store, Table::kKey) == Pairs{{"b", "1"}});
  REQUIRE_OK(ReclaimAll(*store));
  REQUIRE_OK(store->Sync());
  store.Reopen();
  CHECK(ScanLatest(*store, Table::kKey) == Pairs{{"b", "1"}});
}

TEST_CASE("writes go on between the steps of a reclaim and are kept", "[conformance]") {
  TestStore store(AnyBackend());
  Model model;
  const auto write = [&](const std::vector<OwnedOp>& ops) {
    for (const OwnedOp& op : ops) model.Apply(op);
    REQUIRE_OK(WriteOps(*store, ops));
  };
  // More than one step copies; keys that LMDB keeps in lists, too.
  for (int i = 0; i < 24'000; i += 200) {
    std::vector<OwnedOp> ops;
    for (int k = i; k < i + 200; ++k) {
      ops.push_back(PutOp(Table::kKey, BatchSource::Key(k), std::string(400, 'v')));
    }
    ops.push_back(PutOp(Table::kLease, std::string(600, 'l') + std::to_string(i), "long"));
    write(ops);
  }
  write({DeleteRangeOp(Table::kKey, BatchSource::Key(6000), BatchSource::Key(12'000))});
  REQUIRE_OK(store->Sync());
  const uint64_t full = store->Sizes().on_disk;
  auto before = MustSnapshot(*store);
  const Model model_before = model;
  Random random(5);
  int steps = 0;
  for (bool more = true; more; ++steps) {
    const auto progress = store->ReclaimStep();
    REQUIRE_OK(progress.status());
    more = *progress == ReclaimProgress::kMore;
    std::vector<OwnedOp> ops;
    for (int i = 0; i < 40; ++i) {  // anywhere: where it has been and where it has not
      const auto number = static_cast<int>(random.Below(26'000));
      ops.push_back(i % 3 == 0 ? DeleteOp(Table::kKey, BatchSource::Key(number))
                               : PutOp(Table::kKey, BatchSource::Key(number), "changed"));
    }
    ops.push_back(DeleteOp(Table::kLease, std::string(600, 'l') + std::to_string(steps * 200)));
    ops.push_back(PutOp(Table::kMeta, "step", std::to_string(steps)));
    if (steps < 1000) write(ops);
    if (steps % 2 == 1) REQUIRE_OK(store->Sync());
  }
  CHECK(ReadModel(*store) == model);
  CHECK(ReadModel(*before) == model_before);
  before.reset();
  REQUIRE_OK(store->Sync());
  store.Reopen();
  CHECK(ReadModel(*store) == model);
  CHECK(store->Sizes().on_disk < full);
}

TEST_CASE("a reclaim that is not finished is forgotten when the backend closes", "[conformance]") {
  TestStore store(AnyBackend());
  Model model;
  for (int i = 0; i < 40; ++i) {
    std::vector<OwnedOp> ops;
    for (int k = 0; k < 200; ++k) {
      ops.push_back(PutOp(Table::kKey, BatchSource::Key(i * 200 + k), std::string(400, 'v')));
    }
    for (const OwnedOp& op : ops) model.Apply(op);
    REQUIRE_OK(WriteOps(*store, ops));
  }
  REQUIRE_OK(store->Sync());
  REQUIRE_OK(store->ReclaimStep().status());
  store.Reopen();
  CHECK(ReadModel(*store) == model);
  REQUIRE_OK(ReclaimAll(*store));
  CHECK(ReadModel(*store) == model);
}

TEST_CASE("traits name the row", "[conformance]") {
  std::vector<std::string> names;
  for (const KvBackendRow& row : KvBackendRegistry()) names.emplace_back(row.traits.name);
  CHECK(names == std::vector<std::string>{"memory", "lmdb", "rocksdb"});
  for (const KvBackendRow& row : KvBackendRegistry()) {
    TestStore store{std::string(row.traits.name)};
    CHECK(store->traits().name == row.traits.name);
    CHECK(!row.traits.summary.empty());
    CHECK(store->traits().data_in_memory == row.traits.data_in_memory);
  }
  const auto unknown = OpenKvBackend("bolt", KvOptions());
  CHECK(absl::IsInvalidArgument(unknown.status()));
  const std::string text(unknown.status().message());
  for (const KvBackendRow& row : KvBackendRegistry()) {
    CHECK(text.find(row.traits.name) != std::string::npos);
  }
}

TEST_CASE("table names are etcd's buckets, in their order", "[conformance]") {
  for (size_t i = 1; i < kTableCount; ++i) {
    CHECK(TableName(static_cast<Table>(i - 1)) < TableName(static_cast<Table>(i)));
  }
  CHECK(TableName(Table::kMembersRemoved) == "members_removed");
}

}  // namespace
}  // namespace quorate::kv
