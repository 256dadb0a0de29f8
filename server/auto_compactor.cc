#include "server/auto_compactor.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/text.h"
#include "engine/errors.h"

namespace quorate::server {
namespace {

constexpr int64_t kHourNs = 3600 * kNanosPerSecond;
constexpr int64_t kRevisionIntervalNs = 300 * kNanosPerSecond;
constexpr int64_t kLooksPerPeriod = 10;

bool IsPeriodic(const AutoCompaction& options) {
  return options.mode == AutoCompaction::Mode::kPeriodic;
}

// A period of more than an hour is looked at as if it were an hour.
int64_t LookInterval(const AutoCompaction& options) {
  if (!IsPeriodic(options)) return kRevisionIntervalNs;
  return std::max<int64_t>(std::min(options.retention, kHourNs) / kLooksPerPeriod, 1);
}

bool Compacted(const engine::Error& error) {
  return error.ok() || error.message == engine::errors::kCompacted.message;
}

}  // namespace

absl::StatusOr<AutoCompaction> ParseAutoCompaction(std::string_view mode,
                                                   std::string_view retention) {
  AutoCompaction options;
  if (mode.empty()) return absl::InvalidArgumentError("undefined auto-compaction-mode");
  if (mode == "revision") {
    options.mode = AutoCompaction::Mode::kRevision;
  } else if (mode != "periodic") {
    return absl::InvalidArgumentError(
        StrCat("unknown auto-compaction-mode \"", mode, "\"; known: periodic, revision"));
  }
  int64_t number;
  if (absl::SimpleAtoi(ToAbsl(retention), &number) && number >= 0) {
    constexpr int64_t kHoursMax = INT64_MAX / kHourNs;
    if (IsPeriodic(options) && number > kHoursMax) {
      return absl::InvalidArgumentError(
          StrCat("--auto-compaction-retention: at most ", kHoursMax, " hours"));
    }
    options.retention = IsPeriodic(options) ? number * kHourNs : number;
    return options;
  }
  absl::StatusOr<int64_t> duration = ParseGoDuration(retention);
  if (!duration.ok() || *duration < 0) {
    return absl::InvalidArgumentError(
        StrCat("error parsing CompactionRetention: --auto-compaction-retention \"", retention,
               "\" is neither a whole number (hours, or revisions) nor a duration such as 10m"));
  }
  options.retention = *duration;
  return options;
}

AutoCompactor::AutoCompactor(const AutoCompaction& options)
    : options_(options),
      look_interval_ns_(LookInterval(options)),
      samples_max_(
          IsPeriodic(options) ? static_cast<size_t>(options.retention / look_interval_ns_) + 1 : 0),
      wait_ns_(options.retention) {}

std::optional<int64_t> AutoCompactor::Look(int64_t now_ns, int64_t revision, Role role) {
  if (options_.retention == 0) return std::nullopt;
  if (!begun_) {
    begun_ = true;
    last_done_ns_ = now_ns;
    Sample(now_ns, revision);
    return std::nullopt;
  }
  if (asked_) {
    if (!asked_->outcome) return std::nullopt;
    TakeOutcome(now_ns);
    Sample(now_ns, revision);
    return std::nullopt;
  }
  if (now_ns < next_look_ns_) return std::nullopt;
  if (role == Role::kLeads) {
    if (const std::optional<int64_t> wanted = Wanted(now_ns, revision)) {
      asked_ = {*wanted, std::nullopt};
      return wanted;
    }
  }
  Sample(now_ns, revision);
  return std::nullopt;
}

std::optional<int64_t> AutoCompactor::Wanted(int64_t now_ns, int64_t revision) {
  if (!IsPeriodic(options_)) {
    const int64_t target = revision - options_.retention;
    if (target <= 0 || target == last_revision_) return std::nullopt;
    LogInfo("starting auto revision compaction",
            {{"revision", target}, {"revision-compaction-retention", options_.retention}});
    return target;
  }
  const int64_t target = samples_.front();
  if (now_ns - last_done_ns_ < wait_ns_ || target == last_revision_) return std::nullopt;
  // The first one after a whole period, from then on at least every hour.
  wait_ns_ = std::min(options_.retention, kHourNs);
  LogInfo("starting auto periodic compaction",
          {{"revision", target}, {"compact-period", FormatGoDuration(options_.retention)}});
  return target;
}

void AutoCompactor::Done(const engine::Error& error) {
  if (asked_) asked_->outcome = error;
}

void AutoCompactor::TakeOutcome(int64_t now_ns) {
  const char* const kind = IsPeriodic(options_) ? "periodic" : "revision";
  if (Compacted(*asked_->outcome)) {
    last_revision_ = asked_->revision;
    last_done_ns_ = now_ns;
    LogInfo(StrCat("completed auto ", kind, " compaction"), {{"revision", last_revision_}});
  } else {
    LogWarn(StrCat("failed auto ", kind, " compaction"),
            {{"revision", asked_->revision},
             {"retry-interval", FormatGoDuration(look_interval_ns_)},
             {"error", asked_->outcome->message}});
  }
  asked_.reset();
}

void AutoCompactor::Sample(int64_t now_ns, int64_t revision) {
  next_look_ns_ = now_ns + look_interval_ns_;
  if (samples_max_ == 0) return;
  samples_.push_back(revision);
  if (samples_.size() > samples_max_) samples_.pop_front();
}

}  // namespace quorate::server
