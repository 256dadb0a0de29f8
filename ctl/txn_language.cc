#include "ctl/txn_language.h"

#include <charconv>
#include <map>

#include "base/options.h"
#include "base/text.h"
#include "ctl/kv_requests.h"

namespace quorate::ctl {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RequestOp;

absl::Status Malformed(std::string_view what, std::string_view line) {
  return absl::FailedPreconditionError(ToAbsl(StrCat("malformed ", what, ": ", line)));
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

// One operation: its flags are those of the command of its name.
template <class Request>
absl::Status Fill(std::vector<std::string> words, std::string_view line,
                  std::vector<OptionSpec> flags,
                  absl::Status (*fill)(const OptionValues&, const std::vector<std::string>&,
                                       Request*),
                  Request* request) {
  words.erase(words.begin());
  OptionValues values(std::move(flags));
  auto rest = values.ParseFlags(words);
  if (!rest.ok()) {
    return absl::FailedPreconditionError(
        ToAbsl(StrCat("invalid txn request: ", line, " (", ToStd(rest.status().message()), ")")));
  }
  return fill(values, *rest, request);
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
    status = Fill(*std::move(words), line, GetFlags(), FillGet, op.mutable_request_range());
  } else if (words->front() == "put") {
    status = Fill(*std::move(words), line, PutFlags(), FillPut, op.mutable_request_put());
  } else if (words->front() == "del") {
    status =
        Fill(*std::move(words), line, DeleteFlags(), FillDelete, op.mutable_request_delete_range());
  } else {
    return absl::FailedPreconditionError(
        ToAbsl(StrCat("unknown operation '", words->front(), "' (known: get, put, del)")));
  }
  if (!status.ok()) return status;
  return op;
}

}  // namespace quorate::ctl
