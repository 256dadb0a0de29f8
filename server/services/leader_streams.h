// LeaderStreams: streams whose client asked, by metadata `hasleader: true`, not to be left on a
// member without a leader. They end with "no leader" when there has been none for three election
// timeouts, so that the client goes elsewhere (wire facts, semantics §5).
// Any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "transport/rpc.h"

namespace quorate::server {

bool RequiresLeader(const transport::ServerCall& call);

class LeaderStreams {
 public:
  // From opening to closing of a stream; one that does not require a leader is not kept.
  void Add(const std::shared_ptr<transport::ServerCall>& call);
  void Remove(const transport::ServerCall* call);
  // Ends all.
  void FailAll();

 private:
  std::mutex mutex_;
  std::map<const transport::ServerCall*, std::weak_ptr<transport::ServerCall>> calls_;
};

}  // namespace quorate::server
