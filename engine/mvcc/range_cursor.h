// Large answers in pieces: a pinned walk over the index on the replica thread, records fetched and
// encoded on workers. See RangeCursor and RangeStreamCursor in engine/engine.h.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/engine.h"
#include "engine/mvcc/range.h"
#include "engine/mvcc/store.h"

namespace quorate::engine {

// For plain ranges (IsPlainRange): answers in slices, pinned at the present revision.
std::unique_ptr<RangeCursor> MakeRangeCursor(MvccStore* store, const HeaderFields& header,
                                             const etcdserverpb::RangeRequest& request,
                                             int64_t main, const PlainSize& size,
                                             uint32_t slice_keys_max);

// For what CheckRangeStream lets through.
std::unique_ptr<Engine::RangeStreamCursor> MakeRangeStreamCursor(
    MvccStore* store, const HeaderFields& header, const etcdserverpb::RangeRequest& request,
    int64_t main, uint64_t part_bytes_target);

}  // namespace quorate::engine
