#include "ctl/txn_language.h"

#include <charconv>
#include <map>

#include "base/text.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RequestOp;

absl::Status Malformed(std::string_view what, std::string_view line) {
  return absl::InvalidArgumentError(ToAbsl(StrCat("malformed ", what, ": ", line)));
}

// One escape after a backslash; `*rest` begins behind the backslash.
bool ReadEscape(std::string_view* rest, std::string* out) {
  if (rest->empty()) return false;
  const char c = rest->front();
  rest->remove_prefix(1);
  static const std::map<char, char> kSimple = {{'n', '\n'}, {'t', '\t'},  {'r', '\r'},
                                               {'a', '\a'}, {'b', '\b'},  {'f', '\f'},
                                               {'v', '\v'}, {'\\', '\\'}, {'"', '"'}};
  if (const auto it = kSimple.find(c); it != kSimple.end()) {
    *out += it->second;
    return true;
  }
  if (c != 'x' || rest->size() < 2) return false;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(rest->data(), rest->data() + 2, value, 16);
  if (error != std::errc() || end != rest->data() + 2) return false;
  *out += static_cast<char>(value);
  rest->remove_prefix(2);
  return true;
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

bool ParseNumber(std::string_view text, int base, int64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

struct Target {
  Compare::CompareTarget target;
  void (*set)(Compare*, int64_t);
};

const std::map<std::string, Target, std::less<>>& Targets() {
  static const Target create{Compare::CREATE,
                             [](Compare* c, int64_t n) { c->set_create_revision(n); }};
  static const Target mod{Compare::MOD, [](Compare* c, int64_t n) { c->set_mod_revision(n); }};
  static const Target version{Compare::VERSION, [](Compare* c, int64_t n) { c->set_version(n); }};
  static const Target lease{Compare::LEASE, [](Compare* c, int64_t n) { c->set_lease(n); }};
  static const std::map<std::string, Target, std::less<>> targets = {
      {"c", create},    {"create", create},   {"m", mod},       {"mod", mod},
      {"ver", version}, {"version", version}, {"lease", lease},
  };
  return targets;
}

// Finds where a word in quotes at the front of `text` ends, and takes its content.
bool TakeQuoted(std::string_view* text, std::string* content) {
  *text = Trim(*text);
  if (!ConsumePrefix(text, "\"")) return false;
  while (!text->empty()) {
    const char c = text->front();
    text->remove_prefix(1);
    if (c == '"') return true;
    if (c != '\\') {
      *content += c;
    } else if (!ReadEscape(text, content)) {
      return false;
    }
  }
  return false;
}

bool TakeResult(std::string_view* text, Compare* compare) {
  *text = Trim(*text);
  if (ConsumePrefix(text, "!=")) {
    compare->set_result(Compare::NOT_EQUAL);
  } else if (ConsumePrefix(text, "=")) {
    compare->set_result(Compare::EQUAL);
  } else if (ConsumePrefix(text, ">")) {
    compare->set_result(Compare::GREATER);
  } else if (ConsumePrefix(text, "<")) {
    compare->set_result(Compare::LESS);
  } else {
    return false;
  }
  return true;
}

// Flags and words of an operation; flags may be --name or --name=value.
struct Parsed {
  std::vector<std::string> words;
  std::map<std::string, std::string, std::less<>> flags;
};

absl::StatusOr<Parsed> ParseFlags(const std::vector<std::string>& all, std::string_view known,
                                  std::string_view line) {
  Parsed parsed;
  for (size_t i = 1; i < all.size(); ++i) {
    std::string_view word = all[i];
    if (!ConsumePrefix(&word, "--")) {
      parsed.words.push_back(all[i]);
      continue;
    }
    const auto [name, value] = SplitOnce(word, '=');
    const std::string listed = StrCat(" ", name, " ");
    if (known.find(listed) == std::string_view::npos) {
      return absl::InvalidArgumentError(
          ToAbsl(StrCat("unknown flag --", name, " in: ", line, " (known here:", known, ")")));
    }
    parsed.flags[std::string(name)] = std::string(value.empty() ? "true" : value);
  }
  return parsed;
}

template <class Request>
absl::Status FillInterval(const Parsed& parsed, std::string_view line, Request* request) {
  const bool prefix = parsed.flags.count("prefix") > 0;
  const bool from = parsed.flags.count("from-key") > 0;
  if (parsed.words.empty() || parsed.words.size() > 2 ||
      (parsed.words.size() == 2 && (prefix || from)) || (prefix && from)) {
    return Malformed("range", line);
  }
  request->set_key(parsed.words[0]);
  if (parsed.words.size() == 2) request->set_range_end(parsed.words[1]);
  if (prefix) request->set_range_end(PrefixEnd(parsed.words[0]));
  if (from) request->set_range_end(std::string(1, '\0'));
  if ((prefix || from) && parsed.words[0].empty()) request->set_key(std::string(1, '\0'));
  return absl::OkStatus();
}

absl::Status FillGet(const std::vector<std::string>& words, std::string_view line,
                     etcdserverpb::RangeRequest* get) {
  auto parsed =
      ParseFlags(words, " prefix from-key limit rev keys-only count-only consistency ", line);
  if (!parsed.ok()) return parsed.status();
  if (auto status = FillInterval(*parsed, line, get); !status.ok()) return status;
  for (const char* name : {"limit", "rev"}) {
    const auto it = parsed->flags.find(name);
    int64_t number = 0;
    if (it == parsed->flags.end()) continue;
    if (!ParseNumber(it->second, 10, &number)) return Malformed("number", line);
    name == std::string_view("limit") ? get->set_limit(number) : get->set_revision(number);
  }
  get->set_keys_only(parsed->flags.count("keys-only") > 0);
  get->set_count_only(parsed->flags.count("count-only") > 0);
  const auto consistency = parsed->flags.find("consistency");
  get->set_serializable(consistency != parsed->flags.end() && consistency->second == "s");
  return absl::OkStatus();
}

absl::Status FillPut(const std::vector<std::string>& words, std::string_view line,
                     etcdserverpb::PutRequest* put) {
  auto parsed = ParseFlags(words, " lease prev-kv ignore-value ignore-lease ", line);
  if (!parsed.ok()) return parsed.status();
  const bool ignore_value = parsed->flags.count("ignore-value") > 0;
  if (parsed->words.size() != (ignore_value ? 1 : 2)) return Malformed("put", line);
  put->set_key(parsed->words[0]);
  if (!ignore_value) put->set_value(parsed->words[1]);
  if (const auto it = parsed->flags.find("lease"); it != parsed->flags.end()) {
    int64_t lease = 0;
    if (!ParseHexId(it->second, &lease)) return Malformed("lease ID", line);
    put->set_lease(lease);
  }
  put->set_prev_kv(parsed->flags.count("prev-kv") > 0);
  put->set_ignore_value(ignore_value);
  put->set_ignore_lease(parsed->flags.count("ignore-lease") > 0);
  return absl::OkStatus();
}

absl::Status FillDelete(const std::vector<std::string>& words, std::string_view line,
                        etcdserverpb::DeleteRangeRequest* request) {
  auto parsed = ParseFlags(words, " prefix from-key prev-kv range ", line);
  if (!parsed.ok()) return parsed.status();
  request->set_prev_kv(parsed->flags.count("prev-kv") > 0);
  return FillInterval(*parsed, line, request);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  std::string_view rest = Trim(line);
  while (!rest.empty()) {
    std::string word;
    while (!rest.empty() && rest.front() != ' ' && rest.front() != '\t') {
      if (rest.front() == '"') {
        if (!TakeQuoted(&rest, &word)) return Malformed("quoted word", line);
      } else if (rest.front() == '\'') {
        const size_t end = rest.find('\'', 1);
        if (end == std::string_view::npos) return Malformed("quoted word", line);
        word += rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
      } else {
        word += rest.front();
        rest.remove_prefix(1);
      }
    }
    words.push_back(std::move(word));
    rest = Trim(rest);
  }
  return words;
}

absl::StatusOr<Compare> ParseCompare(std::string_view line) {
  Compare compare;
  std::string_view rest = Trim(line);
  const size_t open = rest.find('(');
  if (open == std::string_view::npos) return Malformed("comparison", line);
  const std::string_view name = Trim(rest.substr(0, open));
  rest.remove_prefix(open + 1);
  std::string key;
  std::string value;
  if (!TakeQuoted(&rest, &key)) return Malformed("comparison", line);
  rest = Trim(rest);
  if (!ConsumePrefix(&rest, ")") || !TakeResult(&rest, &compare) || !TakeQuoted(&rest, &value) ||
      !Trim(rest).empty()) {
    return Malformed("comparison", line);
  }
  compare.set_key(key);
  if (name == "val" || name == "value") {
    compare.set_target(Compare::VALUE);
    compare.set_value(value);
    return compare;
  }
  const auto it = Targets().find(name);
  if (it == Targets().end()) return Malformed("comparison", line);
  int64_t number = 0;
  // Leases are told in hexadecimal everywhere else, so here as well.
  if (!ParseNumber(value, it->second.target == Compare::LEASE ? 16 : 10, &number)) {
    return Malformed("comparison, a number is needed", line);
  }
  compare.set_target(it->second.target);
  it->second.set(&compare, number);
  return compare;
}

absl::StatusOr<RequestOp> ParseOperation(std::string_view line) {
  auto words = SplitWords(line);
  if (!words.ok()) return words.status();
  if (words->empty()) return Malformed("operation", line);
  RequestOp op;
  absl::Status status;
  if (words->front() == "get") {
    status = FillGet(*words, line, op.mutable_request_range());
  } else if (words->front() == "put") {
    status = FillPut(*words, line, op.mutable_request_put());
  } else if (words->front() == "del") {
    status = FillDelete(*words, line, op.mutable_request_delete_range());
  } else {
    return absl::InvalidArgumentError(
        ToAbsl(StrCat("unknown operation '", words->front(), "' (known: get, put, del)")));
  }
  if (!status.ok()) return status;
  return op;
}

}  // namespace quorate::ctl
