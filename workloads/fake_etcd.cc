#include "workloads/fake_etcd.h"

#include <algorithm>
#include <utility>

#include "workloads/wire.h"

namespace quorate::workload {

using transport::RpcCode;
using transport::RpcStatus;

// The server's end of a stream; messages go to the client's loop in order.
struct FakeEtcd::Stream {
  transport::EventLoop* loop = nullptr;
  transport::ClientStreamHandler* handler = nullptr;  // null once the client let go; loop only
  bool keep_alive = false;
};

class FakeStream : public transport::ClientStream {
 public:
  FakeStream(FakeEtcd* etcd, std::shared_ptr<FakeEtcd::Stream> stream)
      : etcd_(etcd), stream_(std::move(stream)) {}
  ~FakeStream() override { stream_->handler = nullptr; }
  void Send(Bytes message) override {
    stream_->loop->Post(
        [etcd = etcd_, stream = stream_, message] { etcd->HandleStream(stream, message.view()); });
  }
  void HalfClose() override {}
  void Cancel() override {}

 private:
  FakeEtcd* const etcd_;
  const std::shared_ptr<FakeEtcd::Stream> stream_;
};

class FakeChannel : public transport::Channel {
 public:
  FakeChannel(FakeEtcd* etcd, transport::EventLoop* loop) : etcd_(etcd), loop_(loop) {}

  void Call(std::string_view path, Bytes request, int64_t, const transport::MetadataList&,
            UnaryCallback done) override {
    loop_->Post([etcd = etcd_, path = std::string(path), request, done = std::move(done)] {
      std::string answer;
      RpcStatus status = etcd->Handle(path, request.view(), &answer);
      done(std::move(status), Bytes::FromString(std::move(answer)));
    });
  }
  std::unique_ptr<transport::ClientStream> Open(std::string_view path,
                                                const transport::MetadataList&,
                                                transport::ClientStreamHandler* handler) override {
    auto stream = std::make_shared<FakeEtcd::Stream>();
    stream->loop = loop_;
    stream->handler = handler;
    stream->keep_alive = path == kLeaseKeepAlivePath;
    return std::make_unique<FakeStream>(etcd_, std::move(stream));
  }
  bool connected() const override { return true; }

