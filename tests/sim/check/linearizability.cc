#include "tests/sim/check/linearizability.h"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "base/text.h"
#include "tests/sim/check/register_call.h"
#include "tests/sim/check/store_model.h"

namespace quorate::sim {
namespace {

constexpr size_t kNone = SIZE_MAX;

// One group of keys and the calls on it.
class Search {
 public:
  Search(std::vector<RegisterCall> calls, size_t keys, const SearchLimits& limits)
      : calls_(std::move(calls)), limits_(limits), state_(keys, 0) {
    // The order in which they are tried. A call without an answer has no revision: it is tried
    // last, when nothing else explains what was seen.
    std::stable_sort(calls_.begin(), calls_.end(),
                     [](const RegisterCall& a, const RegisterCall& b) {
                       if (a.revision != b.revision) return a.revision < b.revision;
                       if (a.writes.empty() != b.writes.empty()) return b.writes.empty();
                       return a.invoked < b.invoked;
                     });
    done_.assign((calls_.size() + 63) / 64, 0);
    for (const RegisterCall& call : calls_) must_ += call.returned != kNever ? 1 : 0;
  }

  enum class Verdict { kYes, kNo, kUndecided };

  // Depth first without recursion: each frame is one call that was made.
  Verdict Run() {
    struct Frame {
      size_t call;
      std::vector<uint32_t> state_before;
    };
    std::vector<Frame> path;
    size_t from = 0;
    while (must_ > 0) {
      if (states_ > limits_.states_per_group) return Verdict::kUndecided;
      const size_t next = NextCandidate(from);
      if (next != kNone) {
        Frame frame{next, state_};
        Make(next);
        ++states_;
        if (Remember()) {
          deepest_ = std::max(deepest_, path.size() + 1);
          path.push_back(std::move(frame));
          from = 0;
          continue;
        }
        Unmake(next, std::move(frame.state_before));
        from = next + 1;
        continue;
      }
      if (path.empty()) return Verdict::kNo;
      Frame last = std::move(path.back());
      path.pop_back();
      from = last.call + 1;
      Unmake(last.call, std::move(last.state_before));
    }
    return Verdict::kYes;
  }

  uint64_t states() const { return states_; }
  size_t deepest() const { return deepest_; }
  const std::vector<RegisterCall>& calls() const { return calls_; }

 private:
  bool Done(size_t call) const { return done_[call / 64] >> call % 64 & 1; }
  void Flip(size_t call) { done_[call / 64] ^= uint64_t{1} << call % 64; }

  // The first call from `from` on that may come next: it began before any open one returned, and
  // its answer fits.
  size_t NextCandidate(size_t from) const {
    uint64_t first_return = kNever;
    for (size_t i = 0; i < calls_.size(); ++i) {
      if (!Done(i)) first_return = std::min(first_return, calls_[i].returned);
    }
    for (size_t i = from; i < calls_.size(); ++i) {
      if (!Done(i) && calls_[i].invoked < first_return && calls_[i].Fits(state_)) return i;
    }
    return kNone;
  }

  void Make(size_t call) {
    Flip(call);
    calls_[call].ApplyTo(&state_);
    if (calls_[call].returned != kNever) --must_;
  }
  void Unmake(size_t call, std::vector<uint32_t> state) {
    Flip(call);
    state_ = std::move(state);
    if (calls_[call].returned != kNever) ++must_;
  }
  // False when the search was here before.
  bool Remember() { return seen_.emplace(done_, state_).second; }

  std::vector<RegisterCall> calls_;
  const SearchLimits limits_;
  std::vector<uint32_t> state_;  // value of each key; 0 = not there
  std::vector<uint64_t> done_;   // bits
  size_t must_ = 0;              // answered calls that are not placed yet
  std::set<std::pair<std::vector<uint64_t>, std::vector<uint32_t>>> seen_;
  uint64_t states_ = 0;
  size_t deepest_ = 0;
};

// Keys that some operation touches together belong together.
class Groups {
 public:
  size_t Find(size_t key) {
    while (parent_[key] != key) key = parent_[key] = parent_[parent_[key]];
    return key;
  }
  void Join(size_t a, size_t b) { parent_[Find(a)] = Find(b); }
  explicit Groups(size_t keys) : parent_(keys) { std::iota(parent_.begin(), parent_.end(), 0); }

 private:
  std::vector<size_t> parent_;
};

}  // namespace

SearchResult SearchLinearization(const std::vector<Operation>& operations,
                                 const SearchLimits& limits) {
  CallCompiler compiler(operations);
  std::vector<RegisterCall> calls = compiler.Compile();
  Groups groups(compiler.keys());
  for (const RegisterCall& call : calls) {
    for (const uint32_t key : call.keys) groups.Join(call.keys.front(), key);
  }
  std::map<size_t, std::vector<RegisterCall>> by_group;
  for (RegisterCall& call : calls) {
    if (!call.keys.empty()) by_group[groups.Find(call.keys.front())].push_back(std::move(call));
  }
  SearchResult result;
  for (auto& [group, members] : by_group) {
    result.operations += members.size();
    Search search(std::move(members), compiler.keys(), limits);
    const Search::Verdict verdict = search.Run();
    ++result.groups;
    result.states += search.states();
    if (verdict == Search::Verdict::kUndecided) ++result.undecided;
    if (verdict != Search::Verdict::kNo) continue;
    const auto stuck = search.calls().size() > search.deepest() ? search.deepest() : 0;
    result.violations.push_back(StrCat(
        "no order of ", search.calls().size(), " operations explains the group of key ",
        compiler.KeyName(group), "; at most ", search.deepest(),
        " fit together, look near: ", Describe(operations[search.calls()[stuck].operation])));
  }
  return result;
}

}  // namespace quorate::sim
