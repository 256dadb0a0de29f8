// MemberWatches: the watches that the proxy itself has at the cluster, all of those with one set of
// metadata on one stream. When the stream breaks they go on at another member where they were.
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "proto/etcdserverpb.pb.h"
#include "proxy/key_namespace.h"
#include "proxy/lasting_stream.h"

namespace quorate::proxy {

// Who hears of one watch.
class MemberWatchListener {
 public:
  virtual ~MemberWatchListener() = default;
  // Events, progress, or the end (`canceled`, the last); keys are those of the namespace. Not from
  // inside Add.
  virtual void OnResponse(const etcdserverpb::WatchResponse& response) = 0;
  // The whole stream is refused, the last as well.
  virtual void OnRefused(const transport::RpcStatus& status) = 0;
};

class MemberWatches {
 public:
  using Id = int64_t;
  struct Target {
    std::string key;
    std::string range_end;
    int64_t start_revision = 0;  // above 0
  };

  MemberWatches(Upstream* upstream, const KeyNamespace* space, transport::MetadataList metadata);

  Id Add(const Target& target, MemberWatchListener* listener);
  // Nothing is heard of it any more. Unknown ids (of watches that ended) are ignored.
  void Remove(Id id);
  bool empty() const { return watches_.empty(); }

  // Asks how far the stream is; every watch on it has heard everything up to there when `done` is
  // called. A member that has not caught up does not answer: who asks again replaces what he asked
  // before.
  using Progress = std::function<void(const etcdserverpb::ResponseHeader&)>;
  void AskProgress(const void* who, Progress done);

 private:
  struct Watch {
    etcdserverpb::WatchRequest create;  // as it has to be made anew
    MemberWatchListener* listener;
  };

  void Opened();
  void Create(Id id);
  void OnMessage(const Bytes& message);
  void OnResponse(Id id, etcdserverpb::WatchResponse* response);
  void OnRefused(const transport::RpcStatus& status);
  void SendProgressRequest();

  const KeyNamespace* const space_;
  std::map<Id, Watch> watches_;
  Id last_id_ = 0;
  // Whose creation is not answered yet, in order: a refusal does not say whose it is.
  std::deque<Id> creating_;
  std::map<const void*, Progress> progress_;
  bool started_ = false;
  LastingStream stream_;
};

}  // namespace quorate::proxy
