#include "ctl/kv_requests.h"

#include "base/status_util.h"
#include "base/text.h"
#include "ctl/go_numbers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;
using Words = std::vector<std::string>;

constexpr char kBothPrefixAndFrom[] =
    "`--prefix` and `--from-key` cannot be set at the same time, choose one";
constexpr char kTooMany[] =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";

// A value of a flag that does not exist.
absl::Status NoSuch(std::string_view what, std::string_view value) {
  return absl::UnimplementedError(ToAbsl(StrCat(what, value)));
}

// The interval that the words and --prefix or --from-key mean.
template <class Request>
absl::Status FillInterval(const OptionValues& flags, const Words& words, Request* request) {
  const bool prefix = flags.GetBool("prefix");
  const bool from = flags.GetBool("from-key");
  if (prefix && from) return absl::InvalidArgumentError(kBothPrefixAndFrom);
  if (words.size() > 1 && (prefix || from)) return absl::InvalidArgumentError(kTooMany);
  request->set_key(words[0]);
  if (words.size() > 1) request->set_range_end(words[1]);
  if (prefix) request->set_range_end(words[0].empty() ? std::string(1, '\0') : PrefixEnd(words[0]));
  if (from) request->set_range_end(std::string(1, '\0'));
  // No key can be empty: from the very first.
  if ((prefix || from) && words[0].empty()) request->set_key(std::string(1, '\0'));
  return absl::OkStatus();
}

absl::Status FillOrder(const OptionValues& flags, etcdserverpb::RangeRequest* request) {
  using etcdserverpb::RangeRequest;
  const std::string& order = flags.GetString("order");
  const std::string& target = flags.GetString("sort-by");
  if (order == "ASCEND") {
    request->set_sort_order(RangeRequest::ASCEND);
  } else if (order == "DESCEND") {
    request->set_sort_order(RangeRequest::DESCEND);
  } else if (!order.empty()) {
    return NoSuch("bad sort order ", order);
  }
  if (target == "CREATE") {
    request->set_sort_target(RangeRequest::CREATE);
  } else if (target == "KEY") {
    request->set_sort_target(RangeRequest::KEY);
  } else if (target == "MODIFY") {
    request->set_sort_target(RangeRequest::MOD);
  } else if (target == "VALUE") {
    request->set_sort_target(RangeRequest::VALUE);
  } else if (target == "VERSION") {
    request->set_sort_target(RangeRequest::VERSION);
  } else if (!target.empty()) {
    return NoSuch("bad sort target ", target);
  }
  if (!target.empty() && order.empty()) request->set_sort_order(RangeRequest::ASCEND);
  return absl::OkStatus();
}

std::vector<OptionSpec> IntervalFlags() {
  return {{"prefix", Type::kBool, "false", "All keys that begin with the key.", ""},
          {"from-key", Type::kBool, "false", "The key and all keys after it.", ""}};
}

std::vector<OptionSpec> With(std::vector<OptionSpec> flags, std::vector<OptionSpec> more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

}  // namespace

