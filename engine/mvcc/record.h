// Records: one stored version of a key, as etcd's KeyValue encoding under its revision key. The
// index holds RecordRefs; the bytes live in the revision window or in the backend.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/mvcc/revision.h"

namespace quorate::engine {

// Where to find one record. `kv_bytes` is the size of the encoded KeyValue.
struct RecordRef {
  Revision revision;
  uint32_t kv_bytes = 0;
  RecordKind kind = RecordKind::kPut;
};

// One change of a transaction, for watchers.
struct Event {
  RecordRef record;
  std::string_view key;  // inside `kv`
  std::string_view kv;   // encoded mvccpb.KeyValue; pinned by the batch
  // The key's live record before the transaction; none for a creation.
  std::optional<RecordRef> previous;
};

// All events of one main revision, immutable; shared by everyone who gets it.
struct EventBatch {
  int64_t revision = 0;
  std::vector<Event> events;                      // in order of sub
  std::vector<std::shared_ptr<const void>> pins;  // what keeps the views alive
};
using EventBatchPtr = std::shared_ptr<const EventBatch>;

// Reads records wherever they are. Replica thread only; workers use HistoryReader.
class RecordReader {
 public:
  virtual ~RecordReader() = default;
  // Visits in order of `refs`; nullopt for a record that was compacted away. The view lives only
  // during the call.
  virtual absl::Status Read(
      std::span<const RecordRef> refs,
      absl::FunctionRef<void(size_t index, std::optional<std::string_view> kv)> visitor) const = 0;
};

// A pinned, consistent stretch of history that a worker thread can walk while the replica goes on:
// a backend snapshot plus the window's chunks at the moment it was taken. One thread at a time.
class HistoryReader {
 public:
  virtual ~HistoryReader() = default;
  // Visits every record with first <= revision.main <= last in revision order, until the visitor
  // answers false.
  virtual absl::Status Scan(
      int64_t first_main, int64_t last_main,
      absl::FunctionRef<bool(const RecordRef& ref, std::string_view kv)> visitor) const = 0;
};

}  // namespace quorate::engine
