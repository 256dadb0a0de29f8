#include "base/fault_file_env.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate {
namespace {

std::string ErrorText(std::string_view operation, std::string_view path, int error) {
  return StrCat(operation, " ", path, ": ", std::strerror(error));
}

absl::Status NotThere(std::string_view operation, std::string_view path) {
  return absl::NotFoundError(ErrorText(operation, path, ENOENT));
}

absl::Status DiskFull(std::string_view operation, std::string_view path) {
  return absl::ResourceExhaustedError(ErrorText(operation, path, ENOSPC));
}

absl::Status SyncFailed(std::string_view path) {
  return absl::UnavailableError(ErrorText("sync", path, EIO));
}

// One change of a file's content that is not durable yet.
struct FileOp {
  enum class Kind { kWrite, kTruncate, kExtend } kind = Kind::kWrite;
  uint64_t offset = 0;  // the new size, for kTruncate and kExtend
  std::string data;
  enum class State { kWritten, kSynced, kSyncFailed } state = State::kWritten;

  uint64_t end() const { return offset + data.size(); }
};

void Extend(uint64_t size, std::string* content) {
  if (content->size() < size) content->resize(size, '\0');
}

void WriteInto(uint64_t offset, std::string_view data, std::string* content) {
  Extend(offset + data.size(), content);
  content->replace(offset, data.size(), data);
}

void ApplyOp(const FileOp& op, std::string* content) {
  switch (op.kind) {
    case FileOp::Kind::kWrite:
      WriteInto(op.offset, op.data, content);
      break;
    case FileOp::Kind::kTruncate:
      content->resize(op.offset, '\0');
      break;
    case FileOp::Kind::kExtend:
      Extend(op.offset, content);
      break;
  }
}

// What a crash does to all that is uncertain. Drawn once per crash: with many writes, one draw for
// each would never try the two clean ends.
enum class Fate { kMixed, kAllLost, kAllKept };

Fate DrawFate(Random& random) {
  switch (random.Below(6)) {
    case 0:
      return Fate::kAllLost;
    case 1:
      return Fate::kAllKept;
    default:
      return Fate::kMixed;
  }
}

// What a power loss leaves of a write, sector by sector.
void ApplyTorn(const FileOp& op, Random& random, std::string* content) {
  uint64_t at = op.offset;
  while (at < op.end()) {
    const uint64_t sector_end = (at / FaultFileEnv::kSectorBytes + 1) * FaultFileEnv::kSectorBytes;
    const uint64_t end = std::min(sector_end, op.end());
    if (random.OneIn(2)) {
      WriteInto(at, std::string_view(op.data).substr(at - op.offset, end - at), content);
    }
    at = end;
  }
}

void ApplyUnsynced(const FileOp& op, Fate fate, Random& random, std::string* content) {
  if (fate == Fate::kAllLost) return;
  const uint64_t drawn = fate == Fate::kAllKept ? 0 : random.Below(3);
  if (drawn == 0) {
    ApplyOp(op, content);
    return;
  }
  if (drawn == 1 && op.kind == FileOp::Kind::kWrite) ApplyTorn(op, random, content);
  // The new length may reach the disk without the data.
  if (op.kind == FileOp::Kind::kWrite && random.OneIn(4)) Extend(op.end(), content);
}

}  // namespace

struct FaultFileEnv::Node {
  bool is_folder = false;
  // Files.
  std::string current;
  std::string durable;
  std::vector<FileOp> ops;  // from `durable` to `current`
  // Folders; sorted, so that every walk has one order.
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> durable_entries;

  void Do(FileOp op) {
    ApplyOp(op, &current);
    ops.push_back(std::move(op));
    Settle();
  }

  void MarkAll(FileOp::State state) {
    for (FileOp& op : ops) {
      if (op.state == FileOp::State::kWritten) op.state = state;
    }
    Settle();
  }