absl::Status FillGet(const OptionValues& flags, const Words& words,
                     etcdserverpb::RangeRequest* request) {
  if (words.empty() || words.size() > 2) {
    return absl::InvalidArgumentError(
        "get command needs one argument as key and an optional argument as range_end");
  }
  if (flags.GetBool("keys-only") && flags.GetBool("count-only")) {
    return absl::InvalidArgumentError(
        "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
  }
  const std::string& consistency = flags.GetString("consistency");
  if (consistency != "l" && consistency != "s") {
    return absl::UnimplementedError(
        ToAbsl(StrCat("unknown consistency flag \"", consistency, "\"")));
  }
  QR_RETURN_IF_ERROR(FillInterval(flags, words, request));
  QR_RETURN_IF_ERROR(FillOrder(flags, request));
  request->set_serializable(consistency == "s");
  request->set_limit(flags.GetInt("limit"));
  request->set_revision(flags.GetInt("rev"));
  request->set_keys_only(flags.GetBool("keys-only"));
  request->set_count_only(flags.GetBool("count-only"));
  request->set_min_mod_revision(flags.GetInt("min-mod-rev"));
  request->set_max_mod_revision(flags.GetInt("max-mod-rev"));
  request->set_min_create_revision(flags.GetInt("min-create-rev"));
  request->set_max_create_revision(flags.GetInt("max-create-rev"));
  return absl::OkStatus();
}

absl::Status FillPut(const OptionValues& flags, const Words& words,
                     etcdserverpb::PutRequest* request) {
  const bool ignore_value = flags.GetBool("ignore-value");
  if (ignore_value && words.size() != 1) {
    return absl::InvalidArgumentError(
        "put command needs only 1 argument when 'ignore-value' is set");
  }
  if (!ignore_value && words.size() != 2) return absl::InvalidArgumentError(kPutWords);
  const auto lease = ParseLeaseId(flags.GetString("lease"));
  if (!lease.ok()) {
    return absl::InvalidArgumentError(ToAbsl(
        StrCat("bad lease ID (", ToStd(lease.status().message()), "), expecting ID in Hex")));
  }
  request->set_key(words[0]);
  if (!ignore_value) request->set_value(words[1]);
  request->set_lease(*lease);
  request->set_prev_kv(flags.GetBool("prev-kv"));
  request->set_ignore_value(ignore_value);
  request->set_ignore_lease(flags.GetBool("ignore-lease"));
  return absl::OkStatus();
}

absl::Status FillDelete(const OptionValues& flags, const Words& words,
                        etcdserverpb::DeleteRangeRequest* request) {
  if (words.empty() || words.size() > 2) {
    return absl::InvalidArgumentError(
        "del command needs one argument as key and an optional argument as range_end");
  }
  request->set_prev_kv(flags.GetBool("prev-kv"));
  return FillInterval(flags, words, request);
}

std::vector<OptionSpec> GetFlags() {
  const auto revision = [](std::string name, std::string help) {
    return OptionSpec{std::move(name), Type::kInt, "0", std::move(help), ""};
  };
  return With(
      IntervalFlags(),
      {{"consistency", Type::kString, "l", "Linearizable(l) or Serializable(s).", ""},
       {"count-only", Type::kBool, "false", "Only the number of keys; needs -w fields.", ""},
       {"keys-only", Type::kBool, "false", "No values.", ""},
       {"limit", Type::kInt, "0", "Largest number of results; 0 means all.", ""},
       revision("max-create-rev", "Created at this revision or before; 0 means any."),
       revision("max-mod-rev", "Changed last at this revision or before; 0 means any."),
       revision("min-create-rev", "Created at this revision or later."),
       revision("min-mod-rev", "Changed last at this revision or later."),
       {"order", Type::kString, "", "ASCEND or DESCEND.", ""},
       {"print-value-only", Type::kBool, "false", "Only values, with -w simple.", ""},
       revision("rev", "As the store was at this revision; 0 means now."),
       {"sort-by", Type::kString, "", "CREATE, KEY, MODIFY, VALUE or VERSION.", ""},
       {"stream", Type::kBool, "false", "Reads by RangeStream, in parts.", ""}});
}

std::vector<OptionSpec> PutFlags() {
  return {{"ignore-lease", Type::kBool, "false", "Keeps the lease that the key has.", ""},
          {"ignore-value", Type::kBool, "false", "Keeps the value that the key has.", ""},
          {"lease", Type::kString, "0", "Lease (hexadecimal) to attach to the key.", ""},
          {"prev-kv", Type::kBool, "false", "Shows the pair as it was before.", ""}};
}

std::vector<OptionSpec> DeleteFlags() {
  return With(IntervalFlags(),
              {{"prev-kv", Type::kBool, "false", "Shows the removed pairs.", ""},
               {"range", Type::kBool, "false", "Takes two words as a range, as always.", ""}});
}

}  // namespace quorate::ctl
