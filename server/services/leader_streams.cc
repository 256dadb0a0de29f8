#include "server/services/leader_streams.h"

#include <utility>

#include "engine/errors.h"
#include "server/services/context.h"

namespace quorate::server {

bool RequiresLeader(const transport::ServerCall& call) {
  return call.Metadata("hasleader") == "true";
}

void LeaderStreams::Add(const std::shared_ptr<transport::ServerCall>& call) {
  if (!RequiresLeader(*call)) return;
  std::lock_guard lock(mutex_);
  calls_.emplace(call.get(), call);
}

void LeaderStreams::Remove(const transport::ServerCall* call) {
  std::lock_guard lock(mutex_);
  calls_.erase(call);
}

void LeaderStreams::FailAll() {
  decltype(calls_) calls;
  {
    std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  for (const auto& [key, weak] : calls) {
    if (const auto call = weak.lock()) Fail(*call, engine::errors::kNoLeader);
  }
}

}  // namespace quorate::server
