#include "tests/sim/check/history.h"

#include <algorithm>

#include "base/text.h"

namespace quorate::sim {
namespace {

bool OnlyRanges(const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& steps) {
  return std::all_of(steps.begin(), steps.end(),
                     [](const etcdserverpb::RequestOp& step) { return step.has_request_range(); });
}

}  // namespace

bool Operation::IsRead() const {
  if (request.has_range()) return true;
  return request.has_txn() && OnlyRanges(request.txn().success()) &&
         OnlyRanges(request.txn().failure());
}

std::string Describe(const Operation& operation) {
  std::string answer = "no answer";
  if (operation.outcome == Operation::Outcome::kDone) {
    answer =
        StrCat("revision ", operation.revision, " {", operation.response.ShortDebugString(), "}");
  } else if (operation.error_code != 0) {
    answer = StrCat("error ", operation.error_code);
  }
  const bool returned = operation.returned != kNever;
  return StrCat("operation ", operation.id, " of client ", operation.client, ", steps ",
                operation.invoked, "-", returned ? StrCat(operation.returned) : "?", ", {",
                operation.request.ShortDebugString(), "} -> ", answer);
}

}  // namespace quorate::sim
