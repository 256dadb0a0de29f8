// LeaseProxy: what of the Lease service is not handed on as it is: keeping alive (keep_alives.h),
// and the keys of a lease, of which a namespace shows its own.
// Loop thread only.
#pragma once

#include <map>
#include <memory>

#include "proxy/carried_call.h"
#include "proxy/keep_alives.h"
#include "proxy/key_namespace.h"
#include "proxy/upstream.h"

namespace quorate::proxy {

class LeaseProxy {
 public:
  // Both outlive it and its calls.
  LeaseProxy(Upstream* upstream, const KeyNamespace* space) : upstream_(upstream), space_(space) {}

  void AddTo(transport::ServiceTable* table);
  // Those of one set of metadata.
  KeepAlives* KeepAlivesFor(const transport::MetadataList& metadata);

 private:
  void TimeToLive(const CallPtr& call, const Bytes& body) const;

  Upstream* const upstream_;
  const KeyNamespace* const space_;
  std::map<transport::MetadataList, std::unique_ptr<KeepAlives>> keep_alives_;
};

}  // namespace quorate::proxy
