#include "proxy/watch_proxy.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "proxy/broadcast.h"
#include "proxy/requests.h"

namespace quorate::proxy {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using transport::RpcStatus;

namespace {

constexpr char kDuplicateIdText[] = "mvcc: duplicate watch ID provided on the WatchStream";

// Whether there can be a key in it. An empty end is a single key, "\0" no end.
bool IsRange(const MemberWatches::Target& target) {
  return target.range_end.empty() || target.range_end == std::string_view("\0", 1) ||
         target.range_end > target.key;
}

// A client's stream. Its requests are worked off one by one: answers come in their order.
class ClientWatches final : public CarriedCall, public WatchOwner {
 public:
  ClientWatches(const WatchProxy::Parts& parts, CallPtr call)
      : parts_(parts), call_(std::move(call)), metadata_(MetadataFor(*call_)) {
    const auto value = call_->Metadata("hasleader");
    requires_leader_ = value.has_value() && *value == "true";
  }

  // --- the client
  void Received(Bytes message) override {
    WatchRequest request;
    if (!ParseOrFail(*call_, message, &request)) return;
    requests_.push_back(std::move(request));
    WorkOff();
  }
  void Writable() override {
    if (!std::exchange(out_, false)) return;
    for (auto& [id, watch] : watches_)
      parts_.ranges->Add(&watch, WatchRanges::Position::kInThePast);
  }
  void Ended() override {
    over_ = true;
    for (auto& [id, watch] : watches_) parts_.ranges->Remove(&watch);
    watches_.clear();
  }

  // --- the watches
  void Send(const WatchResponse& head, const Bytes& events) override {
    last_header_ = head.header();
    call_->Send(transport::Message(std::vector<Bytes>{Serialize(head), events}));
  }
  bool IsBehind() const override { return call_->QueuedBytes() > kQueuedBytesMax; }
  void TakeOut() override {
    out_ = true;
    for (auto& [id, watch] : watches_) parts_.ranges->Remove(&watch);
  }
  void OnEnd(Watch* watch, const WatchResponse& end) override {
    Send(end, Bytes());
    watches_.erase(watch->id);
  }
  void Fail(const RpcStatus& status) override { call_->Finish(status); }
  const transport::MetadataList& metadata() const override { return metadata_; }
  bool requires_leader() const override { return requires_leader_; }

 private:
  using Position = WatchRanges::Position;

  void WorkOff();
  void Create(const etcdserverpb::WatchCreateRequest& request);
  void Created(const etcdserverpb::WatchCreateRequest& request, const RpcStatus& status,
               const etcdserverpb::ResponseHeader& header);
  void Refuse(const std::string& reason);
  void Cancel(int64_t id);
  void Progress();
  void TellProgress(const etcdserverpb::ResponseHeader& header);
  std::shared_ptr<ClientWatches> Self() {
    return std::static_pointer_cast<ClientWatches>(shared_from_this());
  }

