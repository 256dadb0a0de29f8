// get, put, del, compaction.
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "ctl/go_numbers.h"
#include "ctl/kv_requests.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/terminal.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

// RangeStream, put together again: every part adds pairs, the last one the rest.
int ReadStream(Session* session, const etcdserverpb::RangeRequest& request,
               etcdserverpb::RangeResponse* response) {
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  auto stream = client->Open("/etcdserverpb.KV/RangeStream");
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
  if (!stream->status().ok()) return Fail(stream->status());
  return kExitOk;
}

int Get(Session* session) {
  const OptionValues& v = session->values();
  etcdserverpb::RangeRequest request;
  if (auto status = FillGet(v, session->words(), &request); !status.ok()) return Fail(status);
  if (v.GetBool("count-only") && session->format() != Format::kFields) {
    return Fail(kExitBadArguments, "--count-only is only for `--write-out=fields`");
  }
  if (v.GetBool("print-value-only") && session->format() != Format::kSimple) {
    return Fail(kExitBadArguments, "print-value-only is only for `--write-out=simple`");
  }
  etcdserverpb::RangeResponse response;
  if (v.GetBool("stream")) {
    if (const int code = ReadStream(session, request, &response); code != kExitOk) return code;
  } else if (!session->Call("/etcdserverpb.KV/Range", request, &response)) {
    return session->failure();
  }
  return PrintRange(*session, response,
                    v.GetBool("print-value-only") ? Show::kValuesOnly
                    : v.GetBool("keys-only")      ? Show::kKeysOnly
                                                  : Show::kKeysAndValues);
}

int Put(Session* session) {
  const OptionValues& v = session->values();
  std::vector<std::string> words = session->words();
  if (words.size() == 1 && !v.GetBool("ignore-value") && isatty(STDIN_FILENO) == 0) {
    words.push_back(ReadStandardInput());
    // Nothing on standard input is more likely a forgotten word than an empty value.
    if (words[1].empty()) return Fail(kExitBadArguments, kPutWords);
  }
  etcdserverpb::PutRequest request;
  if (auto status = FillPut(v, words, &request); !status.ok()) return Fail(status);
  etcdserverpb::PutResponse response;
  if (!session->Call("/etcdserverpb.KV/Put", request, &response)) return session->failure();
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
  etcdserverpb::DeleteRangeRequest request;
  if (auto status = FillDelete(session->values(), session->words(), &request); !status.ok()) {
    return Fail(status);
  }
  etcdserverpb::DeleteRangeResponse response;
  if (!session->Call("/etcdserverpb.KV/DeleteRange", request, &response)) {
    return session->failure();
  }
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
  const auto revision = ParseGoInt(session->words()[0], 10);
  if (!revision.ok()) return Fail(kExitError, ToStd(revision.status().message()));
  etcdserverpb::CompactionRequest request;
  request.set_revision(*revision);
  request.set_physical(session->values().GetBool("physical"));
  etcdserverpb::CompactionResponse response;
  if (!session->Call("/etcdserverpb.KV/Compact", request, &response)) return session->failure();
  Out(StrCat("compacted revision ", *revision, "\n"));
  return kExitOk;
}

}  // namespace

std::vector<Command> KvCommands() {
  return {
      {"get", "[options] <key> [range_end]", "Gets the key or a range of keys", GetFlags(), Get,
       "  quoratectl get name                  one key\n"
       "  quoratectl get a c                   from a up to, and without, c\n"
       "  quoratectl get --prefix /app/        all keys that begin with /app/\n"
       "  quoratectl get name --rev=42         as it was at revision 42\n"
       "A key that is not there prints nothing and is no error."},
      {"put", "[options] <key> <value>   (or the value on standard input)",
       "Puts the given key into the store", PutFlags(), Put,
       "  quoratectl put name value\n"
       "  quoratectl put name < file\n"
       "  quoratectl put -- -name -value       when they begin with a dash"},
      {"del", "[options] <key> [range_end]", "Removes the given key or range of keys",
       DeleteFlags(), Delete, "Prints how many keys it removed."},
      {"compaction",
       "[options] <revision>",
       "Drops what only revisions before this one can see",
       {{"physical", Type::kBool, "false", "Waits until the space is free.", ""}},
       Compact,
       "`get KEY -w fields` shows the current revision. `defrag` gives the space back."},
  };
}

}  // namespace quorate::ctl
