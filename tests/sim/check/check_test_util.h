// A tiny world for the checkers' own tests: operations run one after the other on the model, as a
// right server would do them, and a test then bends one answer.
#pragma once

#include <string>
#include <utility>

#include "tests/sim/check/history.h"
#include "tests/sim/check/truth.h"

namespace quorate::sim {

class CheckedWorld {
 public:
  CheckedWorld() : truth(1) {}

  using Request = etcdserverpb::InternalRaftRequest;

  static Request PutOf(const std::string& key, const std::string& value, int64_t lease = 0) {
    Request request;
    request.mutable_put()->set_key(key);
    request.mutable_put()->set_value(value);
    request.mutable_put()->set_lease(lease);
    return request;
  }
  static Request GetOf(const std::string& key, const std::string& range_end = "") {
    Request request;
    request.mutable_range()->set_key(key);
    request.mutable_range()->set_range_end(range_end);
    return request;
  }
  static Request DeleteOf(const std::string& key) {
    Request request;
    request.mutable_delete_range()->set_key(key);
    return request;
  }
  // If `key` is `from`, it becomes `to`; else it is read.
  static Request SwapOf(const std::string& key, const std::string& from, const std::string& to) {
    Request request;
    auto* compare = request.mutable_txn()->add_compare();
    compare->set_target(etcdserverpb::Compare::VALUE);
    compare->set_key(key);
    compare->set_value(from);
    auto* put = request.mutable_txn()->add_success()->mutable_request_put();
    put->set_key(key);
    put->set_value(to);
    request.mutable_txn()->add_failure()->mutable_request_range()->set_key(key);
    return request;
  }

  // A whole operation, answered before the next one begins. The place in the history.
  size_t Do(Request request) {
    const size_t place = Begin(std::move(request));
    End(place);
    return place;
  }
  size_t Begin(Request request) {
    Operation operation;
    operation.id = history.operations.size() + 1;
    operation.invoked = ++step;
    operation.invoked_ns = now_ns;
    operation.request = std::move(request);
    history.operations.push_back(std::move(operation));
    return history.operations.size() - 1;
  }
  // Takes effect and is answered.
  void End(size_t place) {
    Operation& operation = history.operations[place];
    if (operation.IsRead()) {
      operation.revision = truth.model().revision();
      *operation.response.mutable_response_range() =
          truth.model().RangeAt(operation.request.range(), operation.revision);
    } else {
      Commit(operation.request);
      const StoreModel::Answer& answer = truth.entry(truth.last_index()).answer;
      operation.revision = answer.revision;
      operation.response = answer.response;
    }
    operation.outcome = Operation::Outcome::kDone;
    operation.returned = ++step;
    operation.returned_ns = now_ns;
  }
  void Commit(const Request& request) { truth.Append(request.SerializeAsString(), now_ns); }

  // A watch of all keys that got everything, one revision a response.
  WatchRecord& AddWatch(int64_t start_revision) {
    WatchRecord watch;
    watch.id = history.watches.size() + 1;
    watch.key = watch.range_end = std::string(1, '\0');
    watch.start_revision = start_revision;
    watch.end = WatchRecord::End::kOpen;
    for (int64_t at = start_revision; at <= truth.model().revision(); ++at) {
      WatchRecord::Response response;
      response.revision = at;
      for (const StoreModel::Change& change : truth.model().ChangesOf(at)) {
        mvccpb::Event event;
        event.mutable_kv()->set_key(change.key);
        event.mutable_kv()->set_mod_revision(at);
        if (change.value) *event.mutable_kv() = *change.value;
        if (!change.value) event.set_type(mvccpb::Event::DELETE);
        response.events.push_back(event);
      }
      watch.responses.push_back(std::move(response));
    }
    history.watches.push_back(std::move(watch));
    return history.watches.back();
  }

  Truth truth;
  History history;
  uint64_t step = 0;
  int64_t now_ns = 1'000'000'000;
};

}  // namespace quorate::sim
