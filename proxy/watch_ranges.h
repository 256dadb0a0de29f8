// WatchRanges: many watches of clients on one range of keys become one watch at the cluster, a
// broadcast. A watch joins a broadcast that has everything still before it that the watch wants;
// where there is none a new broadcast is begun, and broadcasts that have come to the same place
// become one.
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "proto/etcdserverpb.pb.h"
#include "proxy/member_watches.h"
#include "proxy/proxy_counters.h"

namespace quorate::proxy {

class Broadcast;
class Watch;

// A client's stream of watches, as those who send to it see it.
class WatchOwner {
 public:
  virtual ~WatchOwner() = default;
  // `events`: an encoded WatchResponse with events only, to be put behind `head`.
  virtual void Send(const etcdserverpb::WatchResponse& head, const Bytes& events) = 0;
  // Its client does not keep up: its watches are to be taken out until it does.
  virtual bool IsBehind() const = 0;
  virtual void TakeOut() = 0;
  // `watch` is over, and not known to anybody else any more.
  virtual void OnEnd(Watch* watch, const etcdserverpb::WatchResponse& end) = 0;
  virtual void Fail(const transport::RpcStatus& status) = 0;
  virtual const transport::MetadataList& metadata() const = 0;
  virtual bool requires_leader() const = 0;
};

// One watch of a client's.
class Watch {
 public:
  WatchOwner* owner = nullptr;
  int64_t id = 0;                // on its stream
  MemberWatches::Target target;  // start_revision: of the next event that it wants
  uint32_t filters = 0;          // bits by WatchCreateRequest.FilterType
  bool progress_notify = false;
  bool prev_kv = false;
  Broadcast* broadcast = nullptr;  // that it hears; of WatchRanges
};

class WatchRanges {
 public:
  // All outlive it.
  struct Parts {
    Upstream* upstream;
    const KeyNamespace* space;
    ProxyCounters* counters;
  };

  explicit WatchRanges(const Parts& parts);
  ~WatchRanges();

  enum class Position : uint8_t { kInThePast, kAtTheEnd };
  // `watch` lives until it is removed or has ended. kAtTheEnd: all there is before it is known.
  void Add(Watch* watch, Position position);
  void Remove(Watch* watch);

 private:
  friend class Broadcast;
  using Key = std::tuple<std::string, std::string, bool>;  // key, end, whether a leader is required

  static Key KeyOf(const Watch& watch);
  MemberWatches* StreamFor(const transport::MetadataList& metadata);
  // When it has come so far as another one that is at the end, that one takes its watches over.
  void TryToJoin(Broadcast* broadcast);
  void Retire(Broadcast* broadcast);
  void EmptyBin();

  const Parts parts_;
  std::map<transport::MetadataList, std::unique_ptr<MemberWatches>> streams_;
  std::map<Key, std::vector<std::unique_ptr<Broadcast>>> broadcasts_;
  // Retired ones, whose code may be running, and what they ran on.
  std::vector<std::unique_ptr<Broadcast>> bin_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace quorate::proxy
