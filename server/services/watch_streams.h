// WatchStreams: the hub's way out. Maps hub streams to gRPC calls; a stream has room while less
// than `queue_bytes_max` of it waits for HTTP/2's window, so a slow reader holds that much memory
// and no more.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/watch/hub.h"
#include "transport/rpc.h"

namespace quorate::server {

// Replica thread only.
class WatchStreams final : public engine::WatchSink {
 public:
  static constexpr size_t kQueueBytesMax = 512 << 10;

  engine::WatchStreamId Add(std::shared_ptr<transport::ServerCall> call);
  void Remove(engine::WatchStreamId stream);

  void Send(engine::WatchStreamId stream, std::vector<Bytes> pieces) override;
  bool HasRoom(engine::WatchStreamId stream) const override;

 private:
  engine::WatchStreamId next_ = 0;
  absl::flat_hash_map<engine::WatchStreamId, std::shared_ptr<transport::ServerCall>> calls_;
};

}  // namespace quorate::server
