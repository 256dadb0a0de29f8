// kill -9 in the middle of writing, for every backend. The writer is this program itself, started
// again for the hidden case below: a forked process would lack RocksDB's threads.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "backends/kv/kv_test_util.h"
#include "base/test_seed.h"
#include "base/text.h"

namespace quorate::kv {
namespace {

constexpr size_t kOpsMax = 60;

// What the writer says on its standard output, one after each step that has succeeded.
struct Step {
  char what;  // 'w' written, 's' synced
  uint64_t number;
};

KvOptions OptionsFor(const std::string& dir) {
  KvOptions options;
  options.dir = dir;
  options.map_bytes_max = uint64_t{1} << 30;
  options.cache_bytes = 1 << 20;
  options.memtable_bytes = 128 << 10;
  return options;
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  REQUIRE(value != nullptr);
  return value;
}

TEST_CASE("the writer that is killed", "[.writer]") {
  const std::string name = Variable("QUORATE_KV_BACKEND");
  auto backend = MustOpen(name, OptionsFor(Variable("QUORATE_KV_DIR")));
  Model model = ReadModel(*backend);
  uint64_t number = BatchSource::NumberOf(model);
  Random random(std::strtoull(Variable("QUORATE_KV_SEED").c_str(), nullptr, 10));
  BatchSource source(random);
  for (uint64_t i = 0; i < number; ++i) source.Next(kOpsMax);
  const auto say = [](Step step) {
    REQUIRE(::write(STDOUT_FILENO, &step, sizeof(step)) == sizeof(step));
  };
  Random when(number + 1);
  while (true) {
    REQUIRE_OK(WriteOps(*backend, source.Next(kOpsMax)));
    say({'w', ++number});
    if (when.OneIn(8)) {
      REQUIRE_OK(backend->Sync());
      say({'s', number});
    }
    if (when.OneIn(40)) REQUIRE_OK(ReclaimAll(*backend));
  }
}

// Starts the writer, lets it say `steps` things and kills it; returns all that it said.
std::vector<Step> RunWriterUntilKilled(const std::string& name, const std::string& dir,
                                       uint64_t seed, size_t steps) {
  std::array<int, 2> pipe;
  REQUIRE(::pipe(pipe.data()) == 0);
  posix_spawn_file_actions_t actions;
  REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, pipe[0]);
  std::vector<std::string> words = {"kv_test", "[.writer]"};
  std::vector<std::string> settings = {StrCat("QUORATE_KV_BACKEND=", name),
                                       StrCat("QUORATE_KV_DIR=", dir),
                                       StrCat("QUORATE_KV_SEED=", seed)};
  for (char** variable = environ; *variable != nullptr; ++variable) settings.push_back(*variable);
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  };
  pid_t pid = 0;
  REQUIRE(posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, pointers(words).data(),
                      pointers(settings).data()) == 0);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  std::vector<Step> said;
  Step step;
  bool killed = false;
  // What was said before the kill is read to the end.
  while (::read(pipe[0], &step, sizeof(step)) == sizeof(step)) {
    said.push_back(step);
    if (said.size() >= steps && !killed) killed = ::kill(pid, SIGKILL) == 0;
  }
  ::close(pipe[0]);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  REQUIRE(killed);
  REQUIRE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
  return said;
}

TEST_CASE("a killed process leaves a whole batch, none before the last sync", "[kill]") {
  const std::string name = AnyBackend();
  TempDir folder;
  const std::string dir = folder.path() + "/kv";
  Random random(TestSeed() + 20);
  const uint64_t seed = random.Next();
  Random replayed(seed);
  BatchSource source(replayed);
  std::vector<Model> states(1);  // by batch number
  for (int life = 0; life < 6; ++life) {
    INFO(name << " life " << life << " seed " << seed);
    const std::vector<Step> said = RunWriterUntilKilled(name, dir, seed, 1 + random.Below(120));
    uint64_t synced = 0;
    for (const Step& step : said) {
      if (step.what == 's') synced = step.number;
    }
    auto backend = MustOpen(name, OptionsFor(dir));
    Model found = ReadModel(*backend);
    const uint64_t number = BatchSource::NumberOf(found);
    REQUIRE(number >= synced);
    REQUIRE(number <= said.back().number + 1);
    while (states.size() <= number) {
      states.push_back(states.back());
      for (const OwnedOp& op : source.Next(kOpsMax)) states.back().Apply(op);
    }
    REQUIRE(found == states[number]);
  }
}

}  // namespace
}  // namespace quorate::kv
