// get, put, del, compaction.
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

constexpr char kPutWords[] = "put command needs 1 argument and input from stdin or 2 arguments";
constexpr char kBothPrefixAndFrom[] =
    "`--prefix` and `--from-key` cannot be set at the same time, choose one";
constexpr char kTooMany[] =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";

// The interval that the words and --prefix or --from-key mean. Not kExitOk: told, and to be
// returned.
template <class Request>
int FillInterval(const Session& session, Request* request) {
  const bool prefix = session.values().GetBool("prefix");
  const bool from = session.values().GetBool("from-key");
  const auto& words = session.words();
  if (prefix && from) return Fail(kExitBadArguments, kBothPrefixAndFrom);
  if (words.size() > 1 && (prefix || from)) return Fail(kExitBadArguments, kTooMany);
  request->set_key(words[0]);
  if (words.size() > 1) request->set_range_end(words[1]);
  if (prefix) request->set_range_end(words[0].empty() ? std::string(1, '\0') : PrefixEnd(words[0]));
  if (from) request->set_range_end(std::string(1, '\0'));
  // No key can be empty: from the very first.
  if ((prefix || from) && words[0].empty()) request->set_key(std::string(1, '\0'));
  return kExitOk;
}

int FillOrder(const Session& session, etcdserverpb::RangeRequest* request) {
  using etcdserverpb::RangeRequest;
  const std::string& order = session.values().GetString("order");
  const std::string& target = session.values().GetString("sort-by");
  if (order == "ASCEND") {
    request->set_sort_order(RangeRequest::ASCEND);
  } else if (order == "DESCEND") {
    request->set_sort_order(RangeRequest::DESCEND);
  } else if (!order.empty()) {
    return Fail(kExitBadFeature, StrCat("bad sort order ", order));
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
    return Fail(kExitBadFeature, StrCat("bad sort target ", target));
  }
  if (!target.empty() && order.empty()) request->set_sort_order(RangeRequest::ASCEND);
  return kExitOk;
}

int FillRange(const Session& session, etcdserverpb::RangeRequest* request) {
  const OptionValues& v = session.values();
  const std::string& consistency = v.GetString("consistency");
  if (consistency != "l" && consistency != "s") {
    return Fail(kExitBadFeature, StrCat("unknown consistency flag \"", consistency, "\""));
  }
  if (const int code = FillInterval(session, request); code != kExitOk) return code;
  if (const int code = FillOrder(session, request); code != kExitOk) return code;
  request->set_serializable(consistency == "s");
  request->set_limit(v.GetInt("limit"));
  request->set_revision(v.GetInt("rev"));
  request->set_keys_only(v.GetBool("keys-only"));
  request->set_count_only(v.GetBool("count-only"));
  request->set_min_mod_revision(v.GetInt("min-mod-rev"));
  request->set_max_mod_revision(v.GetInt("max-mod-rev"));
  request->set_min_create_revision(v.GetInt("min-create-rev"));
  request->set_max_create_revision(v.GetInt("max-create-rev"));
  return kExitOk;
}

// RangeStream, put together again: every part adds pairs, the last one the rest.
int ReadStream(Session* session, const etcdserverpb::RangeRequest& request,
               etcdserverpb::RangeResponse* response) {
  auto client = session->client();
  if (!client.ok()) return Fail(kExitError, ToStd(client.status().message()));
  auto stream = (*client)->Open("/etcdserverpb.KV/RangeStream");
  stream->Send(request);
  stream->HalfClose();
  const SystemClock clock;
  const int64_t end_ns = clock.MonotonicNs() + session->values().GetInt("command-timeout");
  while (auto message = stream->Receive(std::max<int64_t>(0, end_ns - clock.MonotonicNs()))) {
    etcdserverpb::RangeStreamResponse part;
    if (!part.ParseFromArray(message->data(), static_cast<int>(message->size()))) {
      return Fail(kExitError, "the server sent a part that is no RangeStreamResponse");
    }
    response->MergeFrom(part.range_response());
  }
  if (!stream->closed()) return Fail(kExitError, "context deadline exceeded");
  if (!stream->status().ok()) return Fail(kExitError, stream->status().message);
  return kExitOk;
}

