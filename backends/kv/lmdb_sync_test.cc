// LMDB writes by itself, so its syncs are made to fail below it: this program's own calls
// stand before the system's.
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>

#include "backends/kv/kv_test_util.h"
#include "base/test_seed.h"

namespace {

std::atomic<bool> syncs_fail = false;

// LMDB takes the one or the other, by the kernel's version.
int SyncUnlessFailing(int fd, long call) {
  if (syncs_fail) {
    std::error_code error;
    const auto path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error).string();
    if (path.ends_with("/data.mdb")) {
      errno = EIO;
      return -1;
    }
  }
  return static_cast<int>(syscall(call, fd));
}

}  // namespace

extern "C" int fdatasync(int fd) { return SyncUnlessFailing(fd, SYS_fdatasync); }
extern "C" int fsync(int fd) { return SyncUnlessFailing(fd, SYS_fsync); }

namespace quorate::kv {
namespace {

TEST_CASE("lmdb: a failed sync is final, and reopened it is at a whole batch", "[lmdb][crash]") {
  Random random(TestSeed() + 70);
  BatchSource source(random);
  TestStore store("lmdb");
  std::vector<Model> states(1);
  for (int life = 0; life < 6; ++life) {
    const auto write = [&] {
      std::vector<OwnedOp> ops = source.Next(200);
      ops.back() = PutOp(Table::kMeta, "number", std::to_string(states.size()));
      states.push_back(states.back());
      for (const OwnedOp& op : ops) states.back().Apply(op);
      return WriteOps(*store, ops);
    };
    for (int i = 0; i < 5; ++i) REQUIRE_OK(write());
    REQUIRE_OK(store->Sync());
    const uint64_t synced = states.size() - 1;
    syncs_fail = true;
    absl::Status failed;
    for (int i = 0; i < 3 && failed.ok(); ++i) failed = write();  // may sync by itself
    if (failed.ok()) failed = store->Sync();
    syncs_fail = false;
    REQUIRE(!failed.ok());
    CHECK(store->Sync() == failed);
    CHECK(write() == failed);
    CHECK(store->ReclaimStep().status() == failed);
    store.Reopen();
    Model found = ReadModel(*store);
    const uint64_t number = BatchSource::NumberOf(found);
    // What the failed transaction wrote does not count: LMDB writes the page that names it last.
    REQUIRE(number == synced);
    REQUIRE(found == states[number]);
    states.resize(number + 1);
  }
}

}  // namespace
}  // namespace quorate::kv
