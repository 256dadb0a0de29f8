#include "workloads/leases.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "workloads/wire.h"

namespace quorate::workload {

using transport::RpcCode;
using transport::RpcStatus;

// One keep-alive stream. Answers come in the order of the requests.
class LeaseKeeper::Stream : public transport::ClientStreamHandler {
 public:
  Stream(LeaseKeeper* keeper, transport::Channel* channel) : keeper_(keeper), channel_(channel) {}

  void Send(size_t lease, Done done) {
    if (stream_ == nullptr) stream_ = channel_->Open(kLeaseKeepAlivePath, {}, this);
    waiting_.push_back({lease, keeper_->clock_->MonotonicNs(), std::move(done)});
    stream_->Send(EncodeLeaseId(keeper_->standing_[lease].id));
  }

  void Tick(int64_t now_ns, int64_t timeout_ns) {
    if (waiting_.empty() || now_ns - waiting_.front().sent_ns <= timeout_ns) return;
    stream_.reset();  // no answer of the old stream may be taken for one of the next
    Fail({RpcCode::kDeadlineExceeded, "no answer on the keep-alive stream"});
  }

  void OnMessage(Bytes message) override {
    LeaseView view;
    CheckLog* checks = keeper_->checks_;
    if (!DecodeLease(message.view(), &view) || waiting_.empty()) {
      checks->Failed(Check::kDecode, "a message on a keep-alive stream answers nothing");
      return;
    }
    Waiting waiting = std::move(waiting_.front());
    waiting_.pop_front();
    Lease& lease = keeper_->standing_[waiting.lease];
    const int64_t now_ns = keeper_->clock_->MonotonicNs();
    const bool may_be_over = now_ns - lease.renewed_ns > lease.ttl_s * kNanosPerSecond;
    const bool right = checks->Expect(
        Check::kLease,
        view.id == lease.id && (view.ttl_s == lease.ttl_s || (view.ttl_s == 0 && may_be_over)),
        [&] {
          return StrCat("keep-alive of lease ", lease.id, " (", lease.ttl_s, "s, renewed ",
                        (now_ns - lease.renewed_ns) / kNanosPerMilli, "ms ago) answers lease ",
                        view.id, " with ", view.ttl_s, "s");
        });
    if (view.ttl_s > 0) lease.renewed_ns = waiting.sent_ns;
    const RpcStatus status =
        view.ttl_s > 0 ? RpcStatus() : RpcStatus{RpcCode::kNotFound, "the lease has ended"};
    waiting.done(right ? status : RpcStatus(), right);
  }

  void OnClosed(RpcStatus status) override {
    if (status.ok()) status = {RpcCode::kUnavailable, "the keep-alive stream ended"};
    Fail(status);
  }

 private:
  struct Waiting {
    size_t lease;
    int64_t sent_ns;
    Done done;
  };

  void Fail(const RpcStatus& status) {
    // A stream that ended is let go of when the next one ends: this is its own callback.
    if (stream_ != nullptr) closed_ = std::move(stream_);
    std::deque<Waiting> failed = std::exchange(waiting_, {});
    for (Waiting& waiting : failed) waiting.done(status, true);
  }