int Get(Session* session) {
  const OptionValues& v = session->values();
  if (session->words().empty() || session->words().size() > 2) {
    return Fail(kExitBadArguments,
                "get command needs one argument as key and an optional argument as range_end");
  }
  if (v.GetBool("keys-only") && v.GetBool("count-only")) {
    return Fail(kExitBadArguments,
                "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
  }
  if (v.GetBool("count-only") && session->format() != Format::kFields) {
    return Fail(kExitBadArguments, "--count-only is only for `--write-out=fields`");
  }
  if (v.GetBool("print-value-only") && session->format() != Format::kSimple) {
    return Fail(kExitBadArguments, "print-value-only is only for `--write-out=simple`");
  }
  etcdserverpb::RangeRequest request;
  etcdserverpb::RangeResponse response;
  if (const int code = FillRange(*session, &request); code != kExitOk) return code;
  if (v.GetBool("stream")) {
    if (const int code = ReadStream(session, request, &response); code != kExitOk) return code;
  } else if (!session->Call("/etcdserverpb.KV/Range", request, &response)) {
    return kExitError;
  }
  const Show show = v.GetBool("print-value-only") ? Show::kValuesOnly
                    : v.GetBool("keys-only")      ? Show::kKeysOnly
                                                  : Show::kKeysAndValues;
  return PrintMessage(
      *session, response,
      [&] {
        std::string out;
        for (const auto& pair : response.kvs()) out += PairText(*session, pair, show);
        return out;
      },
      [&] { return RangeFields(*session, response); });
}

std::string ReadStandardInput() {
  std::string text;
  char buffer[64 << 10];
  ssize_t count;
  while ((count = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(count));
  }
  return text;
}

int Put(Session* session) {
  const OptionValues& v = session->values();
  const auto& words = session->words();
  const bool ignore_value = v.GetBool("ignore-value");
  if (ignore_value && words.size() != 1) {
    return Fail(kExitBadArguments, "put command needs only 1 argument when 'ignore-value' is set");
  }
  const bool piped = words.size() == 1 && isatty(STDIN_FILENO) == 0;
  if (words.empty() || words.size() > 2 || (words.size() == 1 && !ignore_value && !piped)) {
    return Fail(kExitBadArguments, kPutWords);
  }
  etcdserverpb::PutRequest request;
  request.set_key(words[0]);
  if (words.size() == 2) {
    request.set_value(words[1]);
  } else if (!ignore_value) {
    request.set_value(ReadStandardInput());
    // Nothing on standard input is more likely a forgotten word than an empty value.
    if (request.value().empty()) return Fail(kExitBadArguments, kPutWords);
  }
  int64_t lease = 0;
  if (!ParseHexId(v.GetString("lease"), &lease)) {
    return Fail(kExitBadArguments,
                StrCat("bad lease ID (", v.GetString("lease"), "), expecting ID in Hex"));
  }
  request.set_lease(lease);
  request.set_prev_kv(v.GetBool("prev-kv"));
  request.set_ignore_value(ignore_value);
  request.set_ignore_lease(v.GetBool("ignore-lease"));
  etcdserverpb::PutResponse response;
  if (!session->Call("/etcdserverpb.KV/Put", request, &response)) return kExitError;
  return PrintMessage(
      *session, response,
      [&] {
        std::string out = "OK\n";
        if (response.has_prev_kv()) out += PairText(*session, response.prev_kv());
        return out;
      },
      [&] { return PutFields(*session, response); });
}

int Delete(Session* session) {
  const auto& words = session->words();
  if (words.empty() || words.size() > 2) {
    return Fail(kExitBadArguments,
                "del command needs one argument as key and an optional argument as range_end");
  }
  etcdserverpb::DeleteRangeRequest request;
  if (const int code = FillInterval(*session, &request); code != kExitOk) return code;
  request.set_prev_kv(session->values().GetBool("prev-kv"));
  etcdserverpb::DeleteRangeResponse response;
  if (!session->Call("/etcdserverpb.KV/DeleteRange", request, &response)) return kExitError;
  return PrintMessage(
      *session, response,
      [&] {
        std::string out = StrCat(response.deleted(), "\n");
        for (const auto& pair : response.prev_kvs()) out += PairText(*session, pair);
        return out;
      },
      [&] { return DeleteFields(*session, response); });
}

int Compact(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "compaction command needs 1 argument");
  }
  const std::string& word = session->words()[0];
  int64_t revision = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), revision);
  if (error != std::errc() || end != word.data() + word.size()) {
    return Fail(kExitError, StrCat("'", word, "' is not a revision"));
  }
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  request.set_physical(session->values().GetBool("physical"));
  etcdserverpb::CompactionResponse response;
  if (!session->Call("/etcdserverpb.KV/Compact", request, &response)) return kExitError;
  Out(StrCat("compacted revision ", revision, "\n"));
  return kExitOk;
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

std::vector<Command> KvCommands() {
  const auto revision = [](std::string name, std::string help) {
    return OptionSpec{std::move(name), Type::kInt, "0", std::move(help), ""};
  };
  return {
      {"get", "[options] <key> [range_end]", "Gets the key or a range of keys",
       With(IntervalFlags(),
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
             {"stream", Type::kBool, "false", "Reads by RangeStream, in parts.", ""}}),
       Get},
      {"put",
       "[options] <key> <value>   (or the value on standard input)",
       "Puts the given key into the store",
       {{"ignore-lease", Type::kBool, "false", "Keeps the lease that the key has.", ""},
        {"ignore-value", Type::kBool, "false", "Keeps the value that the key has.", ""},
        {"lease", Type::kString, "0", "Lease (hexadecimal) to attach to the key.", ""},
        {"prev-kv", Type::kBool, "false", "Shows the pair as it was before.", ""}},
       Put},
      {"del", "[options] <key> [range_end]", "Removes the given key or range of keys",
       With(IntervalFlags(),
            {{"prev-kv", Type::kBool, "false", "Shows the removed pairs.", ""},
             {"range", Type::kBool, "false", "Takes two words as a range, as always.", ""}}),
       Delete},
      {"compaction",
       "[options] <revision>",
       "Drops what only revisions before this one can see",
       {{"physical", Type::kBool, "false", "Waits until the space is free.", ""}},
       Compact},
  };
}

}  // namespace quorate::ctl
