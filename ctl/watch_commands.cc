// watch: prints the events of keys until interrupted or canceled; may run a program for each.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/json_text.h"
#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;
using etcdserverpb::WatchResponse;

// Key, end and, behind "--", the program to run for each event.
struct Wish {
  std::vector<std::string> keys;
  std::vector<std::string> program;
};

Wish WishOf(const std::vector<std::string>& words) {
  Wish wish;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") {
      wish.program.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      break;
    }
    wish.keys.push_back(words[i]);
  }
  // Without words, the environment tells.
  if (const char* key = std::getenv("ETCDCTL_WATCH_KEY"); wish.keys.empty() && key != nullptr) {
    wish.keys.emplace_back(key);
    if (const char* end = std::getenv("ETCDCTL_WATCH_RANGE_END")) wish.keys.emplace_back(end);
  }
  return wish;
}

std::string EventJson(const WatchResponse& response) {
  std::vector<std::string> events;
  for (const auto& event : response.events()) events.push_back(GoJson(event));
  return StrCat("{\"Header\":", GoJson(response.header()),
                ",\"Events\":", events.empty() ? "null" : StrCat("[", StrJoin(events, ","), "]"),
                ",\"CompactRevision\":", response.compact_revision(),
                ",\"Canceled\":", response.canceled() ? "true" : "false",
                ",\"Created\":", response.created() ? "true" : "false",
                ",\"CancelReason\":", JsonString(response.cancel_reason()), "}\n");
}

std::string_view TypeName(const mvccpb::Event& event) {
  return event.type() == mvccpb::Event::DELETE ? "DELETE" : "PUT";
}

std::string SimpleText(const Session& session, const WatchResponse& response) {
  std::string out;
  if (response.events().empty() && !response.canceled()) {
    StrAppend(&out, "progress notify: ", response.header().revision(), "\n");
  }
  for (const auto& event : response.events()) {
    StrAppend(&out, TypeName(event), "\n");
    if (event.has_prev_kv()) out += PairText(session, event.prev_kv());
    out += PairText(session, event.kv());
  }
  return out;
}

std::string FieldsText(const Session& session, const WatchResponse& response) {
  std::string out = HeaderFields(session, response.header());
  for (const auto& event : response.events()) {
    StrAppend(&out, "\"Type\" : ", TypeName(event), "\n");
    if (event.has_prev_kv()) out += PairFields(session, "Prev", event.prev_kv());
    out += PairFields(session, "", event.kv());
  }
  return out;
}

// Runs the program once for an event, which it finds in its environment. False: could not.
bool RunProgram(const std::vector<std::string>& program, const WatchResponse& response,
                const mvccpb::Event& event) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    setenv("ETCD_WATCH_REVISION", StrCat(response.header().revision()).c_str(), 1);
    setenv("ETCD_WATCH_EVENT_TYPE", GoQuote(TypeName(event)).c_str(), 1);
    setenv("ETCD_WATCH_KEY", GoQuote(event.kv().key()).c_str(), 1);
    setenv("ETCD_WATCH_VALUE", GoQuote(event.kv().value()).c_str(), 1);
    std::vector<char*> words;
    for (const std::string& word : program) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execvp(words[0], words.data());
    std::perror(words[0]);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int Print(const Session& session, const WatchResponse& response) {
  const int code = session.format() == Format::kJson
                       ? (Out(EventJson(response)), kExitOk)
                       : PrintMessage(
                             session, response, [&] { return SimpleText(session, response); },
                             [&] { return FieldsText(session, response); });
  std::fflush(stdout);
  return code;
}

int Canceled(const WatchResponse& response) {
  std::string reason = response.cancel_reason();
  if (reason.empty() && response.compact_revision() != 0) {
    reason = "etcdserver: mvcc: required revision has been compacted";
  }
  std::fprintf(stderr, "watch was canceled (%s)\n", reason.c_str());
  return Fail(kExitInterrupted, "watch is canceled by the server");
}

int Follow(const Session& session, SyncStream* stream, const std::vector<std::string>& program) {
  while (auto message = stream->Receive(INT64_MAX)) {
    WatchResponse response;
    if (!response.ParseFromArray(message->data(), static_cast<int>(message->size()))) {
      return Fail(kExitError, "the server sent what is no WatchResponse");
    }
    if (response.created() && !response.canceled()) continue;
    if (const int code = Print(session, response); code != kExitOk) return code;
    if (response.canceled()) return Canceled(response);
    if (program.empty()) continue;
    for (const auto& event : response.events()) {
      if (!RunProgram(program, response, event)) {
        return Fail(kExitError, StrCat("command ", program[0], " failed"));
      }
    }
  }
  return Fail(kExitConnection, stream->status().message);
}

int Watch(Session* session) {
  const OptionValues& v = session->values();
  const Wish wish = WishOf(session->words());
  const bool prefix = v.GetBool("prefix");
  if (wish.keys.empty() || wish.keys.size() > 2) {
    return Fail(kExitBadArguments, "bad number of arguments");
  }
  if (wish.keys.size() == 2 && prefix) {
    return Fail(kExitBadArguments, "`range_end` and `--prefix` are mutually exclusive");
  }
  if (session->format() == Format::kTable) return NoTable();
  etcdserverpb::WatchRequest request;
  auto* create = request.mutable_create_request();
  create->set_key(wish.keys[0]);
  if (wish.keys.size() == 2) create->set_range_end(wish.keys[1]);
  if (prefix) create->set_range_end(PrefixEnd(wish.keys[0]));
  create->set_start_revision(v.GetInt("rev"));
  create->set_prev_kv(v.GetBool("prev-kv"));
  create->set_progress_notify(v.GetBool("progress-notify"));
  auto client = session->client();
  if (!client.ok()) return Fail(kExitError, ToStd(client.status().message()));
  auto stream = (*client)->Open("/etcdserverpb.Watch/Watch");
  stream->Send(request);
  return Follow(*session, stream.get(), wish.program);
}

}  // namespace

std::vector<Command> WatchCommands() {
  return {{"watch",
           "[options] [key or prefix] [range_end] [--] [program arg1 arg2 ...]",
           "Prints changes as they happen; with a program, runs it for each",
           {{"prefix", Type::kBool, "false", "All keys that begin with the key.", ""},
            {"prev-kv", Type::kBool, "false", "Shows the pair as it was before.", ""},
            {"progress-notify", Type::kBool, "false", "Shows how far a quiet watch is.", ""},
            {"rev", Type::kInt, "0", "Revision to start from; 0 means from now on.", ""}},
           Watch}};
}

}  // namespace quorate::ctl
