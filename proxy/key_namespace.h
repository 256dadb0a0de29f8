// KeyNamespace: `--namespace`: every key that clients name is put under a prefix, and every key
// that the cluster answers with is freed of it. As etcd's clientv3/namespace.
// Constant; any thread.
#pragma once

#include <string>
#include <string_view>

#include "proto/etcdserverpb.pb.h"

namespace quorate::proxy {

class KeyNamespace {
 public:
  explicit KeyNamespace(std::string prefix) : prefix_(std::move(prefix)) {}

  // All keys of the cluster: nothing needs to be changed.
  bool IsWhole() const { return prefix_.empty(); }

  std::string Enter(std::string_view key) const;
  std::string EnterEnd(std::string_view range_end) const;
  // Both of a request that names a key or a range.
  template <class Request>
  void EnterRange(Request* request) const {
    request->set_key(Enter(request->key()));
    request->set_range_end(EnterEnd(request->range_end()));
  }
  void Enter(etcdserverpb::TxnRequest* request) const;

  void Leave(etcdserverpb::RangeResponse* response) const;
  void Leave(etcdserverpb::PutResponse* response) const;
  void Leave(etcdserverpb::DeleteRangeResponse* response) const;
  void Leave(etcdserverpb::TxnResponse* response) const;
  void Leave(etcdserverpb::WatchResponse* response) const;
  // Keys outside are left out.
  void Leave(etcdserverpb::LeaseTimeToLiveResponse* response) const;

 private:
  void Enter(etcdserverpb::RequestOp* operation) const;
  void Leave(mvccpb::KeyValue* kv) const { kv->mutable_key()->erase(0, prefix_.size()); }

  const std::string prefix_;
};

}  // namespace quorate::proxy
