#include "ctl/put_load.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>

#include "base/text.h"
#include "ctl/session.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {
namespace {

constexpr int64_t kTickNs = kNanosPerMilli;
constexpr int64_t kProgressNs = 250 * kNanosPerMilli;
constexpr int64_t kPutTimeoutNs = 60 * kNanosPerSecond;

// All on the loop's thread, which is the one that calls Run.
class PutLoad {
 public:
  PutLoad(const PutLoadOptions& options, Interruption* interruption)
      : options_(options),
        loop_(&clock_),
        random_(std::random_device()()),
        value_(options.value_bytes, '\0'),
        interruption_(interruption) {}

  PutLoadResult Run() {
    loop_.Post([this] { Begin(); });
    const Interruption::Listener listener(
        interruption_, [this] { loop_.Post([this] { ends_ns_ = 0, pending_ = 0; }); });
    loop_.Run();
    return std::move(result_);
  }

 private:
  void Begin() {
    for (size_t i = 0; i < options_.clients; ++i) {
      clients_.push_back(
          transport::Channel::Create(&loop_, options_.channels[i % options_.channels.size()]));
      idle_.push_back(i);
    }
    begun_ns_ = last_tick_ns_ = loop_.NowNs();
    ends_ns_ = options_.puts_per_second > 0 ? begun_ns_ + options_.duration_ns : 0;
    pending_ = options_.puts_per_second > 0 ? 0 : options_.puts;
    Tick();
  }

  void Tick() {
    const int64_t now_ns = loop_.NowNs();
    if (now_ns < ends_ns_) {
      due_ += static_cast<double>(options_.puts_per_second) *
              static_cast<double>(now_ns - last_tick_ns_) / kNanosPerSecond;
      pending_ =
          std::min(pending_ + static_cast<int64_t>(due_), static_cast<int64_t>(options_.clients));
      due_ -= std::floor(due_);
    }
    last_tick_ns_ = now_ns;
    Pump();
    if (options_.on_progress && now_ns >= next_progress_ns_) {
      next_progress_ns_ = now_ns + kProgressNs;
      options_.on_progress(done_);
    }
    if (now_ns >= ends_ns_ && pending_ == 0 && idle_.size() == clients_.size()) {
      result_.seconds = static_cast<double>(now_ns - begun_ns_) / kNanosPerSecond;
      clients_.clear();
      loop_.Stop();
      return;
    }
    loop_.RunAt(now_ns + kTickNs, [this] { Tick(); });
  }

  void Pump() {
    while (pending_ > 0 && !idle_.empty()) {
      --pending_;
      const size_t client = idle_.back();
      idle_.pop_back();
      Put(client);
    }
  }

  void Put(size_t client) {
    etcdserverpb::PutRequest request;
    request.set_key(NextKey());
    request.set_value(value_);
    const int64_t sent_ns = clock_.MonotonicNs();
    clients_[client]->Call("/etcdserverpb.KV/Put", Bytes::FromString(request.SerializeAsString()),
                           kPutTimeoutNs, options_.metadata,
                           [this, client, sent_ns](transport::RpcStatus status, Bytes) {
                             OnDone(client, sent_ns, status);
                           });
  }

  void OnDone(size_t client, int64_t sent_ns, const transport::RpcStatus& status) {
    ++done_;
    if (status.ok()) {
      result_.latencies_s.push_back(static_cast<double>(clock_.MonotonicNs() - sent_ns) /
                                    kNanosPerSecond);
    } else {
      ++result_.errors[ErrorText(status)];
    }
    idle_.push_back(client);
    Pump();
  }

  std::string NextKey() {
    const std::string digits = HexText(random_());
    std::string key = StrCat(options_.prefix, digits);
    key.resize(options_.prefix.size() + std::max(options_.key_bytes, digits.size()), '\0');
    return key;
  }

  const PutLoadOptions& options_;
  SystemClock clock_;
  transport::EventLoop loop_;
  std::mt19937_64 random_;
  const std::string value_;
  Interruption* const interruption_;
  std::vector<std::unique_ptr<transport::Channel>> clients_;
  std::vector<size_t> idle_;
  int64_t begun_ns_ = 0;
  int64_t ends_ns_ = 0;  // no more become due
  int64_t last_tick_ns_ = 0;
  int64_t next_progress_ns_ = 0;
  double due_ = 0;  // the part of a put that is not due yet
  int64_t pending_ = 0;
  int64_t done_ = 0;
  PutLoadResult result_;
};

}  // namespace

double PutLoadResult::PutsPerSecond() const {
  return seconds > 0 ? static_cast<double>(latencies_s.size()) / seconds : 0;
}

double PutLoadResult::Slowest() const {
  return latencies_s.empty() ? 0 : *std::max_element(latencies_s.begin(), latencies_s.end());
}

double PutLoadResult::StandardDeviation() const {
  if (latencies_s.empty()) return 0;
  const double count = static_cast<double>(latencies_s.size());
  const double mean = std::accumulate(latencies_s.begin(), latencies_s.end(), 0.0) / count;
  double sum = 0;
  for (const double latency : latencies_s) sum += (latency - mean) * (latency - mean);
  return std::sqrt(sum / count);
}

PutLoadResult RunPutLoad(const PutLoadOptions& options, Interruption* interruption) {
  return PutLoad(options, interruption).Run();
}

}  // namespace quorate::ctl
