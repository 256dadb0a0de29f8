#include "ctl/watch_output.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "base/json_text.h"
#include "base/text.h"
#include "ctl/child_process.h"
#include "ctl/printers.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;
using etcdserverpb::WatchResponse;

std::mutex output_mutex;

constexpr char kWrongNumber[] = "bad number of arguments";

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

int Print(const Session& session, const WatchResponse& response) {
  const int code = session.format() == Format::kJson
                       ? (Out(EventJson(response)), kExitOk)
                       : PrintMessage(
                             session, response, [&] { return SimpleText(session, response); },
                             [&] { return FieldsText(session, response); });
  std::fflush(stdout);
  return code;
}

// Runs the program once for an event, which it finds in its environment.
int RunProgram(const std::vector<std::string>& program, const WatchResponse& response,
               const mvccpb::Event& event) {
  const ChildEnd end =
      RunChild(program, {{"ETCD_WATCH_REVISION", StrCat(response.header().revision())},
                         {"ETCD_WATCH_EVENT_TYPE", GoQuote(TypeName(event))},
                         {"ETCD_WATCH_KEY", GoQuote(event.kv().key())},
                         {"ETCD_WATCH_VALUE", GoQuote(event.kv().value())}});
  if (end.error.empty()) return kExitOk;
  std::vector<std::string> quoted;
  for (const std::string& word : program) quoted.push_back(GoQuote(word));
  std::fprintf(stderr, "command [%s] error (%s)\n", StrJoin(quoted, " ").c_str(),
               end.error.c_str());
  return kExitError;
}

std::string CancelReason(const WatchResponse& response) {
  if (!response.cancel_reason().empty()) return response.cancel_reason();
  if (response.compact_revision() == 0) return "";
  return "etcdserver: mvcc: required revision has been compacted";
}

int Canceled(const std::string& reason) {
  std::fprintf(stderr, "watch was canceled (%s)\n", reason.c_str());
  return kExitInterrupted;
}

// Key and end from the environment, where no words name them.
absl::Status AddEnvironment(std::vector<std::string>* keys) {
  const char* key = std::getenv("ETCDCTL_WATCH_KEY");
  const char* end = std::getenv("ETCDCTL_WATCH_RANGE_END");
  const bool has_key = key != nullptr && *key != '\0';
  const bool has_end = end != nullptr && *end != '\0';
  if (!has_key && has_end) {
    return absl::InvalidArgumentError(ToAbsl(
        StrCat("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=", GoQuote(end))));
  }
  if (!has_key) return absl::OkStatus();
  if (!keys->empty()) {
    return absl::InvalidArgumentError(
        ToAbsl(StrCat(kWrongNumber, " (found conflicting environment key)")));
  }
  keys->emplace_back(key);
  if (has_end) keys->emplace_back(end);
  return absl::OkStatus();
}

}  // namespace

std::vector<OptionSpec> WatchFlags() {
  return {{"prefix", Type::kBool, "false", "All keys that begin with the key.", ""},
          {"prev-kv", Type::kBool, "false", "Shows the pair as it was before.", ""},
          {"progress-notify", Type::kBool, "false", "Shows how far a quiet watch is.", ""},
          {"rev", Type::kInt, "0", "Revision to start from; 0 means from now on.", ""}};
}

absl::StatusOr<WatchWish> ReadWatchWish(const OptionValues& flags,
                                        const std::vector<std::string>& words) {
  WatchWish wish;
  const auto dashes = std::find(words.begin(), words.end(), "--");
  std::vector<std::string> keys(words.begin(), dashes);
  if (dashes != words.end()) {
    wish.program.assign(dashes + 1, words.end());
    if (wish.program.empty()) {
      return absl::InvalidArgumentError(
          ToAbsl(StrCat(kWrongNumber, " (found separator --, but no commands)")));
    }
  }
  if (auto status = AddEnvironment(&keys); !status.ok()) return status;
  if (keys.empty() || keys.size() > 2) return absl::InvalidArgumentError(kWrongNumber);
  const bool prefix = flags.GetBool("prefix");
  if (keys.size() == 2 && prefix) {
    return absl::InvalidArgumentError("`range_end` and `--prefix` are mutually exclusive");
  }
  wish.request.set_key(keys[0]);
  if (keys.size() == 2) wish.request.set_range_end(keys[1]);
  if (prefix) wish.request.set_range_end(PrefixEnd(keys[0]));
  if (prefix && keys[0].empty()) wish.request.set_key(std::string(1, '\0'));
  wish.request.set_start_revision(flags.GetInt("rev"));
  wish.request.set_prev_kv(flags.GetBool("prev-kv"));
  wish.request.set_progress_notify(flags.GetBool("progress-notify"));
  return wish;
}

int FollowWatch(const Session& session, Watcher* watcher, const std::vector<std::string>& program,
                Interruption* interruption) {
  while (const auto response = watcher->Next(interruption)) {
    const std::lock_guard lock(output_mutex);
    if (response->canceled()) Canceled(CancelReason(*response));
    if (const int code = Print(session, *response); code != kExitOk) return code;
    if (response->canceled()) return kExitInterrupted;
    if (program.empty()) continue;
    for (const auto& event : response->events()) {
      if (const int code = RunProgram(program, *response, event); code != kExitOk) return code;
    }
  }
  if (interruption != nullptr && interruption->raised()) return kExitOk;
  return Canceled(ErrorText(watcher->status()));
}

}  // namespace quorate::ctl