 private:
  FakeEtcd* const etcd_;
  transport::EventLoop* const loop_;
};

namespace {

template <class T>
T Parse(std::string_view bytes) {
  T message;
  message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  return message;
}

}  // namespace

ChannelFactory FakeEtcd::Factory() {
  return [this](transport::EventLoop* loop, uint64_t) {
    return std::make_unique<FakeChannel>(this, loop);
  };
}

bool FakeEtcd::Strike(Planted planted) {
  // Whether a stale answer can be told from one that was overtaken depends on what the client knew
  // when it asked; so these come again and again, and one of them is caught.
  const bool repeats = planted == Planted::kStaleGet || planted == Planted::kGetFindsNothing ||
                       planted == Planted::kStaleHeader || planted == Planted::kListLeavesOut;
  if (planted_ != planted || (struck_ && !repeats) || revision_ < kStrikeAt) return false;
  struck_ = true;
  return true;
}

RpcStatus FakeEtcd::Handle(std::string_view path, std::string_view request, std::string* answer) {
  std::lock_guard lock(mutex_);
  const auto finish = [&](auto message) {
    if (message.header().revision() == 0) message.mutable_header()->set_revision(revision_);
    *answer = message.SerializeAsString();
    return RpcStatus();
  };
  if (path == kRangePath) {
    const auto parsed = Parse<etcdserverpb::RangeRequest>(request);
    auto range = Range(parsed);
    range.mutable_header()->set_revision(revision_);
    SpoilRange(parsed, &range);
    finish(range);
    if (parsed.key().size() > 1 && Strike(Planted::kGarbage)) *answer = "\x0f garbage";
    return {};
  }
  if (path == kPutPath) return finish(Put(Parse<etcdserverpb::PutRequest>(request)));
  if (path == kDeletePath) return finish(Delete(Parse<etcdserverpb::DeleteRangeRequest>(request)));
  if (path == kTxnPath) return finish(Txn(Parse<etcdserverpb::TxnRequest>(request)));
  if (path == kCompactPath) return finish(etcdserverpb::CompactionResponse());
  if (path == kDefragmentPath) return {};
  if (path == kStatusPath) {
    etcdserverpb::StatusResponse status;
    status.set_version("fake");
    return finish(status);
  }
  if (path == kLeaseGrantPath) {
    const auto parsed = Parse<etcdserverpb::LeaseGrantRequest>(request);
    etcdserverpb::LeaseGrantResponse grant;
    grant.set_id(++next_lease_);
    grant.set_ttl(Strike(Planted::kLeaseShort) ? parsed.ttl() - 1 : parsed.ttl());
    leases_[grant.id()] = grant.ttl();
    return finish(grant);
  }
  if (path == kLeaseRevokePath) {
    if (leases_.erase(Parse<etcdserverpb::LeaseRevokeRequest>(request).id()) == 0) {
      return {RpcCode::kNotFound, "etcdserver: requested lease not found"};
    }
    return finish(etcdserverpb::LeaseRevokeResponse());
  }
  return {RpcCode::kUnimplemented, std::string(path)};
}

// The driver surely knows of the key's last change, and that nobody deletes the key.
bool FakeEtcd::Settled(const mvccpb::KeyValue& kv) const {
  return kv.key().starts_with("/a/") && kv.mod_revision() + 20 < revision_;
}

etcdserverpb::RangeResponse FakeEtcd::Range(const etcdserverpb::RangeRequest& request) {
  etcdserverpb::RangeResponse range;
  const bool single = request.range_end().empty();
  for (auto it = keys_.lower_bound(request.key()); it != keys_.end(); ++it) {
    if (single ? it->first != request.key() : it->first >= request.range_end()) break;
    range.set_count(range.count() + 1);
    if (request.count_only()) continue;
    if (request.limit() > 0 && range.kvs_size() == request.limit()) {
      range.set_more(true);
      continue;
    }
    *range.add_kvs() = it->second;
    if (request.keys_only()) range.mutable_kvs(range.kvs_size() - 1)->clear_value();
  }
  return range;
}

void FakeEtcd::SpoilRange(const etcdserverpb::RangeRequest& request,
                          etcdserverpb::RangeResponse* range) {
  if (request.count_only()) {
    if (Strike(Planted::kWrongCount)) range->set_count(range->count() + 1);
    return;
  }
  if (!request.range_end().empty()) {
    if (range->kvs_size() < 3) return;
    if (Settled(range->kvs(1)) && Strike(Planted::kListLeavesOut)) {
      range->mutable_kvs()->DeleteSubrange(1, 1);
      range->set_count(range->count() - 1);
    }
    if (Strike(Planted::kListOutOfOrder)) range->mutable_kvs()->SwapElements(0, 1);
    if (Strike(Planted::kListWrongCount)) range->set_count(range->count() + 1);
    return;
  }
  if (range->kvs_size() == 0) return;
  mvccpb::KeyValue* kv = range->mutable_kvs(0);
  const auto before = before_.find(kv->key());
  const auto other = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const auto& entry) { return entry.first != kv->key(); });
  if (other != keys_.end() && Strike(Planted::kValueOfOtherKey)) {
    kv->set_value(other->second.value());
  }
  if (Strike(Planted::kDamagedValue)) (*kv->mutable_value())[kv->value().size() / 2] ^= 1;
  if (!request.serializable() && Strike(Planted::kStaleHeader)) {
    range->mutable_header()->set_revision(3);
  }
  if (!Settled(*kv)) return;
  if (before != before_.end() && Strike(Planted::kStaleGet)) *kv = before->second;
  if (Strike(Planted::kGetFindsNothing)) {
    range->clear_kvs();
    range->clear_count();
  }
}

etcdserverpb::PutResponse FakeEtcd::Put(const etcdserverpb::PutRequest& request) {
  etcdserverpb::PutResponse put;
  mvccpb::KeyValue& kv = keys_[request.key()];
  if (request.prev_kv() && kv.version() > 0) *put.mutable_prev_kv() = kv;
  if (kv.version() > 0 && Strike(Planted::kLosesWrite)) {
    put.mutable_header()->set_revision(++revision_);
    return put;
  }
  if (kv.version() > 0) before_[request.key()] = kv;
  ++revision_;
  if (kv.version() == 0) kv.set_create_revision(revision_);
  kv.set_key(request.key());
  kv.set_value(request.value());
  kv.set_lease(request.lease());
  kv.set_mod_revision(revision_);
  kv.set_version(kv.version() + 1);
  put.mutable_header()->set_revision(revision_);
  if (Strike(Planted::kRevisionTwice)) put.mutable_header()->set_revision(revision_ - 1);
  if (Strike(Planted::kRevisionGoesBack)) put.mutable_header()->set_revision(2);
  mvccpb::Event event;
  *event.mutable_kv() = kv;
  if (kv.version() > 1) *event.mutable_prev_kv() = before_[request.key()];
  Publish(std::move(event));
  return put;
}

etcdserverpb::DeleteRangeResponse FakeEtcd::Delete(
    const etcdserverpb::DeleteRangeRequest& request) {
  etcdserverpb::DeleteRangeResponse deleted;
  const auto found = keys_.find(request.key());
  if (found == keys_.end()) return deleted;
  ++revision_;
  deleted.set_deleted(1);
  deleted.mutable_header()->set_revision(revision_);
  if (request.prev_kv()) *deleted.add_prev_kvs() = found->second;
  mvccpb::Event event;
  event.set_type(mvccpb::Event::DELETE);
  event.mutable_kv()->set_key(request.key());
  event.mutable_kv()->set_mod_revision(revision_);
  *event.mutable_prev_kv() = found->second;
  keys_.erase(found);
  before_.erase(request.key());
  Publish(std::move(event));
  return deleted;
}

