// FakeEtcd: a small store that answers the driver's calls in process, and can be told to give one
// kind of wrong answer, so that tests see the driver find it. Built on the generated classes, not
// on the driver's own codec. For tests only. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "proto/etcdserverpb.pb.h"
#include "transport/client.h"
#include "workloads/worker.h"

namespace quorate::workload {

// One kind of wrong answer each, given once the store has seen some changes.
enum class Planted {
  kNothing,
  kLosesEvent,      // one event never comes
  kLosesLastEvent,  // ... the very last one
  kRepeatsEvent,
  kReordersEvents,   // two neighbours change places
  kEventOfOtherKey,  // outside what is watched
  kEventValueOld,    // an event with the value of an earlier one
  kWrongPrevKv,
  kValueOfOtherKey,  // a get answers with another key's value
  kDamagedValue,
  kStaleGet,  // a get shows the version before the last
  kGetFindsNothing,
  kStaleHeader,    // a read's header is older than what was known
  kLosesWrite,     // a put is acknowledged and not done
  kRevisionTwice,  // two puts are answered with one revision
  kRevisionGoesBack,
  kListLeavesOut,
  kListOutOfOrder,
  kListWrongCount,
  kWrongCount,
  kTxnIgnoresGuard,  // puts although the revision is another
  kTxnRefuses,       // does not put although the revision is right
  kLeaseShort,       // grants less than was asked
  kLeaseLost,        // a keep-alive finds no lease
  kGarbage,          // an answer that is no message
};

class FakeEtcd {
 public:
  explicit FakeEtcd(Planted planted) : planted_(planted) {}

  // Connections to it for a Driver.
  ChannelFactory Factory();

  // The wrong answer was given.
  bool struck() const { return struck_; }

 private:
  friend class FakeChannel;
  friend class FakeStream;
  struct Stream;  // a client's watch or keep-alive stream
  struct Watch {
    std::weak_ptr<Stream> stream;
    int64_t id = 0;
    std::string key;
    std::string end;
    bool prev_kv = false;
    bool Covers(const std::string& changed) const {
      return end.empty() ? changed == key : changed >= key && changed < end;
    }
  };
  static constexpr int64_t kStrikeAt = 40;  // revision from which on the plant is ripe

  transport::RpcStatus Handle(std::string_view path, std::string_view request, std::string* answer);
  void HandleStream(const std::shared_ptr<Stream>& stream, std::string_view request);

  bool Strike(Planted planted);  // true once, when this is the plant and it is ripe
  bool Settled(const mvccpb::KeyValue& kv) const;
  etcdserverpb::RangeResponse Range(const etcdserverpb::RangeRequest& request);
  void SpoilRange(const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* range);
  etcdserverpb::PutResponse Put(const etcdserverpb::PutRequest& request);
  etcdserverpb::DeleteRangeResponse Delete(const etcdserverpb::DeleteRangeRequest& request);
  etcdserverpb::TxnResponse Txn(const etcdserverpb::TxnRequest& request);
  void Publish(mvccpb::Event event);
  void Send(const Watch& watch, mvccpb::Event event);
  void CreateWatch(const std::shared_ptr<Stream>& stream,
                   const etcdserverpb::WatchCreateRequest& create);

  const Planted planted_;
  std::mutex mutex_;
  bool struck_ = false;
  int64_t revision_ = 1;
  int64_t next_lease_ = 100;
  std::map<std::string, mvccpb::KeyValue> keys_;
  std::map<std::string, mvccpb::KeyValue> before_;  // the version before, for stale answers
  std::map<int64_t, int64_t> leases_;               // id to ttl
  std::vector<Watch> watches_;
  std::vector<mvccpb::Event> log_;
  std::unique_ptr<mvccpb::Event> held_back_;  // reordering: comes after the next one
};

}  // namespace quorate::workload
