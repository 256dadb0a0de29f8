// SpanExporter: sends recorded spans to a collector over OTLP/gRPC, in batches, on a thread of its
// own. Whoever records waits for nothing: what a slow or absent collector leaves no room for is
// dropped and counted. A batch that could not be delivered is tried again until it is.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/clock.h"
#include "server/tracing/span.h"
#include "transport/client.h"
#include "transport/event_loop.h"

namespace quorate::server {

class SpanExporter {
 public:
  struct Options {
    std::string host;
    uint16_t port = 0;
    SpanSource source;
    size_t queue_spans_max = 8192;  // as many again may wait behind the queue
    size_t batch_spans_max = 512;
    int64_t linger_ns = 100 * kNanosPerMilli;  // from the first span of a batch to its leaving
    int64_t call_timeout_ns = 10 * kNanosPerSecond;
    int64_t retry_ns = 500 * kNanosPerMilli;     // after a failure
    int64_t stop_wait_ns = 1 * kNanosPerSecond;  // for what waits at the end
  };
  struct Counts {
    std::atomic<uint64_t> sent{0};     // taken by the collector
    std::atomic<uint64_t> dropped{0};  // for want of room, refused, or left at the end
  };

  SpanExporter(Options options, const Clock* clock);
  ~SpanExporter();  // stops

  // Any thread.
  void Add(Span span);
  const Counts& counts() const { return counts_; }
  // Sends what waits, if the collector takes it in time. Later spans are dropped. Blocks.
  void Stop();

 private:
  // --- loop thread
  void SendSoon();
  void Send();
  void OnAnswer(const transport::RpcStatus& status, const Bytes& response);
  void OnRefusal(const transport::RpcStatus& status);
  void DropBatch();
  void TellOnce(const transport::RpcStatus& status);
  void Ended();

  const Options options_;
  Counts counts_;
  transport::EventLoop loop_;
  BoundedQueue<Span> queue_;

  // Loop thread only.
  std::unique_ptr<transport::Channel> channel_;
  std::vector<Span> waiting_;  // taken from the queue; the first `batch_` are on their way
  size_t batch_ = 0;
  transport::EventLoop::TimerId timer_ = 0;
  bool failing_ = false;  // the last attempt failed, and the log says so
  bool stopping_ = false;
  bool ended_ = false;
  std::promise<void> end_;

  std::thread thread_;
};

}  // namespace quorate::server
