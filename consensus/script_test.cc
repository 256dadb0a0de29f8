// Behaviours as texts: consensus/testdata/*.txt hold commands and what is to be seen when they are
// carried out, so that a change of behaviour is a change of a text. QUORATE_REWRITE=1 writes down
// what is seen instead of comparing.
//
//   # a comment
//   group voters=1,2,3 learners=4        one or more commands
//   campaign 1
//   ----
//   what happens, one event a line       up to an empty line
//
// Commands (members are numbers):
//   group voters=.. [learners=..] [option=number ..]   a new group; the options are Config's
//   join 4                   a member that knows nothing
//   campaign 1               ticks 1 until it wants to lead, then settles
//   tick 1 [times]           one member;  ticks [times]: all, settling after each
//   settle                   everything that can happen without a tick happens
//   collect                  outputs are taken, nothing is delivered or done
//   deliver 1 [type]         what is under way to 1 (of that type) arrives
//   propose 1 text           or: propose 1 <bytes>*   for a payload of so many bytes
//   change 1 +4 ~5 -2 [joint|explicit]   add voter 4, add learner 5, remove 2;  change 1 leave
//   transfer 1 2             1 is asked to let 2 lead
//   read 1 77                a read index for 77
//   cut 1 2                  messages between 1 and 2 are lost;  heal: no more
//   lose type                messages of that type are lost;  heal: no more
//   stall 1 / unstall 1      its disk takes writes and never finishes / goes on
//   hold 1 / release 1       it applies nothing / goes on;  slow 1 / fast 1: the same for its log's
//   reads crash 1, restart 1, flush 1 compact 1 9 [quietly]    its log store drops entries up to 9
//   (without telling raft) unreachable 1 2          1 hears that a message to 2 was lost status,
//   log 1, pending   looks quiet COMMAND            what happens is not shown

#include <algorithm>
#include <catch2/catch.hpp>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "consensus/test_group.h"

namespace quorate::consensus {
namespace {

uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  CAPTURE(text);
  REQUIRE((error == std::errc() && end == text.data() + text.size()));
  return value;
}

std::vector<uint64_t> Numbers(std::string_view text) {
  std::vector<uint64_t> values;
  for (const std::string_view part : StrSplit(text, ',')) values.push_back(Number(part));
  return values;
}

class Script {
 public:
  std::string Run(const std::vector<std::string>& commands) {
    for (const std::string& command : commands) {
      words_.clear();
      for (const std::string_view word : StrSplit(command, ' ')) {
        if (!word.empty()) words_.emplace_back(word);
      }
      const bool quiet = words_.at(0) == "quiet";
      if (quiet) words_.erase(words_.begin());
      const size_t shown = lines_.size();
      Command(command);
      if (quiet) lines_.resize(shown);
    }
    std::string out;
    for (const std::string& line : std::exchange(lines_, {})) StrAppend(&out, line, "\n");
    return out;
  }

 private:
  using Handler = std::function<void()>;

  void Command(const std::string& command) {
    const std::map<std::string, Handler> handlers = {
        {"group", [&] { NewGroup(); }},
        {"join", [&] { group_->Add(Id(), ConfState{}); }},
        {"campaign", [&] { group_->Campaign(Id()); }},
        {"tick", [&] { group_->Tick(Id(), Times(2)); }},
        {"ticks", [&] { group_->TickAll(Times(1)); }},
        {"settle", [&] { group_->Settle(); }},
        {"collect", [&] { group_->Collect(); }},
        {"deliver", [&] { Deliver(); }},
        {"propose", [&] { Propose(); }},
        {"change", [&] { Change(); }},
        {"transfer", [&] { Say(group_->raft(Id()).TransferLeadership(MemberId(Id(2)))); }},
        {"read", [&] { group_->raft(Id()).ReadIndex(Id(2)); }},
        {"cut",
         [&] {
           cut_.insert({Id(1), Id(2)}), cut_.insert({Id(2), Id(1)});
         }},
        {"lose", [&] { lost_types_.insert(words_.at(1)); }},
        {"heal", [&] { cut_.clear(), lost_types_.clear(); }},
        {"stall", [&] { group_->stalled_disks.insert(Id()); }},
        {"unstall", [&] { group_->stalled_disks.erase(Id()); }},
        {"hold", [&] { group_->not_applying.insert(Id()); }},
        {"release", [&] { group_->not_applying.erase(Id()); }},
        {"slow", [&] { group_->slow_readers.insert(Id()); }},
        {"fast", [&] { group_->slow_readers.erase(Id()); }},
        {"crash", [&] { group_->Crash(Id()); }},
        {"restart", [&] { group_->at(Id()).Restart(); }},
        {"flush", [&] { group_->at(Id()).Flush(); }},
        {"compact", [&] { Compact(); }},
        {"unreachable", [&] { group_->raft(Id()).ReportUnreachable(MemberId(Id(2))); }},
        {"status", [&] { Status(); }},
        {"log", [&] { Log(); }},
        {"pending", [&] { Pending(); }},
    };
    const auto handler = handlers.find(words_.at(0));
    CAPTURE(command);
    REQUIRE(handler != handlers.end());
    handler->second();
  }

  uint64_t Id(size_t word = 1) const { return Number(words_.at(word)); }
  int Times(size_t word) const {
    return words_.size() > word ? static_cast<int>(Number(words_[word])) : 1;
  }
  void Say(const absl::Status& status) {
    if (!status.ok()) lines_.push_back(StrCat(words_.at(1), ": ", ToStd(status.message())));
  }

