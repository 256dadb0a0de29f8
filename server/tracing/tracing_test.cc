#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "proto/otlp.pb.h"
#include "server/tracing/rpc_tracing.h"
#include "server/tracing/span.h"
#include "server/tracing/span_exporter.h"
#include "server/tracing/trace_context.h"

namespace quorate::server {
namespace {

using transport::RpcCode;

constexpr char kParent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const std::string kIds = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

template <class Id>
Id IdOf(uint8_t last) {
  Id id{};
  id.back() = last;
  return id;
}

TEST_CASE("a traceparent is taken apart") {
  const auto context = ParseTraceparent(kParent);
  REQUIRE(context.has_value());
  CHECK(context->trace_id.front() == 0x0a);
  CHECK(context->trace_id.back() == 0x9c);
  CHECK(context->span_id.front() == 0xb7);
  CHECK(context->span_id.back() == 0x31);
  CHECK(context->sampled());
  CHECK_FALSE(ParseTraceparent("00-" + kIds + "-00")->sampled());
  CHECK(ParseTraceparent("00-" + kIds + "-ff")->sampled());
  // What later versions append is not looked at.
  CHECK(ParseTraceparent("01-" + kIds + "-01").has_value());
  CHECK(ParseTraceparent("cc-" + kIds + "-01-more").has_value());
}

TEST_CASE("a traceparent that is none is ignored") {
  const std::string broken = GENERATE_COPY(values<std::string>({
      "",
      "00",
      "00-" + kIds,
      "00-" + kIds + "-0",
      "00-" + kIds + "-01-",
      "00-" + kIds + "-0g",
      "ff-" + kIds + "-01",
      "01-" + kIds + "-01more",
      "00_" + kIds + "-01",
      "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
  }));
  INFO(broken);
  CHECK_FALSE(ParseTraceparent(broken).has_value());
}

TEST_CASE("a tracestate is passed on when it looks like one") {
  CHECK(IsTracestate("a=b"));
  CHECK(IsTracestate("a=b,vendor@x=1"));
  CHECK_FALSE(IsTracestate(""));
  CHECK_FALSE(IsTracestate("a"));
  CHECK_FALSE(IsTracestate("=b"));
  CHECK_FALSE(IsTracestate("a=\x01"));
  CHECK_FALSE(IsTracestate("a=" + std::string(511, 'b')));
}

TEST_CASE("the sampler keeps the share that it is told") {
  CHECK_FALSE(Sampler(0).may_begin());
  CHECK(Sampler(1).may_begin());
  TraceId highest;
  highest.fill(0xff);
  CHECK(Sampler(Sampler::kAll).Records(highest));
  CHECK_FALSE(Sampler(Sampler::kAll - 1).Records(highest));
  CHECK_FALSE(Sampler(0).Records(TraceId{}));
  // As the SDKs have it, the last eight bytes decide: 2^62 of 2^63 is a half.
  TraceId half{};
  half[8] = 0x80;
  CHECK_FALSE(Sampler(500'000).Records(half));
  half[8] = 0x7f;
  half[0] = 0xff;
  CHECK(Sampler(500'000).Records(half));

  Random random(1);
  int recorded = 0;
  for (int i = 0; i < 100'000; ++i) {
    TraceId id;
    for (uint8_t& byte : id) byte = static_cast<uint8_t>(random.Below(256));
    recorded += Sampler(10'000).Records(id) ? 1 : 0;
  }
  CHECK(recorded > 800);
  CHECK(recorded < 1200);
}

TEST_CASE("spans are encoded for a collector") {
  Span span;
  span.context = {IdOf<TraceId>(1), IdOf<SpanId>(2), 1};
  span.parent = IdOf<SpanId>(3);
  span.trace_state = "a=b";
  span.name = "etcdserverpb.KV/Put";
  span.start_ns = 1000;
  span.end_ns = 3000;
  Span failed = span;
  failed.parent.reset();
  failed.code = RpcCode::kUnavailable;
  failed.message = "etcdserver: no leader";
  Span refused = span;
  refused.code = RpcCode::kNotFound;

  const SpanSource source{"etcd", "one", "0.1.0", "127.0.0.1", 2379};
  const Bytes bytes = EncodeSpans(source, std::vector<Span>{span, failed, refused});
  otlp::ExportTraceServiceRequest request;
  REQUIRE(request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  REQUIRE(request.resource_spans_size() == 1);
  const otlp::ResourceSpans& all = request.resource_spans(0);
  REQUIRE(all.resource().attributes_size() == 2);
  CHECK(all.resource().attributes(0).key() == "service.instance.id");
  CHECK(all.resource().attributes(0).value().string_value() == "one");
  CHECK(all.resource().attributes(1).key() == "service.name");
  CHECK(all.resource().attributes(1).value().string_value() == "etcd");
  REQUIRE(all.scope_spans_size() == 1);
  REQUIRE(all.scope_spans(0).spans_size() == 3);

  const otlp::Span& put = all.scope_spans(0).spans(0);
  CHECK(put.trace_id() == std::string(15, '\0') + '\1');
  CHECK(put.span_id() == std::string(7, '\0') + '\2');
  CHECK(put.parent_span_id() == std::string(7, '\0') + '\3');
  CHECK(put.trace_state() == "a=b");
  CHECK(put.flags() == 0x301);
  CHECK(put.name() == "etcdserverpb.KV/Put");
  CHECK(put.kind() == otlp::Span::KIND_SERVER);
  CHECK(put.start_time_unix_nano() == 1000);
  CHECK(put.end_time_unix_nano() == 3000);
  CHECK_FALSE(put.has_status());
  std::map<std::string, otlp::AnyValue> attributes;
  for (const auto& attribute : put.attributes()) attributes[attribute.key()] = attribute.value();
  CHECK(attributes["rpc.system.name"].string_value() == "grpc");
  CHECK(attributes["rpc.method"].string_value() == "etcdserverpb.KV/Put");
  CHECK(attributes["rpc.response.status_code"].string_value() == "OK");
  CHECK(attributes["server.address"].string_value() == "127.0.0.1");
  CHECK(attributes["server.port"].int_value() == 2379);
  CHECK(attributes.size() == 5);

  const otlp::Span& lost = all.scope_spans(0).spans(1);
  CHECK(lost.parent_span_id().empty());
  CHECK(lost.flags() == 0x101);
  CHECK(lost.status().code() == otlp::Status::ERROR);
  CHECK(lost.status().message() == "etcdserver: no leader");
  // The caller's mistake is no failure of the server's.
  CHECK_FALSE(all.scope_spans(0).spans(2).has_status());
}

// A call with metadata, of which nothing else is asked.
class FakeCall final : public transport::ServerCall {
 public:
  using Fields = std::map<std::string, std::string, std::less<>>;
  explicit FakeCall(Fields metadata) : metadata_(std::move(metadata)) {}
  std::optional<std::string> Metadata(std::string_view name) const override {
    const auto at = metadata_.find(name);
    return at == metadata_.end() ? std::nullopt : std::make_optional(at->second);
  }
  std::string peer() const override { return ""; }
  int64_t deadline_ns() const override { return INT64_MAX; }
  int64_t received_ns() const override { return 0; }
  bool cancelled() const override { return false; }
  void Send(transport::Message) override {}
  void Finish(transport::RpcStatus) override {}
  void Reply(transport::Message) override {}
  size_t QueuedBytes() const override { return 0; }

 private:
  const Fields metadata_;
};

class CountingObserver final : public transport::RpcObserver {
 public:
  std::unique_ptr<transport::RpcTrace> Started(const transport::Method&,
                                               const transport::ServerCall&) override {
    ++started;
    return nullptr;
  }
  void MessageReceived(const transport::Method&, size_t) override {}
  void MessageSent(const transport::Method&, size_t) override {}
  void Handled(const transport::Method&, const transport::RpcOutcome&,
               std::unique_ptr<transport::RpcTrace>) override {
    ++handled;
  }
  int started = 0, handled = 0;
};

SpanExporter::Options Nowhere() {
  SpanExporter::Options options;
  options.host = "127.0.0.1";
  options.port = 1;  // nobody listens there
  options.linger_ns = INT64_MAX / 2;
  return options;
}

TEST_CASE("who is recorded: the parent's decision, or else the rate") {
  using Fields = FakeCall::Fields;
  const SystemClock clock;
  SpanExporter exporter(Nowhere(), &clock);
  CountingObserver others;
  const transport::Method method{.path = "/etcdserverpb.KV/Put"};
  const FakeCall alone{Fields()};
  const FakeCall recorded{Fields{{"traceparent", kParent}}};
  const FakeCall unrecorded{Fields{{"traceparent", "00-" + kIds + "-00"}}};
  RpcTracing none(Sampler(0), &clock, &others, &exporter);
  RpcTracing all(Sampler(Sampler::kAll), &clock, &others, &exporter);
  CHECK(none.Started(method, alone) == nullptr);
  CHECK(none.Started(method, recorded) != nullptr);
  CHECK(none.Started(method, unrecorded) == nullptr);
  CHECK(all.Started(method, alone) != nullptr);
  CHECK(all.Started(method, recorded) != nullptr);
  CHECK(all.Started(method, unrecorded) == nullptr);
  all.Handled(method, {}, nullptr);
  CHECK(others.started == 6);
  CHECK(others.handled == 1);
}

TEST_CASE("spans without room are dropped and counted; nobody waits") {
  const SystemClock clock;
  SpanExporter::Options options = Nowhere();
  options.queue_spans_max = 3;
  SpanExporter exporter(std::move(options), &clock);
  for (int i = 0; i < 5; ++i) exporter.Add(Span());
  CHECK(exporter.counts().dropped.load() == 2);
  exporter.Stop();
  CHECK(exporter.counts().dropped.load() == 5);
  CHECK(exporter.counts().sent.load() == 0);
  exporter.Add(Span());
  CHECK(exporter.counts().dropped.load() == 6);
}

}  // namespace
}  // namespace quorate::server
