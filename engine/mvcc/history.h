// A HistoryReader over a backend's snapshot and the window's chunks at the same moment.
#pragma once

#include <memory>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "engine/mvcc/record.h"
#include "engine/mvcc/window.h"

namespace quorate::engine {

// `chunks`: Window::Chunks at the moment of `snapshot`. Made on the replica thread, used on one
// other thread.
std::unique_ptr<HistoryReader> MakeHistoryReader(
    std::unique_ptr<kv::KvSnapshot> snapshot,
    std::vector<std::shared_ptr<const WindowChunk>> chunks);

// Of a state that no window lies over: of a file, or of a member that is not running.
std::unique_ptr<HistoryReader> MakeHistoryReader(std::unique_ptr<kv::KvSnapshot> snapshot);

}  // namespace quorate::engine
