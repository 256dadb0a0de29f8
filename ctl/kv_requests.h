// The requests of get, put and del, made from words and flags: those of a command line, and those
// of a line of a transaction. Errors are etcdctl's; Fail(status) tells their exit code.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/options.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

std::vector<OptionSpec> GetFlags();
std::vector<OptionSpec> PutFlags();
std::vector<OptionSpec> DeleteFlags();

absl::Status FillGet(const OptionValues& flags, const std::vector<std::string>& words,
                     etcdserverpb::RangeRequest* request);
// Key and value: two words, or one with --ignore-value. Where the value is to come from elsewhere,
// it is the caller who adds it to the words.
absl::Status FillPut(const OptionValues& flags, const std::vector<std::string>& words,
                     etcdserverpb::PutRequest* request);
absl::Status FillDelete(const OptionValues& flags, const std::vector<std::string>& words,
                        etcdserverpb::DeleteRangeRequest* request);

inline constexpr char kPutWords[] =
    "put command needs 1 argument and input from stdin or 2 arguments";

}  // namespace quorate::ctl