  // Moves the leading synced changes into `durable`; those behind an uncertain one must wait, since
  // they may overlap.
  void Settle() {
    size_t settled = 0;
    while (settled < ops.size() && ops[settled].state == FileOp::State::kSynced) {
      ApplyOp(ops[settled++], &durable);
    }
    ops.erase(ops.begin(), ops.begin() + static_cast<ptrdiff_t>(settled));
  }

  void Crash(Fate fate, Random& random) {
    if (is_folder) {
      entries = durable_entries;
      for (const auto& [name, node] : entries) node->Crash(fate, random);
      return;
    }
    for (const FileOp& op : ops) {
      if (op.state == FileOp::State::kSynced) {
        ApplyOp(op, &durable);
      } else {
        ApplyUnsynced(op, fate, random, &durable);
      }
    }
    ops.clear();
    current = durable;
  }

  uint64_t TotalBytes() const {
    uint64_t total = current.size();
    for (const auto& [name, node] : entries) total += node->TotalBytes();
    return total;
  }
};

// One create, rename or remove: names in folders that now mean another node, or none.
struct FaultFileEnv::EntryOp {
  struct Change {
    NodePtr folder;
    std::string name;
    NodePtr node;
  };
  std::vector<Change> changes;
  const Node* durable_by = nullptr;  // the folder whose SyncDir makes it durable
  bool synced = false;

  void ApplyToCurrent() const {
    for (const Change& change : changes) Set(change, &change.folder->entries);
  }
  void ApplyToDurable() const {
    for (const Change& change : changes) Set(change, &change.folder->durable_entries);
  }

 private:
  static void Set(const Change& change, std::map<std::string, NodePtr>* entries) {
    if (change.node == nullptr) {
      entries->erase(change.name);
    } else {
      (*entries)[change.name] = change.node;
    }
  }
};

class FaultFileEnv::OpenFile final : public File {
 public:
  OpenFile(FaultFileEnv* env, NodePtr node, std::string path, WriteMode mode)
      : env_(env), node_(std::move(node)), path_(std::move(path)), mode_(mode), life_(env->life_) {}

  absl::Status WriteAt(uint64_t offset, std::span<const std::string_view> pieces) override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("write"));
    FileOp op{.kind = FileOp::Kind::kWrite, .offset = offset};
    for (const std::string_view piece : pieces) op.data.append(piece);
    if (op.data.empty()) return absl::OkStatus();
    // What is added to the file must fit, a gap before it included.
    const uint64_t size_max = node_->current.size() + env_->FreeBytes();
    const bool full = op.end() > size_max;
    if (full) op.data.resize(size_max > offset ? size_max - offset : 0);
    if (!op.data.empty()) {
      ++env_->counts_.writes;
      env_->counts_.bytes_written += op.data.size();
      const bool failed = mode_ == WriteMode::kDataSync && env_->SyncFails(path_);
      node_->Do(std::move(op));
      if (failed) {
        node_->ops.back().state = FileOp::State::kSyncFailed;
        return absl::UnavailableError(ErrorText("write", path_, EIO));
      }
      if (mode_ == WriteMode::kDataSync) MakeLastWriteDurable();
    }
    return full ? DiskFull("write", path_) : absl::OkStatus();
  }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, size_t size, char* out) const override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("read"));
    if (offset >= node_->current.size()) return size_t{0};
    return node_->current.copy(out, size, offset);
  }

  absl::Status Sync() override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("sync"));
    const bool failed = env_->SyncFails(path_);
    node_->MarkAll(failed ? FileOp::State::kSyncFailed : FileOp::State::kSynced);
    if (failed) return SyncFailed(path_);
    ++env_->counts_.syncs;
    return absl::OkStatus();
  }

  absl::Status Preallocate(uint64_t size) override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("preallocate"));
    if (size <= node_->current.size()) return absl::OkStatus();
    if (size - node_->current.size() > env_->FreeBytes()) return DiskFull("preallocate", path_);
    node_->Do({.kind = FileOp::Kind::kExtend, .offset = size});
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("truncate"));
    node_->Do({.kind = FileOp::Kind::kTruncate, .offset = size});
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() const override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("stat"));
    return uint64_t{node_->current.size()};
  }

  const std::string& path() const override { return path_; }

 private:
  absl::Status CheckAlive(std::string_view operation) const {
    if (life_ == env_->life_) return absl::OkStatus();
    return absl::FailedPreconditionError(
        StrCat(operation, " ", path_, ": opened before the last crash; open it again"));
  }

  // The write itself and the length of the file; other handles' data stay where they are.
  void MakeLastWriteDurable() {
    if (node_->ops.empty()) return;
    for (FileOp& op : node_->ops) {
      if (op.kind != FileOp::Kind::kWrite) op.state = FileOp::State::kSynced;
    }
    node_->ops.back().state = FileOp::State::kSynced;
    node_->Settle();
    ++env_->counts_.syncs;
  }

  FaultFileEnv* const env_;
  const NodePtr node_;
  const std::string path_;
  const WriteMode mode_;
  const uint64_t life_;
};

