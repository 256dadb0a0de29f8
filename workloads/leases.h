// LeaseKeeper: the leases of one load on one thread. Grants its standing leases before the phase,
// keeps them alive over one stream per connection, and grants and revokes others on demand.
// All on the loop's thread; callbacks come there too.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "transport/client.h"
#include "workloads/check_log.h"
#include "workloads/workload.h"

namespace quorate::workload {

class LeaseKeeper {
 public:
  // The answer to one lease operation; `right` is false when it broke a check.
  using Done = std::function<void(const transport::RpcStatus& status, bool right)>;

  LeaseKeeper(const LoadSpec& load, std::vector<transport::Channel*> channels, const Clock* clock,
              CheckLog* checks);
  ~LeaseKeeper();

  // Grants the standing leases; `ready` once, with the first error or OK.
  void Prepare(int64_t count, std::function<void(transport::RpcStatus)> ready);
  // A standing lease, in turn; 0 when there is none.
  int64_t NextStanding();
  bool HasRevocable() const { return !revocable_.empty(); }

  void Grant(size_t channel, Done done);
  void Revoke(size_t channel, Done done);  // HasRevocable()
  void KeepAlive(size_t channel, Done done);
  // Fails keep-alives that wait longer than the load's timeout.
  void Tick(int64_t now_ns);

 private:
  struct Lease {
    int64_t id = 0;
    int64_t ttl_s = 0;
    int64_t renewed_ns = 0;  // when the last grant or renewal was sent
  };
  class Stream;

  void Granted(std::string_view answer, int64_t sent_ns, std::vector<Lease>* into,
               const Done& done);

  const LoadSpec load_;
  const std::vector<transport::Channel*> channels_;
  const Clock* const clock_;
  CheckLog* const checks_;
  std::vector<Lease> standing_;
  std::vector<Lease> revocable_;
  size_t next_standing_ = 0;
  size_t next_kept_ = 0;
  std::vector<std::unique_ptr<Stream>> streams_;  // by channel; made at first use
};

}  // namespace quorate::workload
