// WatchHub: matches events to watches and feeds streams. It runs on the replica thread as a plain
// value: Publish and requests come in, messages leave through WatchSink, catch-up reading leaves as
// jobs that a worker runs over a HistoryReader.
//
// Promises (wire facts, semantics §5): per watch every event once, in revision order, whole
// transactions unless fragment was asked, no gap over reconnect at start_revision. An event is
// encoded once for all who get it. A stream without room only remembers the revision it needs
// next; it holds no events. Streams are served in turn, so a slow or greedy one delays no other.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "engine/mvcc/record.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

using WatchStreamId = uint64_t;

// What each response header carries (revision is added per message).
struct HeaderFields {
  ClusterId cluster;
  MemberId member;
  Term term;
};

class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // One encoded WatchResponse as pieces that are shared between streams. The hub asks HasRoom
  // before it sends events and progress; created and canceled are sent regardless. Fragments of
  // one response follow each other without asking again. Neither method may call the hub.
  virtual void Send(WatchStreamId stream, std::vector<Bytes> pieces) = 0;
  // Once this answered false, StreamWritable must follow when there is room again.
  virtual bool HasRoom(WatchStreamId stream) const = 0;
};

// What the hub needs to know of the store. Replica thread only.
class WatchStore {
 public:
  virtual ~WatchStore() = default;
  virtual int64_t CurrentRevision() const = 0;
  virtual int64_t CompactRevision() const = 0;  // -1 = never compacted
  virtual HeaderFields Header() const = 0;
  virtual const RecordReader& Records() const = 0;
  // The newest record of `key` with revision.main < `before_main`; nullopt when the key did not
  // live then or that history was compacted.
  virtual std::optional<RecordRef> LiveBefore(std::string_view key, int64_t before_main) const = 0;
};

// A piece of catch-up work for a worker: read [first_main, ...] and keep what the watches want.
class CatchUpJob {
 public:
  virtual ~CatchUpJob() = default;
  virtual int64_t first_main() const = 0;
  virtual int64_t last_main() const = 0;
  // On a worker thread.
  virtual void Run(const HistoryReader& history) = 0;
};

class WatchHub {
 public:
  struct Options {
    int64_t progress_interval_ns = int64_t{600} * 1'000'000'000;
    uint64_t fragment_bytes = 2'097'152;     // max-request-bytes + 512 KiB
    uint32_t catch_up_revisions_max = 1000;  // per job
    uint64_t catch_up_bytes_max = 1 << 20;   // per job, whole revisions
    uint32_t catch_up_jobs_max = 4;          // in flight
  };
  // `store` and `sink` outlive the hub; `progress_jitter_seed` spreads progress notifications.
  WatchHub(const Options& options, WatchStore* store, WatchSink* sink,
           uint64_t progress_jitter_seed);
  ~WatchHub();

  // Streams that are not open are ignored by all but OpenStream: a close may overtake the rest.
  void OpenStream(WatchStreamId stream);
  void CloseStream(WatchStreamId stream);
  void Request(WatchStreamId stream, const etcdserverpb::WatchRequest& request);
  // Answers a create request that is refused for reasons of the caller's.
  void Refuse(WatchStreamId stream, std::string_view reason);
  void StreamWritable(WatchStreamId stream);  // HasRoom became true again

  // Events of one applied main revision; called in revision order without gaps, each revision that
  // changed anything exactly once.
  void Publish(const EventBatchPtr& batch);
  // The store was compacted up to `revision`: watches that need older ones are cancelled. Called
  // before any Finish whose history was pinned after that compaction.
  void Compacted(int64_t revision);
  void Tick(int64_t now_ns);  // progress notifications
  // The state was replaced as a whole by a newer one of the same history (a snapshot of the
  // leader's). Watches go on behind what they have, read from the new store; those whose revisions
  // it has compacted are cancelled. `store` outlives the hub; the old one is not used any more.
  void StoreReplaced(WatchStore* store);

  // Catch-up: jobs to run now, each over a history pinned after this call; each comes back by
  // Finish, in any order, also one that could not be run. Ask after requests, writable streams,
  // Publish and Finish; it costs nothing when nobody waits.
  std::vector<std::unique_ptr<CatchUpJob>> TakeJobs();
  void Finish(std::unique_ptr<CatchUpJob> job);

  struct Counters {
    uint64_t streams = 0, watchers = 0, slow_watchers = 0;  // now
    uint64_t events_sent = 0, pending_events = 0;
  };
  Counters counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorate::engine
