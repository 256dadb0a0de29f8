// Evaluates Range requests (wire facts, semantics §2) over the store.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "engine/engine.h"
#include "engine/errors.h"
#include "engine/mvcc/store.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

// The revision to read at: kNewest for "current". Errors: kCompacted, kFutureRev. Inside a
// transaction a negative revision is compacted; outside it means current.
enum class RangePlace { kPlain, kTransaction };
Error ResolveRevision(const MvccStore& store, int64_t requested, RangePlace place, int64_t* main);

// Appends kvs, more and count of the answer (all but the header) to *out.
void EvaluateRange(const MvccStore& store, const etcdserverpb::RangeRequest& request, int64_t main,
                   std::string* out);

// How many bytes that would be, where it is known without reading values: requests without
// filters, sorting, keys_only and count_only. 0 otherwise.
struct PlainSize {
  uint64_t bytes = 0;  // of all kvs fields
  uint64_t keys = 0;   // in the answer
  uint64_t count = 0;  // in the interval
};
PlainSize SizePlainRange(const MvccStore& store, const etcdserverpb::RangeRequest& request,
                         int64_t main);

// For requests that SizePlainRange knows: answers in slices, pinned at the present revision.
std::unique_ptr<RangeCursor> MakeRangeCursor(MvccStore* store, const HeaderFields& header,
                                             const etcdserverpb::RangeRequest& request,
                                             int64_t main, const PlainSize& size);
std::unique_ptr<Engine::RangeStreamCursor> MakeRangeStreamCursor(
    MvccStore* store, const HeaderFields& header, const etcdserverpb::RangeRequest& request,
    int64_t main, uint64_t target_bytes);

}  // namespace quorate::engine