  void NewGroup() {
    Config config;
    std::vector<uint64_t> voters, learners;
    const std::map<std::string, std::function<void(uint64_t)>> options = {
        {"pre_vote", [&](uint64_t value) { config.pre_vote = value != 0; }},
        {"check_quorum", [&](uint64_t value) { config.check_quorum = value != 0; }},
        {"append_bytes_max", [&](uint64_t value) { config.append_bytes_max = value; }},
        {"appends_in_flight_max",
         [&](uint64_t value) { config.appends_in_flight_max = static_cast<uint32_t>(value); }},
        {"append_bytes_in_flight_max",
         [&](uint64_t value) { config.append_bytes_in_flight_max = value; }},
        {"uncommitted_bytes_max", [&](uint64_t value) { config.uncommitted_bytes_max = value; }},
        {"tail_bytes_max", [&](uint64_t value) { config.tail_bytes_max = value; }},
    };
    for (size_t i = 1; i < words_.size(); ++i) {
      const auto [name, value] = SplitOnce(words_[i], '=');
      if (name == "voters") {
        voters = Numbers(value);
      } else if (name == "learners") {
        learners = Numbers(value);
      } else {
        options.at(std::string(name))(Number(value));
      }
    }
    group_ = std::make_unique<TestGroup>(/*seed=*/1, config);
    group_->AddAll(TestConf(voters, learners));
    group_->trace = &lines_;
    group_->loses = [this](const Message& message) {
      return cut_.contains({message.from.value(), message.to.value()}) ||
             lost_types_.contains(TypeOf(message));
    };
    group_->Settle();
    lines_.clear();
  }

  static std::string TypeOf(const Message& message) {
    const std::string text = ToText(message);
    return std::string(StrSplit(text, ' ').at(1));
  }

  void Deliver() {
    for (size_t i = 0; i < group_->in_flight.size();) {
      const Message& message = group_->in_flight[i];
      const bool wanted = words_.size() < 3 || TypeOf(message) == words_[2];
      if (message.to.value() == Id() && wanted) {
        group_->DeliverOne(i);
      } else {
        ++i;
      }
    }
  }

  void Propose() {
    std::string payload = words_.at(2);
    if (payload.ends_with('*')) {
      payload = std::string(Number(payload.substr(0, payload.size() - 1)), 'x');
    }
    group_->Propose(Id(), payload);
  }

  void Change() {
    ConfChange change;
    for (size_t i = 2; i < words_.size(); ++i) {
      const std::string& word = words_[i];
      if (word == "joint") change.transition = ConfChangeTransition::kJointImplicit;
      if (word == "explicit") change.transition = ConfChangeTransition::kJointExplicit;
      const std::map<char, ConfChangeType> types = {{'+', ConfChangeType::kAddVoter},
                                                    {'~', ConfChangeType::kAddLearner},
                                                    {'-', ConfChangeType::kRemoveMember}};
      const auto type = types.find(word[0]);
      if (type == types.end()) continue;
      change.changes.push_back({type->second, MemberId(Number(word.substr(1)))});
    }
    Say(group_->raft(Id()).ProposeConfChange(change));
  }

  void Compact() {
    group_->at(Id()).Flush();
    const bool quietly = words_.size() > 3;
    group_->at(Id()).Compact(LogIndex(Id(2)),
                             quietly ? TestMember::Tell::kNobody : TestMember::Tell::kRaft);
  }

  void Status() {
    const std::string text = group_->StatusText();
    for (const std::string_view line : StrSplit(text, '\n')) {
      if (!line.empty()) lines_.emplace_back(line);
    }
  }

  void Log() {
    std::string line = StrCat(words_.at(1), " applied:");
    for (const std::string& payload : group_->at(Id()).applied()) StrAppend(&line, " ", payload);
    lines_.push_back(std::move(line));
  }

  void Pending() {
    for (const Message& message : group_->in_flight) lines_.push_back(ToText(message));
  }

  std::unique_ptr<TestGroup> group_;
  std::vector<std::string> words_;
  std::vector<std::string> lines_;
  std::set<std::pair<uint64_t, uint64_t>> cut_;
  std::set<std::string> lost_types_;
};

void RunFile(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::string line, rewritten;
  std::vector<std::string> commands;
  Script script;
  int number = 0;
  while (std::getline(in, line)) {
    ++number;
    StrAppend(&rewritten, line, "\n");
    if (line.empty() || line[0] == '#') continue;
    if (line != "----") {
      commands.push_back(line);
      continue;
    }
    const int at = number;
    std::string expected;
    for (; std::getline(in, line) && !line.empty(); ++number) StrAppend(&expected, line, "\n");
    ++number;
    const std::string seen = script.Run(std::exchange(commands, {}));
    StrAppend(&rewritten, seen, in ? "\n" : "");
    if (std::getenv("QUORATE_REWRITE") != nullptr) continue;
    INFO(path.filename().string() << ":" << at);
    CHECK(seen == expected);
  }
  REQUIRE(commands.empty());
  if (std::getenv("QUORATE_REWRITE") == nullptr) return;
  in.close();
  std::ofstream(path) << rewritten;
}

TEST_CASE("the behaviours in testdata are what is written there") {
  std::set<std::filesystem::path> files;
  for (const auto& file : std::filesystem::directory_iterator(QUORATE_RAFT_TESTDATA)) {
    if (file.is_regular_file()) files.insert(file.path());
  }
  REQUIRE(files.size() > 5);
  for (const auto& file : files) RunFile(file);
}

}  // namespace
}  // namespace quorate::consensus
