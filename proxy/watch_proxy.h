// WatchProxy: the Watch service of the proxy. Each watch of a client becomes one at the revision
// that a read with the client's own rights tells, so that nobody sees what he may not, and shares
// the proxy's own watch of that range (watch_ranges.h). A client that does not keep up is sent
// nothing more until it does, and then goes on where it was.
// Loop thread only.
#pragma once

#include "proxy/kv_proxy.h"
#include "proxy/watch_ranges.h"

namespace quorate::proxy {

class WatchProxy {
 public:
  // All outlive it and its calls.
  struct Parts {
    Upstream* upstream;
    KvProxy* kv;
    WatchRanges* ranges;
  };

  explicit WatchProxy(const Parts& parts) : parts_(parts) {}
  void AddTo(transport::ServiceTable* table) const;

 private:
  const Parts parts_;
};

}  // namespace quorate::proxy
