// Writers beside a store in process whose endpoints come and go.
#include "workloads/failover_writer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "workloads/fake_etcd.h"
#include "workloads/wire.h"

namespace quorate::workload {
namespace {

using transport::RpcCode;
using transport::RpcStatus;

constexpr int64_t kTimeoutNs = 60 * kNanosPerSecond;  // of what must not run out here

// What a put that reaches an endpoint is answered without the store; nothing: it goes there. Loop
// thread only.
using Fate = std::function<std::optional<RpcStatus>(size_t endpoint)>;

class FatefulChannel : public transport::Channel {
 public:
  FatefulChannel(std::unique_ptr<transport::Channel> below, size_t endpoint, Fate* fate,
                 transport::EventLoop* loop)
      : below_(std::move(below)), endpoint_(endpoint), fate_(fate), loop_(loop) {}

  void Call(std::string_view path, Bytes request, int64_t timeout_ns,
            const transport::MetadataList& metadata, UnaryCallback done) override {
    const auto fate = path == kPutPath ? (*fate_)(endpoint_) : std::nullopt;
    if (!fate) return below_->Call(path, request, timeout_ns, metadata, std::move(done));
    loop_->Post([status = *fate, done = std::move(done)] { done(status, Bytes()); });
  }
  std::unique_ptr<transport::ClientStream> Open(std::string_view path,
                                                const transport::MetadataList& metadata,
                                                transport::ClientStreamHandler* handler) override {
    return below_->Open(path, metadata, handler);
  }
  bool connected() const override { return true; }

 private:
  const std::unique_ptr<transport::Channel> below_;
  const size_t endpoint_;
  Fate* const fate_;
  transport::EventLoop* const loop_;
};

struct Stage {
  Stage() {
    options.endpoints = {"a", "b", "c"};
    options.clock = &clock;
    options.every_ns = kNanosPerMicro;
    options.try_timeout_ns = kTimeoutNs;
    options.write_timeout_ns = kTimeoutNs;
    options.factory = [this](transport::EventLoop* loop, uint64_t n) {
      return std::make_unique<FatefulChannel>(etcd.Factory()(loop, n), n, &fate, loop);
    };
  }

  // Ends after so many puts have reached an endpoint, whatever became of them.
  FailoverWriterResult Run(int puts, Fate wanted) {
    auto made = FailoverWriter::Create(options);
    REQUIRE(made.ok());
    fate = [&, wanted = std::move(wanted)](size_t endpoint) {
      if (--puts == 0) (*made)->Interrupt();
      return wanted(endpoint);
    };
    auto result = (*made)->Run();
    REQUIRE(result.ok());
    return *std::move(result);
  }

  const SystemClock clock;
  FakeEtcd etcd{Planted::kNothing};
  Fate fate;
  FailoverWriterOptions options;
};

const RpcStatus kGone = {RpcCode::kUnavailable, "gone"};

TEST_CASE("writes go on at the endpoints that are left") {
  Stage stage;
  std::vector<int> reached(3);
  const auto result = stage.Run(500, [&](size_t endpoint) {
    ++reached[endpoint];
    return endpoint == 1 ? std::optional(kGone) : std::nullopt;
  });
  CHECK(result.failed == 0);
  CHECK(result.lost == 0);
  CHECK(result.acknowledged >= 490);
  CHECK(result.acknowledged == reached[0] + reached[2]);
  // A client that was refused does not come back to where it was.
  CHECK(reached[1] == 1);
  CHECK(result.tries == std::map<std::string, int64_t>{{"Unavailable: gone", 1}});
  CHECK(result.latency.count() == static_cast<uint64_t>(result.acknowledged));
}

TEST_CASE("a time without acknowledgements is one pause, however often clients try") {
  Stage stage;
  stage.options.pause_min_ns = 20 * kNanosPerMilli;
  int refused = 0;
  int64_t refused_since_ns = 0;
  int64_t refused_for_ns = 0;
  const auto result = stage.Run(1000, [&](size_t) -> std::optional<RpcStatus> {
    const int64_t now_ns = stage.clock.MonotonicNs();
    if (refused == 0) refused_since_ns = now_ns;
    if (refused > 300) return std::nullopt;
    ++refused;
    refused_for_ns = now_ns - refused_since_ns;
    return kGone;
  });
  CHECK(result.failed == 0);
  CHECK(result.lost == 0);
  CHECK(result.acknowledged >= 600);
  REQUIRE(!result.pauses.empty());
  const auto longest = *std::max_element(
      result.pauses.begin(), result.pauses.end(),
      [](const WritePause& a, const WritePause& b) { return a.length_ns < b.length_ns; });
  // 300 refusals of three clients are 33 rounds and rests at least.
  CHECK(refused_for_ns > 100 * kNanosPerMilli);
  CHECK(longest.length_ns >= refused_for_ns);
  CHECK(result.latency.max_ns() >= refused_for_ns / 2);
  const auto json = nlohmann::json::parse(FailoverJson(result));
  CHECK(json["pauses"].size() == result.pauses.size());
  CHECK(json["pauses"][0]["length_ns"] == result.pauses[0].length_ns);
  CHECK(json["failed_tries"]["Unavailable: gone"] == refused);
}

TEST_CASE("a write that is refused as wrong is not tried again") {
  Stage stage;
  const auto result = stage.Run(100, [&](size_t) {
    return RpcStatus{RpcCode::kInvalidArgument, "etcdserver: no"};
  });
  CHECK(result.acknowledged == 0);
  CHECK(result.failed >= 100);
  CHECK(result.tries.at("InvalidArgument: etcdserver: no") == result.failed);
}

TEST_CASE("a write without an answer in its time has failed") {
  Stage stage;
  stage.options.write_timeout_ns = kNanosPerMilli;
  const auto result = stage.Run(100, [&](size_t) { return kGone; });
  CHECK(result.acknowledged == 0);
  CHECK(result.failed >= 3);
}

TEST_CASE("an acknowledged write that is not there is found") {
  Stage stage;
  int puts = 0;
  const auto result = stage.Run(
      200, [&](size_t) { return ++puts == 40 ? std::optional(RpcStatus()) : std::nullopt; });
  CHECK(result.lost == 1);
  CHECK(FailoverSummary(result).find("1 lost") != std::string::npos);
}

TEST_CASE("endpoints are needed, and read") {
  static const SystemClock clock;
  FailoverWriterOptions options;
  options.clock = &clock;
  CHECK(FailoverWriter::Create(options).status().code() == absl::StatusCode::kInvalidArgument);
  options.endpoints = {"127.0.0.1:none"};
  CHECK(FailoverWriter::Create(options).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quorate::workload
