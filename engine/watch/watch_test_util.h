// A small store with history and a sink that decodes what it gets, for the hub's tests and bench.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/watch/hub.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine::watch_test {

// One operation of a transaction; no value = delete (of a key that exists, else nothing).
struct Op {
  std::string key;
  std::optional<std::string> value;
};

class FakeStore final : public WatchStore, public RecordReader {
 public:
  struct Record {
    RecordKind kind;
    std::string key;
    std::shared_ptr<const std::string> kv;
  };
  using Records_ = std::map<Revision, Record>;

  // Null when nothing changed.
  EventBatchPtr Apply(const std::vector<Op>& ops) {
    auto batch = std::make_shared<EventBatch>();
    batch->revision = current_ + 1;
    for (const Op& op : ops) {
      const auto live = live_.find(op.key);
      if (!op.value.has_value() && live == live_.end()) continue;
      AddRecord(op, batch.get());
    }
    if (batch->events.empty()) return nullptr;
    current_ = batch->revision;
    return batch;
  }

  // Drops what etcd would drop, unless the physical half is left for later.
  void Compact(int64_t revision) {
    QR_CHECK(revision > compacted_ && revision <= current_);
    compacted_ = revision;
    if (keep_garbage) return;
    std::map<std::string, Revision> newest;
    for (const auto& [at, record] : records_) {
      if (at.main <= revision) newest[record.key] = at;
    }
    for (auto it = records_.begin(); it != records_.end();) {
      const bool old = it->first.main <= revision;
      const bool kept = newest[it->second.key] == it->first &&
                        (it->second.kind == RecordKind::kPut || it->first.main == revision);
      it = old && !kept ? records_.erase(it) : std::next(it);
    }
  }

  int64_t CurrentRevision() const override { return current_; }
  int64_t CompactRevision() const override { return compacted_; }
  HeaderFields Header() const override { return {ClusterId(77), MemberId(~uint64_t{5}), Term(3)}; }
  const RecordReader& Records() const override { return *this; }

  std::optional<RecordRef> LiveBefore(std::string_view key, int64_t before_main) const override {
    std::optional<RecordRef> found;
    for (const auto& [at, record] : records_) {
      if (at.main >= before_main || record.key != key) continue;
      found.reset();
      if (record.kind == RecordKind::kPut) {
        found = {at, static_cast<uint32_t>(record.kv->size()), record.kind};
      }
    }
    return found;
  }

  absl::Status Read(
      std::span<const RecordRef> refs,
      absl::FunctionRef<void(size_t, std::optional<std::string_view>)> visitor) const override {
    if (!read_error.ok()) return read_error;
    for (size_t i = 0; i < refs.size(); ++i) {
      const auto it = records_.find(refs[i].revision);
      if (it == records_.end()) {
        visitor(i, std::nullopt);
      } else {
        visitor(i, std::string_view(*it->second.kv));
      }
    }
    return absl::OkStatus();
  }

  class History final : public HistoryReader {
   public:
    explicit History(Records_ records) : records_(std::move(records)) {}
    absl::Status Scan(
        int64_t first_main, int64_t last_main,
        absl::FunctionRef<bool(const RecordRef&, std::string_view)> visitor) const override {
      for (auto it = records_.lower_bound({first_main, 0}); it != records_.end(); ++it) {
        if (it->first.main > last_main) break;
        const RecordRef ref{it->first, static_cast<uint32_t>(it->second.kv->size()),
                            it->second.kind};
        if (!visitor(ref, *it->second.kv)) break;
      }
      return error;
    }
    absl::Status error;

   private:
    Records_ records_;
  };
  std::unique_ptr<History> Pin() const { return std::make_unique<History>(records_); }

  absl::Status read_error;
  bool keep_garbage = false;

 private:
  struct Live {
    int64_t create_revision;
    int64_t version;
    RecordRef ref;
  };

  void AddRecord(const Op& op, EventBatch* batch) {
    const Revision at{batch->revision, static_cast<int64_t>(batch->events.size())};
    mvccpb::KeyValue kv;
    kv.set_key(op.key);
    Event event;
    event.record.kind = op.value.has_value() ? RecordKind::kPut : RecordKind::kTombstone;
    const auto live = live_.find(op.key);
    if (live != live_.end()) event.previous = live->second.ref;
    if (op.value.has_value()) {
      Live& entry = live_[op.key];
      if (live == live_.end()) entry.create_revision = at.main;
      kv.set_create_revision(entry.create_revision);
      kv.set_mod_revision(at.main);
      kv.set_version(++entry.version);
      kv.set_value(*op.value);
    } else {
      live_.erase(live);  // a stored tombstone has the key only
    }
    auto bytes = std::make_shared<const std::string>(kv.SerializeAsString());
    event.record.revision = at;
    event.record.kv_bytes = static_cast<uint32_t>(bytes->size());
    if (op.value.has_value()) live_[op.key].ref = event.record;
    event.kv = *bytes;
    event.key = std::string_view(*bytes).substr(2, op.key.size());
    QR_CHECK(event.key == op.key);
    batch->events.push_back(event);
    batch->pins.push_back(bytes);
    records_[at] = {event.record.kind, op.key, std::move(bytes)};
  }

