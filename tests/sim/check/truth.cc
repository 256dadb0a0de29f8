#include "tests/sim/check/truth.h"

#include <utility>

namespace quorate::sim {

bool Truth::Append(std::string_view payload, int64_t now_ns) {
  Committed committed;
  committed.seen_ns = now_ns;
  const bool parsed =
      committed.request.ParseFromArray(payload.data(), static_cast<int>(payload.size()));
  committed.request.clear_header();
  committed.request.clear_id();
  committed.answer = model_.Apply(committed.request);
  entries_.push_back(std::move(committed));
  return parsed;
}

}  // namespace quorate::sim
