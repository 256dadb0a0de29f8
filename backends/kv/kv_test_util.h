// What the tests of this room share: a backend in its own folder, and the model it is compared to.
#pragma once

#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/random.h"
#include "base/temp_dir.h"

namespace quorate::kv {

#define REQUIRE_OK(expression)                           \
  do {                                                   \
    const absl::Status require_ok_status = (expression); \
    INFO(require_ok_status.ToString());                  \
    REQUIRE(require_ok_status.ok());                     \
  } while (false)

// Runs the rest of the test once for each backend of the registry.
inline std::string AnyBackend() {
  std::vector<std::string> names;
  for (const KvBackendRow& row : KvBackendRegistry()) names.emplace_back(row.traits.name);
  return GENERATE_COPY(from_range(names));
}

inline std::unique_ptr<KvBackend> MustOpen(std::string_view name, const KvOptions& options) {
  auto backend = OpenKvBackend(name, options);
  INFO(backend.status().ToString());
  REQUIRE(backend.ok());
  return std::move(*backend);
}

// A backend in a new folder, with small caches so that they overflow in a test.
class TestStore {
 public:
  explicit TestStore(std::string name) : name_(std::move(name)) {
    options_.dir = folder_.path() + "/kv";
    options_.map_bytes_max = uint64_t{1} << 30;
    options_.cache_bytes = 1 << 20;
    options_.memtable_bytes = 256 << 10;
    backend_ = MustOpen(name_, options_);
  }
  KvBackend* operator->() { return backend_.get(); }
  KvBackend& operator*() { return *backend_; }
  const KvOptions& options() const { return options_; }
  const std::string& name() const { return name_; }
  std::string SidePath(std::string_view name) const {
    return folder_.path() + "/" + std::string(name);
  }
  void Close() { backend_.reset(); }
  void Reopen() {
    Close();
    backend_ = MustOpen(name_, options_);
  }

