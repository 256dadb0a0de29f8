// FaultFileEnv: a FileEnv in memory that behaves like a disk on its worst day. For tests and the
// simulator.
//
// It keeps for every file and folder what is durable apart from what was merely written. Crash()
// leaves the durable state, plus an arbitrary part of the rest:
//  - a write that was not synced is kept, lost, or torn: each 512-byte sector for itself; a lost
//    write at the end of a file may leave zeros. Writes do not keep their order.
//  - a create, rename or remove is kept or lost unless SyncDir of its folder came after it (of the
//    new folder, for a rename between two); even when the file itself was synced.
//  - MakeDirs, and writes of files opened with kDataSync, are durable when they return.
// After a failed sync, what it should have made durable stays uncertain for good, even if a later
// sync of the file succeeds: so does Linux (Rebello et al., "Can Applications Recover from fsync
// Failures?", USENIX ATC 2020).
//
// All draws come from the Random given to Crash: equal histories and seeds give equal disks.
// Any thread. Error texts are those of PosixFileEnv.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_env.h"
#include "base/random.h"

namespace quorate {

class FaultFileEnv final : public FileEnv {
 public:
  FaultFileEnv();
  ~FaultFileEnv() override;

  // Power loss. Files and locks opened before it answer kFailedPrecondition from now on (a lock is
  // simply gone); the new life opens its own.
  void Crash(Random& random);

  // Which syncs (File::Sync, SyncDir, and writes of kDataSync files) fail with kUnavailable: those
  // of paths that contain `path_part`, after `skip` that still succeed, `count` of them.
  struct SyncFault {
    std::string path_part;
    uint64_t skip = 0;
    uint64_t count = UINT64_MAX;
  };
  void FailSyncs(SyncFault fault);  // replaces the previous one
  void HealSyncs();

  // The files together may hold this many bytes; a write beyond is cut off where the disk is full
  // and fails with kResourceExhausted. Unlimited at first.
  void SetCapacityBytes(uint64_t capacity_bytes);

  // Damage: inverts bit 0-7 of one byte that is there. kNotFound or kOutOfRange when it is not.
  absl::Status FlipBit(const std::string& path, uint64_t offset, int bit);

  // Damage: the next `count` writes of files whose paths contain `path_part` land that far from
  // their place, and nobody is told. One that would land before the file's start or behind its end
  // goes right.
  struct Misdirection {
    std::string path_part;
    int64_t shift_bytes = 0;
    uint64_t count = 1;
  };
  void MisdirectWrites(Misdirection misdirection);  // replaces the previous one

  // What happened so far, over all lives.
  struct Counts {
    uint64_t writes = 0;
    uint64_t bytes_written = 0;
    uint64_t syncs = 0;  // successful ones of files, data-sync writes included
    uint64_t dir_syncs = 0;
    uint64_t crashes = 0;
    uint64_t misdirected = 0;
  };
  Counts counts() const;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, WriteMode mode) override;
  absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path, WriteMode mode) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status MakeDirs(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& dir) override;
  bool Exists(const std::string& path) override;
  absl::Status SyncDir(const std::string& dir) override;
  absl::StatusOr<std::unique_ptr<FileLock>> Lock(const std::string& path) override;

 private:
  struct Node;
  struct EntryOp;
  class OpenFile;
  class HeldLock;
  using NodePtr = std::shared_ptr<Node>;

  // A path taken apart: the folder it lies in and its last name ("" for the root itself).
  struct Place {
    NodePtr folder;
    std::string name;
  };

  // All of these expect mutex_ to be held.
  absl::StatusOr<Place> FindPlace(std::string_view operation, const std::string& path);
  absl::StatusOr<NodePtr> FindNode(std::string_view operation, const std::string& path);
  absl::StatusOr<NodePtr> FindOrCreateFile(std::string_view operation, const std::string& path);
  uint64_t FreeBytes() const;
  bool SyncFails(const std::string& path);
  void SettleEntries();
  uint64_t LandingPlace(const std::string& path, uint64_t offset, uint64_t size, uint64_t end);

  mutable std::mutex mutex_;
  NodePtr root_;
  std::vector<EntryOp> entry_ops_;         // not yet durable, in order
  uint64_t life_ = 0;                      // crashes so far; handles of earlier lives are dead
  std::map<const Node*, uint64_t> locks_;  // locked files, looked up only
  uint64_t next_lock_ = 1;
  SyncFault sync_fault_{.count = 0};
  Misdirection misdirection_{.count = 0};
  uint64_t capacity_bytes_ = UINT64_MAX;
  Counts counts_;
};

}  // namespace quorate
