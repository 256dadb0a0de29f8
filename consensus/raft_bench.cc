// What consensus costs per entry, from Propose to the committed entry, without disk or network: one
// member alone, and the CPU of all three members of a group; one or 64 proposals at a time.

#include <benchmark/benchmark.h>

#include <deque>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "consensus/raft.h"

namespace quorate::consensus {
namespace {

class BenchGroup {
 public:
  explicit BenchGroup(uint64_t members) : random_(1) {
    ConfState conf;
    for (uint64_t id = 1; id <= members; ++id) conf.voters.push_back(MemberId(id));
    for (const MemberId id : conf.voters) {
      Config config;
      config.self = id;
      InitialState initial;
      initial.conf_state = conf;
      rafts_.push_back(std::make_unique<Raft>(config, std::move(initial), &random_));
    }
    while (!leader().leader_ready()) {
      if (leader().role() == Role::kFollower) leader().Tick();
      Run();
    }
  }

  Raft& leader() { return *rafts_[0]; }
  uint64_t committed() const { return committed_; }

  // Until nothing moves: all disks are instant.
  void Run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& raft : rafts_) {
        while (raft->HasOutput()) {
          moved = true;
          Take(*raft);
        }
      }
      for (; !in_flight_.empty(); in_flight_.pop_front()) {
        Message& message = in_flight_.front();
        rafts_[message.to.value() - 1]->Receive(std::move(message));
      }
    }
  }

 private:
  void Take(Raft& raft) {
    Output output = raft.TakeOutput();
    if (!output.append.empty()) raft.Durable(output.append.back().index, output.append.back().term);
    for (Message& message : output.messages) in_flight_.push_back(std::move(message));
    for (Message& message : output.messages_after_durable) in_flight_.push_back(std::move(message));
    if (output.committed.empty()) return;
    raft.Applied(output.committed.back().index);
    if (&raft == rafts_[0].get()) committed_ += output.committed.size();
  }

  Random random_;
  std::vector<std::unique_ptr<Raft>> rafts_;
  std::deque<Message> in_flight_;
  uint64_t committed_ = 0;
};

void ProposeToCommit(benchmark::State& state) {
  BenchGroup group(static_cast<uint64_t>(state.range(0)));
  const auto batch = static_cast<size_t>(state.range(1));
  const Bytes payload = Bytes::FromString(std::string(256, 'x'));
  const uint64_t before = group.committed();
  uint64_t proposed = 0;
  for (auto _ : state) {
    QR_CHECK(group.leader().Propose(std::vector<Bytes>(batch, payload)).ok());
    group.Run();
    proposed += batch;
  }
  QR_CHECK(group.committed() - before == proposed);
  state.SetItemsProcessed(static_cast<int64_t>(proposed));
}
BENCHMARK(ProposeToCommit)->ArgNames({"members", "batch"})->ArgsProduct({{1, 3}, {1, 64}});

void ReadIndexRound(benchmark::State& state) {
  BenchGroup group(3);
  uint64_t context = 0;
  for (auto _ : state) {
    group.leader().ReadIndex(++context);
    group.Run();
  }
  state.SetItemsProcessed(static_cast<int64_t>(context));
}
BENCHMARK(ReadIndexRound);

}  // namespace
}  // namespace quorate::consensus
