// A watch goes on where it was, whatever becomes of its streams.
#include "ctl/watcher.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <thread>

#include "ctl/fake_server.h"

namespace quorate::ctl {
namespace {

using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using transport::RpcCode;
using transport::RpcStatus;

constexpr char kWatch[] = "/etcdserverpb.Watch/Watch";

// What a stream does after "created": events at these revisions, then its end, or none.
struct Script {
  std::vector<int64_t> revisions;
  RpcStatus end;
  bool stays_open = false;
};

class WatchServer {
 public:
  explicit WatchServer(std::vector<Script> scripts) : scripts_(std::move(scripts)) {
    server_.Stream(kWatch, [this](transport::ServerCall* call, const Bytes& bytes) {
      WatchRequest request;
      QR_CHECK(request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
      if (request.has_progress_request()) return Send(call, 99, {});
      const std::lock_guard lock(mutex_);
      asked_.push_back(request.create_request().start_revision());
      QR_CHECK(call->Metadata("hasleader") == "true");
      Play(call, scripts_[std::min(asked_.size(), scripts_.size()) - 1]);
    });
    server_.Start();
    ClientOptions options;
    options.endpoints = {server_.endpoint()};
    client_ = *SyncClient::Create(options);
  }

  SyncClient* client() { return client_.get(); }
  std::vector<int64_t> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  static void Send(transport::ServerCall* call, int64_t revision, std::vector<int64_t> events) {
    WatchResponse response;
    response.mutable_header()->set_revision(revision);
    response.set_created(events.empty() && revision != 99);
    for (const int64_t event : events) {
      response.add_events()->mutable_kv()->set_mod_revision(event);
    }
    call->Send(Bytes::FromString(response.SerializeAsString()));
  }
  static void Play(transport::ServerCall* call, const Script& script) {
    Send(call, 10, {});
    for (const int64_t revision : script.revisions) Send(call, revision, {revision});
    if (!script.stays_open) call->Finish(script.end);
  }

  const std::vector<Script> scripts_;
  std::mutex mutex_;
  std::vector<int64_t> asked_;
  FakeServer server_;
  std::unique_ptr<SyncClient> client_;
};

int64_t NextRevision(Watcher* watcher) {
  const auto response = watcher->Next(nullptr);
  REQUIRE(response);
  return response->events(0).kv().mod_revision();
}

TEST_CASE("a lost stream is opened again behind the last event") {
  const RpcStatus lost{RpcCode::kUnavailable, "etcdserver: no leader"};
  WatchServer server({{{11, 12}, lost}, {{}, lost}, {{13}, {}, true}});
  Watcher watcher(server.client(), {});
  CHECK(NextRevision(&watcher) == 11);
  CHECK(NextRevision(&watcher) == 12);
  CHECK(NextRevision(&watcher) == 13);
  CHECK(server.asked() == std::vector<int64_t>{0, 13, 13});
}

TEST_CASE("a watch of the past asks for the past again until it has come") {
  const RpcStatus lost{RpcCode::kUnavailable, "gone"};
  WatchServer server({{{}, lost}, {{5}, {}, true}});
  etcdserverpb::WatchCreateRequest request;
  request.set_start_revision(5);
  Watcher watcher(server.client(), request);
  CHECK(NextRevision(&watcher) == 5);
  CHECK(server.asked() == std::vector<int64_t>{5, 5});
}

TEST_CASE("a stream that fails for good ends the watch and says why") {
  WatchServer server({{{11}, {RpcCode::kPermissionDenied, "etcdserver: permission denied"}}});
  Watcher watcher(server.client(), {});
  CHECK(NextRevision(&watcher) == 11);
  CHECK_FALSE(watcher.Next(nullptr));
  CHECK(watcher.status().message == "etcdserver: permission denied");
  CHECK_FALSE(watcher.Next(nullptr));
  CHECK(server.asked().size() == 1);
}

TEST_CASE("a watch that was never opened asks for progress when it is") {
  WatchServer server({{{}, {}, true}});
  Watcher watcher(server.client(), {});
  watcher.RequestProgress();
  const auto response = watcher.Next(nullptr);
  REQUIRE(response);
  CHECK(response->header().revision() == 99);
}

TEST_CASE("an interruption ends the wait at once, from any thread") {
  WatchServer server({{{}, {}, true}});
  Watcher watcher(server.client(), {});
  Interruption interruption;
  std::thread other([&] { interruption.Raise(Interruption::Cause::kSignal); });
  CHECK_FALSE(watcher.Next(&interruption));
  other.join();
  CHECK(interruption.cause() == Interruption::Cause::kSignal);
  interruption.Raise(Interruption::Cause::kStopped);
  CHECK(interruption.cause() == Interruption::Cause::kSignal);  // the first counts
  CHECK_FALSE(Pause(INT64_MAX / 2, &interruption));
}

}  // namespace
}  // namespace quorate::ctl
