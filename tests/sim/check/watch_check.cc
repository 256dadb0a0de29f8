#include "tests/sim/check/watch_check.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "base/text.h"

namespace quorate::sim {
namespace {

// Follows one watch through the revisions.
class Follower {
 public:
  Follower(const Truth& truth, const WatchRecord& watch, Violations* violations)
      : model_(truth.model()), watch_(watch), violations_(violations) {
    next_ = std::max<int64_t>(watch.start_revision, 2);
    told_ = watch.start_revision;
    SkipUninteresting();
  }

  void Run(int64_t complete_revision) {
    for (const WatchRecord::Response& response : watch_.responses) {
      if (!Take(response)) return;
    }
    if (watch_.end == WatchRecord::End::kOpen && next_ <= complete_revision) {
      Add(StrCat("is open and was never told of revision ", next_));
    }
    // Where the server stood is not known, only that it was not before this.
    if (watch_.end == WatchRecord::End::kCompacted && watch_.compact_revision < told_) {
      Add(StrCat("ended as compacted at ", watch_.compact_revision, " though it needs ", told_));
    }
    if (watch_.end == WatchRecord::End::kCompacted &&
        watch_.compact_revision > model_.compacted()) {
      Add(StrCat("ended by a compaction at ", watch_.compact_revision, " that never was"));
    }
  }

 private:
  void Add(std::string_view what) {
    const auto shown = [](const std::string& key) { return absl::CHexEscape(ToAbsl(key)); };
    violations_->push_back(StrCat("watch ", watch_.id, " of [", shown(watch_.key), ", ",
                                  shown(watch_.range_end), ") from ", watch_.start_revision, " ",
                                  what));
  }

  bool Wanted(const StoreModel::Change& change) const {
    return InRange(change.key, watch_.key, watch_.range_end);
  }

  // Moves to the first event at or after (next_, place_).
  void SkipUninteresting() {
    while (next_ <= model_.revision()) {
      const auto& changes = model_.ChangesOf(next_);
      while (place_ < changes.size() && !Wanted(changes[place_])) ++place_;
      if (place_ < changes.size()) return;
      ++next_;
      place_ = 0;
    }
  }

  bool Take(const WatchRecord::Response& response) {
    if (response.events.empty()) {
      // A progress notification: all up to its revision has been delivered.
      if (response.revision >= next_ && next_ <= model_.revision()) {
        Add(StrCat("was told of progress up to ", response.revision, " without revision ", next_));
        return false;
      }
      return true;
    }
    for (const mvccpb::Event& event : response.events) {
      if (!TakeEvent(event)) return false;
    }
    if (next_ <= model_.revision() && place_ != 0 && Started() && !response.fragment) {
      Add(StrCat("got a part of revision ", next_));
      return false;
    }
    return true;
  }

  // Whether an event of revision next_ was delivered already.
  bool Started() const {
    const auto& changes = model_.ChangesOf(next_);
    return std::any_of(changes.begin(), changes.begin() + static_cast<ptrdiff_t>(place_),
                       [this](const auto& change) { return Wanted(change); });
  }

  bool TakeEvent(const mvccpb::Event& event) {
    const int64_t revision = event.kv().mod_revision();
    if (next_ > model_.revision()) {
      Add(StrCat("got an event of revision ", revision, " that never was or came before"));
      return false;
    }
    const StoreModel::Change& change = model_.ChangesOf(next_)[place_];
    const mvccpb::Event expected = EventOf(change, next_);
    if (expected.SerializeAsString() != event.SerializeAsString()) {
      Add(StrCat("got {", event.ShortDebugString(), "} where {", expected.ShortDebugString(),
                 "} was next"));
      return false;
    }
    ++place_;
    told_ = revision + 1;
    SkipUninteresting();
    return true;
  }

  mvccpb::Event EventOf(const StoreModel::Change& change, int64_t revision) const {
    mvccpb::Event event;
    if (change.value) {
      *event.mutable_kv() = *change.value;
    } else {
      event.set_type(mvccpb::Event::DELETE);
      event.mutable_kv()->set_key(change.key);
      event.mutable_kv()->set_mod_revision(revision);
    }
    // What a compaction dropped cannot be told any more; the runs do not ask for it then.
    if (watch_.prev_kv && change.previous) *event.mutable_prev_kv() = *change.previous;
    return event;
  }

  const StoreModel& model_;
  const WatchRecord& watch_;
  Violations* const violations_;
  int64_t next_;      // the revision of the event that must come next
  int64_t told_;      // all before this revision was delivered
  size_t place_ = 0;  // its place among the changes of that revision
};

}  // namespace

Violations CheckWatches(const Truth& truth, const std::vector<WatchRecord>& watches,
                        int64_t complete_revision) {
  Violations violations;
  for (const WatchRecord& watch : watches) {
    Follower(truth, watch, &violations).Run(complete_revision);
  }
  return violations;
}

}  // namespace quorate::sim
