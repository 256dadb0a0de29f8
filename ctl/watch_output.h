// What a watch prints, and the program that it runs for each event.
#pragma once

#include <string>
#include <vector>

#include "ctl/session.h"
#include "ctl/watcher.h"

namespace quorate::ctl {

// What to watch and what to do then.
struct WatchWish {
  etcdserverpb::WatchCreateRequest request;
  std::vector<std::string> program;  // empty: none
};

std::vector<OptionSpec> WatchFlags();

// From the words (key, end, and behind "--" the program) and flags; without a key, from
// ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END.
absl::StatusOr<WatchWish> ReadWatchWish(const OptionValues& flags,
                                        const std::vector<std::string>& words);

// Prints what comes until the watch is canceled, fails or is interrupted, or the program fails;
// tells the reason on standard error. Answers the exit code. Several may follow at once: what
// belongs together is printed together.
int FollowWatch(const Session& session, Watcher* watcher, const std::vector<std::string>& program,
                Interruption* interruption);

}  // namespace quorate::ctl
