// watch: prints the events of keys until interrupted or canceled; -i reads what to watch from
// standard input, one line each.
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/terminal.h"
#include "ctl/txn_language.h"
#include "ctl/watch_output.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

// The watches of an interactive session. They end with it.
class Watches {
 public:
  Watches(Session* session, SyncClient* client) : session_(session), client_(client) {}
  ~Watches() {
    stop_.Raise(Interruption::Cause::kStopped);
    for (std::thread& thread : threads_) thread.join();
  }

  void Add(const WatchWish& wish) {
    Watcher* watcher =
        watchers_.emplace_back(std::make_unique<Watcher>(client_, wish.request)).get();
    threads_.emplace_back([this, watcher, program = wish.program] {
      FollowWatch(*session_, watcher, program, &stop_);
    });
  }
  void RequestProgress() {
    for (const auto& watcher : watchers_) watcher->RequestProgress();
  }

 private:
  Session* const session_;
  SyncClient* const client_;
  Interruption stop_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
  std::vector<std::thread> threads_;
};

void TellInvalid(const std::string& line, std::string_view why) {
  std::fprintf(stderr, "Invalid command %s (%s)\n", line.c_str(), std::string(why).c_str());
}

// Adds what a line beginning with "watch" asks for. kExitOk goes on with the next line.
int AddWatch(const std::string& line, std::vector<std::string> words, Watches* watches) {
  const char* key = std::getenv("ETCDCTL_WATCH_KEY");
  if (words.size() < 2 && (key == nullptr || *key == '\0')) {
    TellInvalid(line, "command type or key is not provided");
    return kExitOk;
  }
  OptionValues flags(WatchFlags());
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const std::vector<std::string> behind(dashes, words.end());
  auto rest = flags.ParseFlags({words.begin() + 1, dashes});
  if (!rest.ok()) return Fail(rest.status());
  rest->insert(rest->end(), behind.begin(), behind.end());
  const auto wish = ReadWatchWish(flags, *rest);
  if (!wish.ok() && rest->size() == 2 && flags.GetBool("prefix")) {
    TellInvalid(line, ToStd(wish.status().message()));
    return kExitOk;
  }
  if (!wish.ok()) return Fail(wish.status());
  watches->Add(*wish);
  return kExitOk;
}

int Interactive(Session* session) {
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  Watches watches(session, client);
  while (const auto line = ReadLine()) {
    const auto words = SplitWords(*line);
    if (!words.ok()) return Fail(words.status());
    if (words->empty()) {
      std::fprintf(stderr, "Invalid command: %s (watch and progress supported)\n", line->c_str());
    } else if (words->front() == "progress") {
      watches.RequestProgress();
    } else if (words->front() != "watch") {
      TellInvalid(*line, "only support watch");
    } else if (const int code = AddWatch(*line, *words, &watches); code != kExitOk) {
      return code;
    }
  }
  return Fail(kExitInvalidInput, "error reading watch request line: EOF");
}

int Watch(Session* session) {
  if (session->values().GetBool("interactive")) return Interactive(session);
  const auto wish = ReadWatchWish(session->values(), session->words());
  if (!wish.ok()) return Fail(wish.status());
  if (session->format() == Format::kTable) return NoTable();
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  Watcher watcher(client, wish->request);
  const int code = FollowWatch(*session, &watcher, wish->program, nullptr);
  if (code != kExitInterrupted) return code;
  return Fail(code, "watch is canceled by the server");
}

std::vector<OptionSpec> Flags() {
  std::vector<OptionSpec> flags = WatchFlags();
  flags.insert(flags.begin(), {"interactive", Type::kBool, "false",
                               "Reads what to watch from standard input. Short: -i", ""});
  return flags;
}

}  // namespace

std::vector<Command> WatchCommands() {
  return {
      {"watch", "[options] [key or prefix] [range_end] [--] [program arg1 arg2 ...]",
       "Prints changes as they happen; with a program, runs it for each", Flags(), Watch,
       "  quoratectl watch --prefix /app/\n"
       "  quoratectl watch name --rev=42                  from revision 42 on\n"
       "  quoratectl watch name -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_VALUE'\n"
       "The program also finds ETCD_WATCH_KEY and ETCD_WATCH_REVISION. Without words,\n"
       "ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END name the keys. A lost connection is made\n"
       "again, at another endpoint if need be, and no event is missed. With -i, each line of\n"
       "standard input is `watch` with keys and flags, or `progress`."}};
}

}  // namespace quorate::ctl