  LeaseKeeper* const keeper_;
  transport::Channel* const channel_;
  std::unique_ptr<transport::ClientStream> stream_;
  std::unique_ptr<transport::ClientStream> closed_;
  std::deque<Waiting> waiting_;
};

LeaseKeeper::LeaseKeeper(const LoadSpec& load, std::vector<transport::Channel*> channels,
                         const Clock* clock, CheckLog* checks)
    : load_(load),
      channels_(std::move(channels)),
      clock_(clock),
      checks_(checks),
      streams_(channels_.size()) {}

LeaseKeeper::~LeaseKeeper() = default;

void LeaseKeeper::Granted(std::string_view answer, int64_t sent_ns, std::vector<Lease>* into,
                          const Done& done) {
  LeaseView view;
  const int64_t asked_s = load_.lease_ttl_ns / kNanosPerSecond;
  const bool right = checks_->Expect(
      Check::kLease, DecodeLease(answer, &view) && view.id != 0 && view.ttl_s >= asked_s, [&] {
        return StrCat("a grant of ", asked_s, "s answers lease ", view.id, " of ", view.ttl_s, "s");
      });
  if (right) into->push_back({view.id, view.ttl_s, sent_ns});
  done({}, right);
}

void LeaseKeeper::Prepare(int64_t count, std::function<void(RpcStatus)> ready) {
  if (count == 0) return ready({});
  struct Shared {
    int64_t open;
    RpcStatus first_error;
    std::function<void(RpcStatus)> ready;
  };
  auto shared = std::make_shared<Shared>(Shared{count, {}, std::move(ready)});
  const int64_t sent_ns = clock_->MonotonicNs();
  for (int64_t i = 0; i < count; ++i) {
    const auto one_done = [shared](const RpcStatus& status, bool /*right*/) {
      if (!status.ok() && shared->first_error.ok()) shared->first_error = status;
      if (--shared->open == 0) shared->ready(shared->first_error);
    };
    channels_[static_cast<size_t>(i) % channels_.size()]->Call(
        kLeaseGrantPath, EncodeLeaseGrant(load_.lease_ttl_ns / kNanosPerSecond, 0),
        load_.timeout_ns, {}, [this, sent_ns, one_done](RpcStatus status, Bytes answer) {
          if (!status.ok()) return one_done(status, true);
          Granted(answer.view(), sent_ns, &standing_, one_done);
        });
  }
}

int64_t LeaseKeeper::NextStanding() {
  if (standing_.empty()) return 0;
  return standing_[next_standing_++ % standing_.size()].id;
}

void LeaseKeeper::Grant(size_t channel, Done done) {
  const int64_t sent_ns = clock_->MonotonicNs();
  channels_[channel]->Call(
      kLeaseGrantPath, EncodeLeaseGrant(load_.lease_ttl_ns / kNanosPerSecond, 0), load_.timeout_ns,
      {}, [this, sent_ns, done = std::move(done)](RpcStatus status, Bytes answer) {
        if (!status.ok()) return done(status, true);
        Granted(answer.view(), sent_ns, &revocable_, done);
      });
}

void LeaseKeeper::Revoke(size_t channel, Done done) {
  QR_CHECK(HasRevocable());
  const Lease lease = revocable_.back();
  revocable_.pop_back();
  channels_[channel]->Call(
      kLeaseRevokePath, EncodeLeaseId(lease.id), load_.timeout_ns, {},
      [this, lease, done = std::move(done)](RpcStatus status, Bytes answer) {
        bool right = true;
        const int64_t age_ns = clock_->MonotonicNs() - lease.renewed_ns;
        if (status.code == RpcCode::kNotFound && age_ns < lease.ttl_s * kNanosPerSecond) {
          right = checks_->Expect(Check::kLease, false, [&] {
            return StrCat("lease ", lease.id, " of ", lease.ttl_s, "s was gone after ",
                          age_ns / kNanosPerMilli, "ms");
          });
        } else if (status.ok()) {
          int64_t revision = 0;
          right = checks_->Expect(Check::kDecode,
                                  DecodeHeaderRevision(answer.view(), &revision) && revision > 0,
                                  [] { return std::string("a revoke's answer has no header"); });
        }
        done(status, right);
      });
}

void LeaseKeeper::KeepAlive(size_t channel, Done done) {
  if (standing_.empty()) {
    return done({RpcCode::kNotFound, "the load has no lease to keep alive"}, true);
  }
  auto& stream = streams_[channel];
  if (stream == nullptr) stream = std::make_unique<Stream>(this, channels_[channel]);
  stream->Send(next_kept_++ % standing_.size(), std::move(done));
}

void LeaseKeeper::Tick(int64_t now_ns) {
  for (const auto& stream : streams_) {
    if (stream != nullptr) stream->Tick(now_ns, load_.timeout_ns);
  }
}

}  // namespace quorate::workload