  const WatchProxy::Parts parts_;
  const CallPtr call_;
  const transport::MetadataList metadata_;
  bool requires_leader_ = false;
  std::deque<WatchRequest> requests_;
  bool busy_ = false;  // with a request that waits for a member
  bool over_ = false;
  bool out_ = false;  // its watches are taken out
  int64_t next_id_ = 0;
  std::map<int64_t, Watch> watches_;
  etcdserverpb::ResponseHeader last_header_;
};

void ClientWatches::WorkOff() {
  while (!busy_ && !over_ && !requests_.empty()) {
    const WatchRequest request = std::move(requests_.front());
    requests_.pop_front();
    if (request.has_create_request()) {
      Create(request.create_request());
    } else if (request.has_cancel_request()) {
      Cancel(request.cancel_request().watch_id());
    } else if (request.has_progress_request()) {
      Progress();
    }
  }
}

// As etcd's proxy: refused on watch id -1.
void ClientWatches::Refuse(const std::string& reason) {
  WatchResponse response;
  response.mutable_header();
  response.set_watch_id(-1);
  response.set_created(true);
  response.set_canceled(true);
  response.set_cancel_reason(reason);
  call_->Send(transport::Message(Serialize(response)));
}

void ClientWatches::Create(const etcdserverpb::WatchCreateRequest& request) {
  if (request.start_revision() < 0) return Refuse(kCompactedText);
  etcdserverpb::RangeRequest read;
  read.set_key(request.key().empty() ? std::string(1, '\0') : request.key());
  read.set_range_end(request.range_end());
  read.set_serializable(true);
  read.set_count_only(true);
  read.set_limit(1);
  busy_ = true;
  parts_.kv->ReadFor(call_, read,
                     [self = Self(), request](const RpcStatus& status,
                                              const etcdserverpb::RangeResponse& response) {
                       self->busy_ = false;
                       if (self->over_) return;
                       self->Created(request, status, response.header());
                       self->WorkOff();
                     });
}

void ClientWatches::Created(const etcdserverpb::WatchCreateRequest& request,
                            const RpcStatus& status, const etcdserverpb::ResponseHeader& header) {
  if (status.message == kNoLeaderText && requires_leader_) return call_->Finish(status);
  if (!status.ok()) return Refuse(status.message);
  Watch watch;
  watch.owner = this;
  watch.target.key = request.key().empty() ? std::string(1, '\0') : request.key();
  watch.target.range_end = request.range_end();
  if (!IsRange(watch.target)) return Refuse("");
  // From now on: what was written through here before is not news, whichever member was asked.
  const int64_t now = std::max(header.revision(), parts_.kv->written_revision());
  const bool from_now = request.start_revision() == 0;
  watch.target.start_revision = from_now ? now + 1 : request.start_revision();
  const Position position =
      watch.target.start_revision > now ? Position::kAtTheEnd : Position::kInThePast;
  for (const int filter : request.filters()) watch.filters |= 1u << (filter & 1);
  watch.progress_notify = request.progress_notify();
  watch.prev_kv = request.prev_kv();
  while (watches_.contains(next_id_)) ++next_id_;
  watch.id = request.watch_id() > 0 ? request.watch_id() : next_id_++;
  const auto [at, is_new] = watches_.emplace(watch.id, watch);
  if (!is_new) return Refuse(kDuplicateIdText);
  WatchResponse response;
  *response.mutable_header() = header;
  response.set_watch_id(watch.id);
  response.set_created(true);
  Send(response, Bytes());
  if (!out_) parts_.ranges->Add(&at->second, position);
}

void ClientWatches::Cancel(int64_t id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  parts_.ranges->Remove(&found->second);
  watches_.erase(found);
  WatchResponse response;
  *response.mutable_header() = last_header_;
  response.set_watch_id(id);
  response.set_canceled(true);
  Send(response, Bytes());
}

// How far all watches are: every stream that they are on is asked.
void ClientWatches::Progress() {
  if (out_) return;
  std::set<MemberWatches*> streams;
  for (const auto& [id, watch] : watches_) streams.insert(watch.broadcast->stream());
  struct Round {
    size_t open;
    etcdserverpb::ResponseHeader lowest;
  };
  const auto round = std::make_shared<Round>(Round{streams.size(), {}});
  for (MemberWatches* stream : streams) {
    stream->AskProgress(this, [self = Self(), round](const etcdserverpb::ResponseHeader& header) {
      const int64_t lowest = round->lowest.revision();
      if (lowest == 0 || header.revision() < lowest) round->lowest = header;
      if (--round->open == 0 && !self->over_ && !self->out_) self->TellProgress(round->lowest);
    });
  }
}

void ClientWatches::TellProgress(const etcdserverpb::ResponseHeader& header) {
  WatchResponse response;
  *response.mutable_header() = header;
  response.set_watch_id(-1);
  Send(response, Bytes());
}

}  // namespace

void WatchProxy::AddTo(transport::ServiceTable* table) const {
  transport::Method method;
  method.path = "/etcdserverpb.Watch/Watch";
  method.kind = transport::Method::Kind::kBidi;
  method.bidi = [parts = parts_](CallPtr call) {
    return std::make_unique<Carrier>(parts.upstream->loop(),
                                     std::make_shared<ClientWatches>(parts, std::move(call)));
  };
  table->Add(std::move(method));
}

}  // namespace quorate::proxy
