// The content of one file on a disk that forgets: what is durable, what was written since, and what
// a crash makes of both. For FaultFileEnv, whose header states the rules.
// Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"

namespace quorate {

// What a crash does to all that is uncertain. Drawn once per crash: with many writes, one draw for
// each would never try the two clean ends.
enum class CrashFate { kMixed, kAllLost, kAllKept };
CrashFate DrawCrashFate(Random& random);

class FaultFileContent {
 public:
  static constexpr size_t kSectorBytes = 512;

  // As read now.
  const std::string& current() const { return current_; }

  void Write(uint64_t offset, std::string data);
  void Truncate(uint64_t size);
  void Extend(uint64_t size);  // by zeros; never shrinks

  enum class SyncResult { kDone, kFailed };
  // Everything written so far becomes durable, or uncertain for good.
  void Sync(SyncResult result);
  // The same for the last write alone; with it, when done, the length of the file.
  void SyncLastWrite(SyncResult result);

  void FlipBit(uint64_t offset, int bit);

  void Crash(CrashFate fate, Random& random);

 private:
  // One change that is not durable yet.
  struct Op {
    enum class Kind { kWrite, kTruncate, kExtend } kind = Kind::kWrite;
    uint64_t offset = 0;  // the new size, for kTruncate and kExtend
    std::string data;
    enum class State { kWritten, kSynced, kSyncFailed } state = State::kWritten;

    uint64_t end() const { return offset + data.size(); }
  };

  static void Apply(const Op& op, std::string* content);
  static void ApplyTorn(const Op& op, Random& random, std::string* content);
  static void ApplyUnsynced(const Op& op, CrashFate fate, Random& random, std::string* content);
  void Do(Op op);
  void Settle();

  std::string current_;
  std::string durable_;
  std::vector<Op> ops_;  // lead from durable_ to current_
};

}  // namespace quorate