etcdserverpb::TxnResponse FakeEtcd::Txn(const etcdserverpb::TxnRequest& request) {
  etcdserverpb::TxnResponse txn;
  const auto& compare = request.compare(0);
  const auto found = keys_.find(compare.key());
  const int64_t is = found == keys_.end() ? 0 : found->second.mod_revision();
  bool holds = is == compare.mod_revision();
  if (!holds && is != 0 && Strike(Planted::kTxnIgnoresGuard)) holds = true;
  if (holds && is != 0 && Strike(Planted::kTxnRefuses)) holds = false;
  txn.set_succeeded(holds);
  const auto& op = holds ? request.success(0) : request.failure(0);
  auto* response = txn.add_responses();
  if (op.has_request_put()) *response->mutable_response_put() = Put(op.request_put());
  if (op.has_request_range()) *response->mutable_response_range() = Range(op.request_range());
  if (op.has_request_delete_range()) {
    *response->mutable_response_delete_range() = Delete(op.request_delete_range());
  }
  txn.mutable_header()->set_revision(revision_);
  return txn;
}

void FakeEtcd::Publish(mvccpb::Event event) {
  log_.push_back(event);
  bool watched = false;
  for (const Watch& watch : watches_) {
    watched |= !watch.stream.expired() && watch.Covers(event.kv().key());
  }
  if (!watched) return;
  if (planted_ == Planted::kLosesLastEvent && revision_ >= kStrikeAt) {
    // Holds each event back until the next one comes, so the last never does.
    struck_ = true;
    if (held_back_ != nullptr)
      std::swap(*held_back_, event);
    else {
      held_back_ = std::make_unique<mvccpb::Event>(std::move(event));
      return;
    }
  }
  if (Strike(Planted::kLosesEvent)) return;
  if (Strike(Planted::kReordersEvents)) {
    held_back_ = std::make_unique<mvccpb::Event>(std::move(event));
    return;
  }
  if (event.kv().version() > 1 && Strike(Planted::kEventValueOld)) {
    event.mutable_kv()->set_value(event.prev_kv().value());
  }
  if (event.kv().version() > 1 && Strike(Planted::kWrongPrevKv)) {
    event.mutable_prev_kv()->set_mod_revision(event.kv().mod_revision());
  }
  const bool repeats = Strike(Planted::kRepeatsEvent);
  const bool stray = Strike(Planted::kEventOfOtherKey);
  for (const Watch& watch : watches_) {
    if (watch.Covers(event.kv().key()) != stray) Send(watch, event);
    if (watch.Covers(event.kv().key()) && repeats) Send(watch, event);
    if (planted_ == Planted::kReordersEvents && held_back_ != nullptr &&
        watch.Covers(held_back_->kv().key())) {
      Send(watch, *held_back_);
    }
  }
  if (planted_ == Planted::kReordersEvents) held_back_.reset();
}

void FakeEtcd::Send(const Watch& watch, mvccpb::Event event) {
  const std::shared_ptr<Stream> stream = watch.stream.lock();
  if (stream == nullptr) return;
  etcdserverpb::WatchResponse response;
  response.mutable_header()->set_revision(revision_);
  response.set_watch_id(watch.id);
  if (!watch.prev_kv) event.clear_prev_kv();
  *response.add_events() = std::move(event);
  stream->loop->Post([stream, bytes = Bytes::FromString(response.SerializeAsString())] {
    if (stream->handler != nullptr) stream->handler->OnMessage(bytes);
  });
}

void FakeEtcd::CreateWatch(const std::shared_ptr<Stream>& stream,
                           const etcdserverpb::WatchCreateRequest& create) {
  const Watch watch{stream, create.watch_id(), create.key(), create.range_end(), create.prev_kv()};
  etcdserverpb::WatchResponse response;
  response.mutable_header()->set_revision(revision_);
  response.set_watch_id(watch.id);
  response.set_created(true);
  stream->handler->OnMessage(Bytes::FromString(response.SerializeAsString()));
  for (const mvccpb::Event& event : log_) {
    if (event.kv().mod_revision() >= create.start_revision() && watch.Covers(event.kv().key())) {
      Send(watch, event);
    }
  }
  watches_.push_back(watch);
}

void FakeEtcd::HandleStream(const std::shared_ptr<Stream>& stream, std::string_view request) {
  if (stream->handler == nullptr) return;
  if (!stream->keep_alive) {
    std::lock_guard lock(mutex_);
    CreateWatch(stream, Parse<etcdserverpb::WatchRequest>(request).create_request());
    return;
  }
  etcdserverpb::LeaseKeepAliveResponse answer;
  {
    std::lock_guard lock(mutex_);
    const int64_t id = Parse<etcdserverpb::LeaseKeepAliveRequest>(request).id();
    answer.mutable_header()->set_revision(revision_);
    answer.set_id(id);
    const auto lease = leases_.find(id);
    if (lease != leases_.end() && !Strike(Planted::kLeaseLost)) answer.set_ttl(lease->second);
  }
  stream->handler->OnMessage(Bytes::FromString(answer.SerializeAsString()));
}

}  // namespace quorate::workload
