// Watcher: one watch that lives as long as its user wants. A stream that is lost is opened again,
// at the next endpoint, from the revision behind the last one seen: no event is lost or seen twice.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "ctl/interruption.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

class Watcher {
 public:
  // The client outlives the watcher. Nothing is sent before the first Next.
  Watcher(SyncClient* client, etcdserverpb::WatchCreateRequest request);

  // The next answer that has something to say: events, progress, or the server's cancellation,
  // which is the last one. Nothing when `interruption` was raised or the watch failed for good
  // (status()). One thread at a time.
  std::optional<etcdserverpb::WatchResponse> Next(Interruption* interruption);
  const transport::RpcStatus& status() const { return status_; }

  // Asks the server how far the watch is; the answer comes by Next. Any thread.
  void RequestProgress();

 private:
  enum class Stream { kOpen, kOver };
  void Open();
  // The stream ended. kOpen: another one shall be tried.
  Stream Reopen(Interruption* interruption);
  void Remember(const etcdserverpb::WatchResponse& response);
  bool TokenEnded(const etcdserverpb::WatchResponse& response);

  SyncClient* const client_;
  etcdserverpb::WatchCreateRequest request_;  // start_revision: where to go on
  std::mutex stream_mutex_;                   // RequestProgress against Open
  std::unique_ptr<SyncStream> stream_;
  bool progress_wanted_ = false;
  bool over_ = false;
  bool token_renewed_ = false;  // since the last answer
  transport::RpcStatus status_;
};

}  // namespace quorate::ctl
