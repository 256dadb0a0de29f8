// Evaluates Range requests (wire facts, semantics §2) over the store. Replica thread.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/mvcc/store.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

// The revision to read at: kNewest for "current". Errors: kCompacted, kFutureRev. A negative
// revision means current, but inside a transaction it is compared with the compacted one first.
enum class RangePlace { kPlain, kTransaction };
Error ResolveRevision(const MvccStore& store, int64_t requested, RangePlace place, int64_t* main);

// An answer is stored records as they are, in key order: no filter, no sorting, no keys_only.
bool IsPlainRange(const etcdserverpb::RangeRequest& request);

// Appends kvs, more and count of the answer (all but the header) to *out.
void EvaluateRange(const MvccStore& store, const etcdserverpb::RangeRequest& request, int64_t main,
                   std::string* out);

// The size of a plain answer, from the index alone.
struct PlainSize {
  uint64_t bytes = 0;  // of all kvs fields
  uint64_t keys = 0;   // in the answer
  uint64_t count = 0;  // in the interval
  bool more() const { return keys < count; }
};
PlainSize SizePlainRange(const MvccStore& store, const etcdserverpb::RangeRequest& request,
                         int64_t main);
// The answer to a plain range whose size is known.
void AppendPlainRange(const MvccStore& store, const etcdserverpb::RangeRequest& request,
                      int64_t main, const PlainSize& size, std::string* out);

// The same for a plain range of a single key: its live record, and the answer with it.
std::optional<RecordRef> FindSingle(const MvccStore& store, std::string_view key, int64_t main);
void AppendSingle(const MvccStore& store, const std::optional<RecordRef>& ref, std::string* out);

// --- pieces of answers
// `kvs` fields of these records.
enum class Values { kKeep, kDrop };
void AppendRecords(const MvccStore& store, std::span<const RecordRef> refs, Values values,
                   std::string* out);
void AppendMoreAndCount(bool more, uint64_t count, std::string* out);

}  // namespace quorate::engine
