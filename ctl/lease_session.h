// LeaseSession: a lease that is kept alive while the object lives, on a thread of its own. What
// holds a lock or leads an election puts its key on it, so that the key goes when the program does.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>

#include "ctl/interruption.h"
#include "ctl/sync_client.h"

namespace quorate::ctl {

class LeaseSession {
 public:
  // Grants a lease of `ttl_s` seconds. When it is lost (revoked, or not renewed in time), `lost` is
  // raised with kSessionLost. Client and interruption outlive the session.
  static transport::RpcStatus Start(SyncClient* client, int64_t ttl_s, Interruption* lost,
                                    std::unique_ptr<LeaseSession>* session);
  // Renews no more. The lease ends when its time is over, unless Revoke was called.
  ~LeaseSession();

  int64_t id() const { return id_; }
  // Deletes the lease, and with it the keys that are on it.
  transport::RpcStatus Revoke();

 private:
  LeaseSession(SyncClient* client, int64_t id, int64_t ttl_s, Interruption* lost);
  void Run();
  // Renews on one stream until it ends. False: the lease is gone.
  bool RenewOnOneStream(int64_t* ends_ns);

  SyncClient* const client_;
  const int64_t id_;
  const int64_t ttl_ns_;
  Interruption* const lost_;
  Interruption stop_;
  SystemClock clock_;
  std::thread thread_;
};

}  // namespace quorate::ctl
