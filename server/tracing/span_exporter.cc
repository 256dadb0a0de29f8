#include "server/tracing/span_exporter.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "base/text.h"
#include "base/thread_name.h"
#include "proto/otlp.pb.h"

namespace quorate::server {
namespace {

using transport::RpcCode;
using transport::RpcStatus;

constexpr char kExport[] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

// Failures behind which OTLP has a sender try again; others are about the batch itself.
bool MayPass(RpcCode code) {
  switch (code) {
    case RpcCode::kCanceled:
    case RpcCode::kDeadlineExceeded:
    case RpcCode::kResourceExhausted:
    case RpcCode::kAborted:
    case RpcCode::kOutOfRange:
    case RpcCode::kUnavailable:
    case RpcCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

}  // namespace

SpanExporter::SpanExporter(Options options, const Clock* clock)
    : options_(std::move(options)),
      loop_(clock),
      queue_(options_.queue_spans_max, [this] { loop_.Post([this] { SendSoon(); }); }),
      thread_([this] {
        SetThreadName("spans");
        loop_.Run();
      }) {}

SpanExporter::~SpanExporter() { Stop(); }

void SpanExporter::Add(Span span) {
  if (!queue_.TryPush(std::move(span))) counts_.dropped.fetch_add(1, std::memory_order_relaxed);
}

void SpanExporter::Stop() {
  if (!thread_.joinable()) return;
  std::future<void> end = end_.get_future();
  queue_.Close();
  loop_.Post([this] {
    stopping_ = true;
    // Nobody waits for a collector that was not there a moment ago.
    if (failing_) return Ended();
    if (batch_ == 0) Send();
  });
  end.wait_for(std::chrono::nanoseconds(options_.stop_wait_ns));
  std::promise<void> closed;
  loop_.Post([this, &closed] {
    Ended();
    channel_.reset();
    closed.set_value();
  });
  closed.get_future().wait();
  loop_.Stop();
  thread_.join();
  std::vector<Span> left;
  queue_.Take(&left);
  counts_.dropped.fetch_add(waiting_.size() + left.size(), std::memory_order_relaxed);
}

void SpanExporter::SendSoon() {
  if (timer_ != 0 || batch_ > 0 || ended_) return;
  timer_ = loop_.RunAt(loop_.NowNs() + options_.linger_ns, [this] {
    timer_ = 0;
    Send();
  });
}

void SpanExporter::Send() {
  if (ended_ || batch_ > 0) return;
  // Taken only now, so that no more than two queues full wait.
  if (waiting_.empty() && !queue_.Take(&waiting_)) {
    if (stopping_) Ended();
    return;
  }
  if (channel_ == nullptr) {
    transport::ChannelOptions channel;
    channel.host = options_.host;
    channel.port = options_.port;
    channel_ = transport::Channel::Create(&loop_, channel);
  }
  batch_ = std::min(waiting_.size(), options_.batch_spans_max);
  channel_->Call(kExport, EncodeSpans(options_.source, {waiting_.data(), batch_}),
                 options_.call_timeout_ns, {},
                 [this](const RpcStatus& status, const Bytes& response) {
                   if (!ended_) OnAnswer(status, response);
                 });
}

void SpanExporter::OnAnswer(const RpcStatus& status, const Bytes& response) {
  if (!status.ok()) return OnRefusal(status);
  if (std::exchange(failing_, false)) {
    LogInfo("the trace collector takes spans again",
            {{"address", StrCat(options_.host, ":", options_.port)}});
  }
  otlp::ExportTraceServiceResponse answer;
  uint64_t rejected = 0;
  if (answer.ParseFromArray(response.data(), static_cast<int>(response.size()))) {
    const int64_t count = answer.partial_success().rejected_spans();
    rejected = std::min<uint64_t>(static_cast<uint64_t>(std::max<int64_t>(count, 0)), batch_);
  }
  counts_.sent.fetch_add(batch_ - rejected, std::memory_order_relaxed);
  counts_.dropped.fetch_add(rejected, std::memory_order_relaxed);
  DropBatch();
  // What came meanwhile waited long enough.
  Send();
}

void SpanExporter::OnRefusal(const RpcStatus& status) {
  TellOnce(status);
  if (!MayPass(status.code)) {
    counts_.dropped.fetch_add(batch_, std::memory_order_relaxed);
    DropBatch();
  }
  batch_ = 0;
  if (stopping_) return Ended();
  timer_ = loop_.RunAt(loop_.NowNs() + options_.retry_ns, [this] {
    timer_ = 0;
    Send();
  });
}

void SpanExporter::DropBatch() {
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(batch_));
  batch_ = 0;
}

void SpanExporter::TellOnce(const RpcStatus& status) {
  if (std::exchange(failing_, true)) return;
  LogWarn(MayPass(status.code)
              ? "the trace collector cannot be reached; spans wait for it, and are "
                "dropped where there is no room"
              : "the trace collector refuses spans; they are dropped",
          {{"address", StrCat(options_.host, ":", options_.port)},
           {"code", static_cast<int>(status.code)},
           {"error", status.message}});
}

void SpanExporter::Ended() {
  if (std::exchange(ended_, true)) return;
  end_.set_value();
}

}  // namespace quorate::server
