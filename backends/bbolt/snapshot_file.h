// Snapshots as files: what `etcdctl snapshot save` leaves. A bbolt database with etcd's ten
// buckets, and behind it the SHA-256 of all its bytes (docs/formats/snapshot.md).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/bbolt/reader.h"
#include "backends/bbolt/writer.h"
#include "backends/kv/kv_backend.h"
#include "base/file_env.h"

namespace quorate::bbolt {

inline constexpr size_t kDigestBytes = 32;
using Digest = std::array<unsigned char, kDigestBytes>;

// SHA-256 over pieces.
class DigestMaker {
 public:
  DigestMaker();
  void Add(std::string_view bytes);
  Digest Finish();  // once

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

// What the state of a backend says of itself in the table meta, "storageVersion". A state without
// one gets `fallback` written into its snapshot.
absl::StatusOr<std::string> StorageVersionOf(const kv::KvSnapshot& state,
                                             std::string_view fallback);

// Writes a state as a bbolt database, a piece at a time: so a thread that has other work too can do
// it. One thread at a time.
class SnapshotWriter {
 public:
  // `file` is empty and outlives the writer.
  SnapshotWriter(std::unique_ptr<kv::KvSnapshot> state, std::string storage_version, File* file);

  enum class Progress { kMore, kDone };
  // Takes in about `bytes` more. After kDone the file is whole (without a digest behind it, and not
  // synced) and the state has been let go. Errors (the state's, the file's) are final.
  absl::StatusOr<Progress> Step(uint64_t bytes);
  uint64_t bytes() const { return writer_.bytes(); }

 private:
  absl::Status FillTable(uint64_t bytes);
  absl::Status AddVersionBefore(std::string_view key);

  std::unique_ptr<kv::KvSnapshot> state_;
  std::string storage_version_;  // to be added; empty: it was met or added
  Writer writer_;
  size_t table_ = 0;
  bool in_table_ = false;
  std::string begin_;  // of what is missing of that table
};

// A snapshot file, opened to be read. As a KvSnapshot it is the state that it holds; tables whose
// buckets it lacks are empty.
class SnapshotFile final : public kv::KvSnapshot {
 public:
  // kNotFound when there is no such file; Reader's errors otherwise. The digest is not checked.
  static absl::StatusOr<std::unique_ptr<SnapshotFile>> Open(FileEnv* env, const std::string& path);

  absl::Status Scan(
      kv::Table table, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view key, std::string_view value)> visitor) const override;

  const Reader& reader() const { return *reader_; }
  uint64_t file_bytes() const { return file_bytes_; }
  // What stands behind the database; nullopt: nothing does, as in a file out of a data directory.
  const std::optional<Digest>& stored_digest() const { return stored_digest_; }
  // Of the database as it is. Reads all of it.
  absl::StatusOr<Digest> ComputeDigest() const;

 private:
  std::unique_ptr<File> file_;  // a second handle, for the digest
  std::unique_ptr<Reader> reader_;
  uint64_t file_bytes_ = 0;
  std::optional<Digest> stored_digest_;
};

// etcdutl's hash of a whole file: CRC-32C over the names of its buckets, their keys and values.
struct FileSummary {
  uint32_t hash = 0;
  int64_t revision = 0;  // of the last record in bucket key; 0 without any
  std::string version;   // storageVersion; empty when the file says none
};
absl::StatusOr<FileSummary> Summarize(const Reader& reader);

}  // namespace quorate::bbolt