class FaultFileEnv::HeldLock final : public FileLock {
 public:
  HeldLock(FaultFileEnv* env, NodePtr node, uint64_t id)
      : env_(env), node_(std::move(node)), id_(id) {}
  ~HeldLock() override {
    std::lock_guard lock(env_->mutex_);
    const auto held = env_->locks_.find(node_.get());
    // After a crash the file may be locked again, by somebody else.
    if (held != env_->locks_.end() && held->second == id_) env_->locks_.erase(held);
  }

 private:
  FaultFileEnv* const env_;
  const NodePtr node_;
  const uint64_t id_;
};

FaultFileEnv::FaultFileEnv() : root_(std::make_shared<Node>()) { root_->is_folder = true; }
FaultFileEnv::~FaultFileEnv() = default;

void FaultFileEnv::Crash(Random& random) {
  std::lock_guard lock(mutex_);
  const Fate fate = DrawFate(random);
  for (const EntryOp& op : entry_ops_) {
    const bool kept = fate == Fate::kAllKept || (fate == Fate::kMixed && random.OneIn(2));
    if (op.synced || kept) op.ApplyToDurable();
  }
  entry_ops_.clear();
  locks_.clear();
  root_->Crash(fate, random);
  ++life_;
  ++counts_.crashes;
}

void FaultFileEnv::FailSyncs(SyncFault fault) {
  std::lock_guard lock(mutex_);
  sync_fault_ = std::move(fault);
}

void FaultFileEnv::HealSyncs() { FailSyncs({.count = 0}); }

void FaultFileEnv::SetCapacityBytes(uint64_t capacity_bytes) {
  std::lock_guard lock(mutex_);
  capacity_bytes_ = capacity_bytes;
}

absl::Status FaultFileEnv::FlipBit(const std::string& path, uint64_t offset, int bit) {
  QR_CHECK(bit >= 0 && bit < 8);
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(const NodePtr node, FindNode("damage", path));
  if (offset >= node->current.size()) {
    return absl::OutOfRangeError(StrCat("damage ", path, ": it has ", node->current.size(),
                                        " bytes, none at offset ", offset));
  }
  const char mask = static_cast<char>(1 << bit);
  node->current[offset] = static_cast<char>(node->current[offset] ^ mask);
  for (FileOp& op : node->ops) {
    if (op.kind == FileOp::Kind::kWrite && offset >= op.offset && offset < op.end()) {
      char& byte = op.data[offset - op.offset];
      byte = static_cast<char>(byte ^ mask);
    }
  }
  if (offset < node->durable.size()) {
    node->durable[offset] = static_cast<char>(node->durable[offset] ^ mask);
  }
  return absl::OkStatus();
}