 private:
  TempDir folder_;
  const std::string name_;
  KvOptions options_;
  std::unique_ptr<KvBackend> backend_;
};

// A change that owns its bytes.
struct OwnedOp {
  WriteOp::Kind kind = WriteOp::Kind::kPut;
  Table table = Table::kKey;
  std::string key;
  std::string value_or_end;
};

inline OwnedOp PutOp(Table table, std::string key, std::string value) {
  return {WriteOp::Kind::kPut, table, std::move(key), std::move(value)};
}
inline OwnedOp DeleteOp(Table table, std::string key) {
  return {WriteOp::Kind::kDelete, table, std::move(key), {}};
}
inline OwnedOp DeleteRangeOp(Table table, std::string begin, std::string end) {
  return {WriteOp::Kind::kDeleteRange, table, std::move(begin), std::move(end)};
}

inline absl::Status WriteOps(KvBackend& backend, const std::vector<OwnedOp>& ops) {
  WriteBatch batch;
  for (const OwnedOp& op : ops) batch.push_back({op.kind, op.table, op.key, op.value_or_end});
  return backend.Write(batch);
}

inline std::optional<std::string> ReadOne(const KvBackend& backend, Table table,
                                          std::string_view key) {
  std::optional<std::string> result;
  size_t calls = 0;
  REQUIRE_OK(
      backend.Read(table, std::span(&key, 1), [&](size_t, std::optional<std::string_view> value) {
        ++calls;
        if (value.has_value()) result = std::string(*value);
      }));
  REQUIRE(calls == 1);
  return result;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

inline Pairs ScanAll(const KvSnapshot& snapshot, Table table, std::string_view begin = {},
                     std::string_view end = {}) {
  Pairs pairs;
  REQUIRE_OK(snapshot.Scan(table, begin, end, [&](std::string_view key, std::string_view value) {
    pairs.emplace_back(key, value);
    return true;
  }));
  return pairs;
}

inline std::unique_ptr<KvSnapshot> MustSnapshot(const KvBackend& backend) {
  auto snapshot = backend.NewSnapshot();
  REQUIRE_OK(snapshot.status());
  return std::move(*snapshot);
}

inline Pairs ScanLatest(const KvBackend& backend, Table table, std::string_view begin = {},
                        std::string_view end = {}) {
  return ScanAll(*MustSnapshot(backend), table, begin, end);
}

// The trivial model.
struct Model {
  std::array<std::map<std::string, std::string>, kTableCount> tables;

  std::map<std::string, std::string>& table(Table t) { return tables[static_cast<size_t>(t)]; }

  void Apply(const OwnedOp& op) {
    auto& content = table(op.table);
    switch (op.kind) {
      case WriteOp::Kind::kPut:
        content[op.key] = op.value_or_end;
        break;
      case WriteOp::Kind::kDelete:
        content.erase(op.key);
        break;
      case WriteOp::Kind::kDeleteRange: {
        if (!op.value_or_end.empty() && op.value_or_end <= op.key) break;
        const auto end =
            op.value_or_end.empty() ? content.end() : content.lower_bound(op.value_or_end);
        content.erase(content.lower_bound(op.key), end);
        break;
      }
    }
  }
  bool operator==(const Model&) const = default;
};

inline Model ReadModel(const KvSnapshot& snapshot) {
  Model model;
  for (size_t i = 0; i < kTableCount; ++i) {
    for (auto& [key, value] : ScanAll(snapshot, static_cast<Table>(i))) {
      REQUIRE((model.tables[i].empty() || model.tables[i].rbegin()->first < key));
      model.tables[i].emplace_hint(model.tables[i].end(), std::move(key), std::move(value));
    }
  }
  return model;
}

inline Model ReadModel(const KvBackend& backend) { return ReadModel(*MustSnapshot(backend)); }

// Draws batches like the server's and unlike them: mostly appends to kKey in order, deletes of old
// ones, range deletes, overwrites in small tables; now and then a large value. Every batch carries
// its number in kMeta.
class BatchSource {
 public:
  explicit BatchSource(Random& random) : random_(random) {}

  std::vector<OwnedOp> Next(size_t ops_max) {
    std::vector<OwnedOp> ops;
    const size_t count = random_.Below(ops_max) + 1;
    for (size_t i = 0; i < count; ++i) ops.push_back(NextOp());
    ops.push_back(PutOp(Table::kMeta, "number", std::to_string(++number_)));
    return ops;
  }

  static uint64_t NumberOf(Model& model) {
    const auto found = model.table(Table::kMeta).find("number");
    return found == model.table(Table::kMeta).end() ? 0 : std::stoull(found->second);
  }

  static std::string Key(uint64_t number) {
    std::string key(17, '\0');
    for (int i = 0; i < 8; ++i) key[7 - i] = static_cast<char>(number >> (8 * i));
    key[8] = '_';
    return key;
  }

 private:
  std::string Value() {
    const size_t size = random_.OneIn(200) ? random_.Below(40000) : random_.Below(400);
    return std::string(size, static_cast<char>('a' + random_.Below(26)));
  }
  std::string OldKey() { return Key(next_ == 0 ? 0 : random_.Below(next_)); }

  OwnedOp NextOp() {
    const uint64_t drawn = random_.Below(100);
    if (drawn < 55) return PutOp(Table::kKey, Key(next_++), Value());
    if (drawn < 75) return DeleteOp(Table::kKey, OldKey());
    if (drawn < 80) return PutOp(Table::kKey, OldKey(), Value());
    if (drawn < 82) return DeleteRangeOp(Table::kKey, OldKey(), OldKey());
    const auto table = static_cast<Table>(random_.Below(kTableCount));
    if (table == Table::kMeta) return PutOp(Table::kLease, "x", Value());
    std::string key(random_.Below(6) + 1, static_cast<char>(random_.Below(4) * 85));
    key[0] = static_cast<char>(random_.Below(256));
    if (drawn < 92) return PutOp(table, key, Value());
    if (drawn < 98) return DeleteOp(table, key);
    if (drawn < 99) return DeleteRangeOp(table, key, {});
    return DeleteRangeOp(table, {}, key);
  }

  Random& random_;
  uint64_t next_ = 0;
  uint64_t number_ = 0;
};

}  // namespace quorate::kv
