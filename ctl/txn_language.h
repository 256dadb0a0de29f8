// The text of a transaction, as etcdctl reads it: comparisons, a blank line, the operations if they
// all hold, a blank line, the operations otherwise, a blank line (or the end).
//   value("k") = "v"     create("k") > "3"     ver("k") != "0"     put k "a b"     get k --prefix
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

// Words of a line: blanks part them, '...' and "..." hold them together; inside double quotes the
// escapes of Go are understood.
absl::StatusOr<std::vector<std::string>> SplitWords(std::string_view line);

absl::StatusOr<etcdserverpb::Compare> ParseCompare(std::string_view line);
// get, put or del with the flags of these commands. kFailedPrecondition: the line cannot be read;
// else as kv_requests.h says.
absl::StatusOr<etcdserverpb::RequestOp> ParseOperation(std::string_view line);

}  // namespace quorate::ctl