FaultFileEnv::Counts FaultFileEnv::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

absl::StatusOr<std::unique_ptr<File>> FaultFileEnv::Open(const std::string& path, WriteMode mode) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(NodePtr node, FindNode("open", path));
  if (node->is_folder) return absl::FailedPreconditionError(ErrorText("open", path, EISDIR));
  return std::make_unique<OpenFile>(this, std::move(node), path, mode);
}

absl::StatusOr<std::unique_ptr<File>> FaultFileEnv::Create(const std::string& path,
                                                           WriteMode mode) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(NodePtr node, FindOrCreateFile("create", path));
  if (!node->current.empty()) node->Do({.kind = FileOp::Kind::kTruncate, .offset = 0});
  return std::make_unique<OpenFile>(this, std::move(node), path, mode);
}

absl::Status FaultFileEnv::Rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  const std::string operation = StrCat("rename ", from, " to");
  QR_ASSIGN_OR_RETURN(const Place source, FindPlace(operation, from));
  QR_ASSIGN_OR_RETURN(const Place target, FindPlace(operation, to));
  const auto found = source.folder->entries.find(source.name);
  if (found == source.folder->entries.end()) return NotThere(operation, to);
  if (target.name.empty() || StrCat(to, "/").starts_with(StrCat(from, "/"))) {
    return from == to ? absl::OkStatus()
                      : absl::InvalidArgumentError(ErrorText(operation, to, EINVAL));
  }
  const NodePtr node = found->second;
  const auto replaced = target.folder->entries.find(target.name);
  if (replaced != target.folder->entries.end()) {
    if (node->is_folder != replaced->second->is_folder || !replaced->second->entries.empty()) {
      return absl::FailedPreconditionError(
          ErrorText(operation, to, node->is_folder ? ENOTEMPTY : EISDIR));
    }
  }
  entry_ops_.push_back(
      {.changes = {{source.folder, source.name, nullptr}, {target.folder, target.name, node}},
       .durable_by = target.folder.get()});
  entry_ops_.back().ApplyToCurrent();
  return absl::OkStatus();
}

absl::Status FaultFileEnv::Remove(const std::string& path) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(const Place place, FindPlace("remove", path));
  const auto found = place.folder->entries.find(place.name);
  if (found == place.folder->entries.end()) return NotThere("remove", path);
  if (!found->second->entries.empty()) {
    return absl::FailedPreconditionError(ErrorText("remove", path, ENOTEMPTY));
  }
  entry_ops_.push_back(
      {.changes = {{place.folder, place.name, nullptr}}, .durable_by = place.folder.get()});
  entry_ops_.back().ApplyToCurrent();
  return absl::OkStatus();
}

