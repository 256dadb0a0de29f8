#include "tests/sim/check/operation_check.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"

namespace quorate::sim {
namespace {

using Outcome = Operation::Outcome;

class Checker {
 public:
  Checker(const Truth& truth, const std::vector<Operation>& operations)
      : truth_(truth), operations_(operations) {}

  Violations Run() {
    IndexWrites();
    FindWrites();
    for (const Operation& operation : operations_) CheckOne(operation);
    CheckRealTime();
    return std::move(violations_);
  }

 private:
  void Add(std::string_view what, const Operation& operation) {
    violations_.push_back(StrCat(what, ": ", Describe(operation)));
  }

  static bool IsUnique(const Operation& operation) {
    const auto& request = operation.request;
    return !operation.IsRead() && !request.has_compaction() && !request.has_lease_revoke();
  }

  void IndexWrites() {
    for (size_t i = 0; i < operations_.size(); ++i) {
      if (IsUnique(operations_[i])) by_bytes_[operations_[i].request.SerializeAsString()] = i;
    }
    entry_of_.resize(operations_.size());
  }

  // Which entry is whose.
  void FindWrites() {
    for (uint64_t index = 1; index <= truth_.last_index(); ++index) {
      const auto& request = truth_.entry(index).request;
      const auto found = by_bytes_.find(request.SerializeAsString());
      if (found == by_bytes_.end()) {
        if (request.has_put() || request.has_txn() || request.has_delete_range() ||
            request.has_lease_grant()) {
          violations_.push_back(StrCat("entry ", index, " was asked for by nobody: {",
                                       request.ShortDebugString(), "}"));
        }
        continue;
      }
      uint64_t& entry = entry_of_[found->second];
      if (entry != 0) {
        Add(StrCat("applied twice, at entries ", entry, " and ", index),
            operations_[found->second]);
      }
      entry = index;
    }
  }

  void CheckOne(const Operation& operation) {
    if (operation.outcome != Outcome::kDone) {
      const uint64_t entry = entry_of_[IndexOf(operation)];
      if (operation.outcome == Outcome::kRefused && entry != 0 &&
          truth_.entry(entry).answer.error_code != operation.error_code) {
        Add(StrCat("refused and yet applied at entry ", entry), operation);
      }
      return;
    }
    if (operation.IsRead()) return CheckRead(operation);
    if (IsUnique(operation)) return CheckWrite(operation);
  }

  void CheckWrite(const Operation& operation) {
    const uint64_t entry = entry_of_[IndexOf(operation)];
    if (entry == 0) return Add("acknowledged and lost", operation);
    const StoreModel::Answer& expected = truth_.entry(entry).answer;
    if (expected.error_code != 0) {
      return Add(StrCat("acknowledged, though entry ", entry, " fails"), operation);
    }
    if (expected.revision != operation.revision) {
      return Add(StrCat("wrong revision, it is ", expected.revision, " (entry ", entry, ")"),
                 operation);
    }
    if (operation.request.has_lease_grant()) return;
    if (expected.response.SerializeAsString() != operation.response.SerializeAsString()) {
      Add(StrCat("wrong answer, it is {", expected.response.ShortDebugString(), "}"), operation);
    }
  }

  void CheckRead(const Operation& operation) {
    if (operation.revision > truth_.model().revision()) {
      return Add("read of a revision that never came", operation);
    }
    etcdserverpb::ResponseOp expected;
    if (operation.request.has_range()) {
      const etcdserverpb::RangeRequest& range = operation.request.range();
      const int64_t at = range.revision() > 0 ? range.revision() : operation.revision;
      if (at > operation.revision) return Add("read beyond the newest revision", operation);
      *expected.mutable_response_range() = truth_.model().RangeAt(range, at);
    } else {
      *expected.mutable_response_txn() =
          truth_.model().ReadTxnAt(operation.request.txn(), operation.revision);
    }
    if (expected.SerializeAsString() != operation.response.SerializeAsString()) {
      Add(StrCat("wrong answer, it is {", expected.ShortDebugString(), "}"), operation);
    }
  }

  // One pass over all invocations and answers in order of their steps.
  void CheckRealTime() {
    struct Point {
      uint64_t step;
      bool is_return;
      size_t operation;
    };
    std::vector<Point> points;
    for (size_t i = 0; i < operations_.size(); ++i) {
      points.push_back({operations_[i].invoked, false, i});
      if (operations_[i].outcome == Outcome::kDone) {
        points.push_back({operations_[i].returned, true, i});
      }
    }
    std::sort(points.begin(), points.end(),
              [](const Point& a, const Point& b) { return a.step < b.step; });
    int64_t newest = 0;  // of all that returned
    for (const Point& point : points) {
      const Operation& operation = operations_[point.operation];
      if (point.is_return) {
        newest = std::max(newest, operation.revision);
      } else {
        CheckAgainst(newest, operation, entry_of_[point.operation]);
      }
    }
  }

  void CheckAgainst(int64_t newest, const Operation& operation, uint64_t entry) {
    if (entry != 0 && truth_.entry(entry).answer.modified) {
      // Also for a write whose answer got lost.
      const int64_t revision = truth_.entry(entry).answer.revision;
      if (revision <= newest) {
        Add(StrCat("took effect at revision ", revision, " though ", newest,
                   " was told before it began"),
            operation);
      }
      return;
    }
    const bool may_be_old = operation.IsRead() && operation.read == Operation::Read::kSerializable;
    if (operation.outcome != Outcome::kDone || may_be_old || operation.revision >= newest) return;
    Add(StrCat("stale: ", newest, " was told before it began"), operation);
  }

  size_t IndexOf(const Operation& operation) const {
    return static_cast<size_t>(&operation - operations_.data());
  }

  const Truth& truth_;
  const std::vector<Operation>& operations_;
  std::map<std::string, size_t> by_bytes_;
  std::vector<uint64_t> entry_of_;  // 0 = not in the log
  Violations violations_;
};

}  // namespace

Violations CheckOperations(const Truth& truth, const std::vector<Operation>& operations) {
  return Checker(truth, operations).Run();
}

}  // namespace quorate::sim
