// What the tests of this room share: states of random content, and files made of them.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/bbolt/snapshot_file.h"
#include "base/random.h"
#include "base/temp_dir.h"
#include "base/text.h"

namespace quorate::bbolt {

#define REQUIRE_OK(expression)                           \
  do {                                                   \
    const absl::Status require_ok_status = (expression); \
    INFO(require_ok_status.ToString());                  \
    REQUIRE(require_ok_status.ok());                     \
  } while (false)

using Pairs = std::map<std::string, std::string>;
using State = std::map<kv::Table, Pairs>;

// A state in memory, to be written.
class StateSnapshot final : public kv::KvSnapshot {
 public:
  explicit StateSnapshot(State state) : state_(std::move(state)) {}
  absl::Status Scan(
      kv::Table table, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view, std::string_view)> visitor) const override {
    const auto pairs = state_.find(table);
    if (pairs == state_.end()) return absl::OkStatus();
    for (auto it = pairs->second.lower_bound(std::string(begin)); it != pairs->second.end(); ++it) {
      if (!end.empty() && it->first >= end) break;
      if (!visitor(it->first, it->second)) break;
    }
    return absl::OkStatus();
  }

 private:
  const State state_;
};

inline State ContentOf(const kv::KvSnapshot& snapshot) {
  State state;
  for (size_t i = 0; i < kv::kTableCount; ++i) {
    const auto table = static_cast<kv::Table>(i);
    REQUIRE_OK(snapshot.Scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
      state[table].emplace(key, value);
      return true;
    }));
  }
  return state;
}

inline std::string RevisionKeyOf(uint64_t main) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(main >> shift));
  return key + "_" + std::string(8, '\0');
}

inline std::string RandomBytes(Random& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Below(256));
  return bytes;
}

// Bucket key with `records` of values up to `value_bytes_max`, and some of the others.
inline State RandomState(Random& random, size_t records, size_t value_bytes_max) {
  State state;
  for (size_t i = 0; i < records; ++i) {
    state[kv::Table::kKey][RevisionKeyOf(i * 3 + 2)] =
        RandomBytes(random, random.Below(value_bytes_max + 1));
  }
  for (size_t i = random.Below(20); i > 0; --i) {
    state[kv::Table::kAuthUsers][RandomBytes(random, 1 + random.Below(2000))] =
        RandomBytes(random, random.Below(300));
  }
  state[kv::Table::kMeta]["term"] = std::string(7, '\0') + "\3";
  state[kv::Table::kMeta]["storageVersion"] = "3.7.0";
  return state;
}

// Writes in steps of `step_bytes`, with the digest behind it.
inline void WriteSnapshotFile(const std::string& path, State state, uint64_t step_bytes) {
  auto file = PosixFileEnv()->Create(path, WriteMode::kBuffered);
  REQUIRE_OK(file.status());
  SnapshotWriter writer(std::make_unique<StateSnapshot>(std::move(state)), "3.7.0", file->get());
  absl::StatusOr<SnapshotWriter::Progress> progress = SnapshotWriter::Progress::kMore;
  while (progress.ok() && *progress == SnapshotWriter::Progress::kMore) {
    progress = writer.Step(step_bytes);
  }
  REQUIRE_OK(progress.status());
  REQUIRE((*file)->Size().value() == writer.bytes());
  DigestMaker maker;
  maker.Add(*ReadFileToString(PosixFileEnv(), path));
  const Digest digest = maker.Finish();
  const std::string_view pieces[] = {{reinterpret_cast<const char*>(digest.data()), digest.size()}};
  REQUIRE_OK((*file)->WriteAt(writer.bytes(), pieces));
}

inline std::unique_ptr<SnapshotFile> MustOpen(const std::string& path) {
  auto file = SnapshotFile::Open(PosixFileEnv(), path);
  REQUIRE_OK(file.status());
  return *std::move(file);
}

}  // namespace quorate::bbolt