absl::Status FaultFileEnv::MakeDirs(const std::string& path) {
  std::lock_guard lock(mutex_);
  NodePtr folder = root_;
  for (const std::string_view part : StrSplit(path, '/')) {
    if (part.empty() || part == ".") continue;
    const std::string name(part);
    const auto found = folder->entries.find(name);
    if (found == folder->entries.end()) {
      auto node = std::make_shared<Node>();
      node->is_folder = true;
      entry_ops_.push_back({.changes = {{folder, name, node}}, .synced = true});
      entry_ops_.back().ApplyToCurrent();
      SettleEntries();
      folder = std::move(node);
    } else if (!found->second->is_folder) {
      return absl::FailedPreconditionError(ErrorText("create folder", path, ENOTDIR));
    } else {
      folder = found->second;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FaultFileEnv::List(const std::string& dir) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(const NodePtr node, FindNode("list", dir));
  if (!node->is_folder) return absl::FailedPreconditionError(ErrorText("list", dir, ENOTDIR));
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

bool FaultFileEnv::Exists(const std::string& path) {
  std::lock_guard lock(mutex_);
  return FindNode("stat", path).ok();
}

absl::Status FaultFileEnv::SyncDir(const std::string& dir) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(const NodePtr node, FindNode("sync folder", dir));
  if (SyncFails(dir)) return SyncFailed(dir);
  for (EntryOp& op : entry_ops_) op.synced = op.synced || op.durable_by == node.get();
  SettleEntries();
  ++counts_.dir_syncs;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FileLock>> FaultFileEnv::Lock(const std::string& path) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(NodePtr node, FindOrCreateFile("open lock file", path));
  if (!locks_.emplace(node.get(), next_lock_).second) {
    return absl::UnavailableError(
        StrCat("lock ", path, ": held by another process; stop that one or use another path"));
  }
  return std::make_unique<HeldLock>(this, std::move(node), next_lock_++);
}

absl::StatusOr<FaultFileEnv::Place> FaultFileEnv::FindPlace(std::string_view operation,
                                                            const std::string& path) {
  Place place{.folder = root_};
  for (const std::string_view part : StrSplit(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (!place.name.empty()) {
      const auto found = place.folder->entries.find(place.name);
      if (found == place.folder->entries.end()) return NotThere(operation, path);
      if (!found->second->is_folder) {
        return absl::FailedPreconditionError(ErrorText(operation, path, ENOTDIR));
      }
      place.folder = found->second;
    }
    place.name = part;
  }
  return place;
}

absl::StatusOr<FaultFileEnv::NodePtr> FaultFileEnv::FindNode(std::string_view operation,
                                                             const std::string& path) {
  QR_ASSIGN_OR_RETURN(const Place place, FindPlace(operation, path));
  if (place.name.empty()) return root_;
  const auto found = place.folder->entries.find(place.name);
  if (found == place.folder->entries.end()) return NotThere(operation, path);
  return found->second;
}

absl::StatusOr<FaultFileEnv::NodePtr> FaultFileEnv::FindOrCreateFile(std::string_view operation,
                                                                     const std::string& path) {
  QR_ASSIGN_OR_RETURN(const Place place, FindPlace(operation, path));
  const auto found = place.folder->entries.find(place.name);
  if (place.name.empty() || (found != place.folder->entries.end() && found->second->is_folder)) {
    return absl::FailedPreconditionError(ErrorText(operation, path, EISDIR));
  }
  if (found != place.folder->entries.end()) return found->second;
  auto node = std::make_shared<Node>();
  entry_ops_.push_back(
      {.changes = {{place.folder, place.name, node}}, .durable_by = place.folder.get()});
  entry_ops_.back().ApplyToCurrent();
  return node;
}

uint64_t FaultFileEnv::FreeBytes() const {
  if (capacity_bytes_ == UINT64_MAX) return UINT64_MAX / 2;  // room to add a size without overflow
  const uint64_t used = root_->TotalBytes();
  return used >= capacity_bytes_ ? 0 : capacity_bytes_ - used;
}

bool FaultFileEnv::SyncFails(const std::string& path) {
  if (sync_fault_.count == 0 || path.find(sync_fault_.path_part) == std::string::npos) return false;
  if (sync_fault_.skip > 0) {
    --sync_fault_.skip;
    return false;
  }
  --sync_fault_.count;
  return true;
}

// Makes synced changes durable, unless an earlier uncertain one touches the same name.
void FaultFileEnv::SettleEntries() {
  std::set<std::pair<const Node*, std::string>> uncertain;
  std::vector<EntryOp> remaining;
  for (EntryOp& op : entry_ops_) {
    const bool free = std::none_of(op.changes.begin(), op.changes.end(), [&](const auto& change) {
      return uncertain.contains({change.folder.get(), change.name});
    });
    if (op.synced && free) {
      op.ApplyToDurable();
      continue;
    }
    for (const auto& change : op.changes) uncertain.emplace(change.folder.get(), change.name);
    remaining.push_back(std::move(op));
  }
  entry_ops_ = std::move(remaining);
}

}  // namespace quorate
