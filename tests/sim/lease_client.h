// LeaseClient: takes a lease, hangs keys on it, keeps it alive for a while, then lets it go or
// gives it up, over and over.
#pragma once

#include <cstdint>
#include <memory>

#include "tests/sim/kv_client.h"

namespace quorate::sim {

class LeaseClient {
 public:
  LeaseClient(ClientWorld* world, Place place) : world_(world), place_(place) {}
  void Start() { Grant(); }

  static constexpr int64_t kTtlSecondsMax = 6;

 private:
  Member* DrawMember();
  void Later(int64_t delay_ns_max, void (LeaseClient::*step)());
  void Grant();
  void Hang();
  void Renew();
  void OnRenewed(const std::string& body, int64_t asked_ns);
  void Leave();

  ClientWorld* const world_;
  const Place place_;
  int64_t lease_ = 0;
  int64_t ttl_seconds_ = 0;
  int renewals_left_ = 0;
  std::shared_ptr<ClientStream> stream_;
  uint64_t generation_ = 0;  // of the renewal that is under way
};

}  // namespace quorate::sim
