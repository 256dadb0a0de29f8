// WatchClient: watches a part of the keys for good: when its stream breaks it goes on at another
// member from the revision that it needs next.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tests/sim/kv_client.h"

namespace quorate::sim {

class WatchClient {
 public:
  WatchClient(ClientWorld* world, Place place);
  void Start() { Open(); }

 private:
  WatchRecord* record() { return &world_->history->watches[record_]; }
  void Open();
  void OnMessage(const std::string& body);
  void OnCreated(const etcdserverpb::WatchResponse& response);
  void End(WatchRecord::End end);
  void OpenAgain();
  void LookAfter(uint64_t generation);

  ClientWorld* const world_;
  const Place place_;
  std::string key_, range_end_;
  std::shared_ptr<ClientStream> stream_;
  uint64_t generation_ = 0;  // of the stream
  uint64_t epoch_ = 0;       // of the member at the time the stream was opened
  Member* member_ = nullptr;
  size_t record_ = SIZE_MAX;   // of the watch that is open
  int64_t next_revision_ = 0;  // 0 = from now on
};

}  // namespace quorate::sim