  int64_t current_ = 1;
  int64_t compacted_ = -1;
  Records_ records_;
  std::map<std::string, Live> live_;
};

// Collects decoded responses per stream; room is counted in messages.
class FakeSink final : public WatchSink {
 public:
  using Response = etcdserverpb::WatchResponse;
  struct Stream {
    int64_t room = 1 << 30;
    std::vector<Response> received;
    std::vector<std::vector<Bytes>> pieces;
  };

  void Send(WatchStreamId stream, std::vector<Bytes> pieces) override {
    std::string whole;
    for (const Bytes& piece : pieces) whole.append(piece.view());
    Response response;
    QR_CHECK(response.ParseFromString(whole));
    Stream& s = streams[stream];
    if (response.events_size() > 0) {
      QR_CHECK(s.room > 0 || in_fragments_);
      if (!in_fragments_) --s.room;
      in_fragments_ = response.fragment();
    }
    s.received.push_back(std::move(response));
    s.pieces.push_back(std::move(pieces));
  }
  bool HasRoom(WatchStreamId stream) const override {
    const auto it = streams.find(stream);
    return it == streams.end() || it->second.room > 0;
  }

  // What came since the last call.
  std::vector<Response> Take(WatchStreamId stream) {
    streams[stream].pieces.clear();
    return std::exchange(streams[stream].received, {});
  }

  std::map<WatchStreamId, Stream> streams;

 private:
  bool in_fragments_ = false;
};

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;

// Store, sink and hub together, driven the way a replica does it.
class Harness {
 public:
  explicit Harness(const WatchHub::Options& options = {}) : hub(options, &store, &sink, 1) {}

  void Txn(const std::vector<Op>& ops) {
    if (EventBatchPtr batch = store.Apply(ops)) hub.Publish(batch);
  }
  void Put(const std::string& key, const std::string& value) { Txn({{key, value}}); }
  void Delete(const std::string& key) { Txn({{key, std::nullopt}}); }
  void Compact(int64_t revision) {
    store.Compact(revision);
    hub.Compacted(revision);
  }

  // Sends a create request and answers what came back on the stream.
  std::vector<WatchResponse> Create(WatchStreamId stream, const WatchCreateRequest& create) {
    WatchRequest request;
    *request.mutable_create_request() = create;
    hub.Request(stream, request);
    return sink.Take(stream);
  }
  std::vector<WatchResponse> Cancel(WatchStreamId stream, int64_t watch_id) {
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(watch_id);
    hub.Request(stream, request);
    return sink.Take(stream);
  }
  std::vector<WatchResponse> RequestProgress(WatchStreamId stream) {
    WatchRequest request;
    request.mutable_progress_request();
    hub.Request(stream, request);
    return sink.Take(stream);
  }

  // Runs jobs until none is left; answers how many.
  int CatchUp() {
    int ran = 0;
    for (auto jobs = hub.TakeJobs(); !jobs.empty(); jobs = hub.TakeJobs()) {
      for (auto& job : jobs) {
        job->Run(*store.Pin());
        hub.Finish(std::move(job));
        ++ran;
      }
    }
    return ran;
  }

  FakeStore store;
  FakeSink sink;
  WatchHub hub;
};

inline WatchCreateRequest Watch(const std::string& key, const std::string& end = "",
                                int64_t start_revision = 0) {
  WatchCreateRequest create;
  create.set_key(key);
  create.set_range_end(end);
  create.set_start_revision(start_revision);
  return create;
}

using Responses = std::vector<WatchResponse>;

inline const std::string kEverything("\0", 1);

// "id: PUT k=v@3 DELETE k@4", one line per response.
inline std::string Show(const Responses& responses) {
  std::string text;
  for (const WatchResponse& r : responses) {
    text += std::to_string(r.watch_id()) + ":";
    if (r.created()) text += " created";
    if (r.canceled()) text += " canceled";
    if (r.fragment()) text += " fragment";
    for (const mvccpb::Event& event : r.events()) {
      text += event.type() == mvccpb::Event::PUT ? " PUT " : " DELETE ";
      text += event.kv().key();
      if (event.type() == mvccpb::Event::PUT) text += "=" + event.kv().value();
      text += "@" + std::to_string(event.kv().mod_revision());
      if (event.has_prev_kv()) {
        text +=
            "<" + event.prev_kv().value() + "@" + std::to_string(event.prev_kv().mod_revision());
      }
    }
    text += "\n";
  }
  return text;
}

}  // namespace quorate::engine::watch_test
