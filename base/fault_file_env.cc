#include "base/fault_file_env.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "base/fault_file_content.h"
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

using SyncResult = FaultFileContent::SyncResult;

}  // namespace

struct FaultFileEnv::Node {
  bool is_folder = false;
  FaultFileContent content;  // files
  // Folders; sorted, so that every walk has one order.
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> durable_entries;

  void Crash(CrashFate fate, Random& random) {
    if (is_folder) {
      entries = durable_entries;
      for (const auto& [name, node] : entries) node->Crash(fate, random);
    } else {
      content.Crash(fate, random);
    }
  }

  uint64_t TotalBytes() const {
    uint64_t total = size();
    for (const auto& [name, node] : entries) total += node->TotalBytes();
    return total;
  }

  uint64_t size() const { return content.current().size(); }
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

  bool Touches(const std::set<const Node*>& nodes) const {
    return std::any_of(changes.begin(), changes.end(),
                       [&](const Change& change) { return nodes.contains(change.node.get()); });
  }
  void AddNodes(std::set<const Node*>* nodes) const {
    for (const Change& change : changes) {
      if (change.node != nullptr) nodes->insert(change.node.get());
    }
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
    std::string data;
    for (const std::string_view piece : pieces) data.append(piece);
    if (data.empty()) return absl::OkStatus();
    // What is added to the file must fit, a gap before it included.
    const uint64_t end_max = node_->size() + env_->FreeBytes();
    const bool full = offset + data.size() > end_max;
    if (full) data.resize(end_max > offset ? end_max - offset : 0);
    if (!data.empty()) {
      ++env_->counts_.writes;
      env_->counts_.bytes_written += data.size();
      const uint64_t place = env_->LandingPlace(path_, offset, data.size(), node_->size());
      node_->content.Write(place, std::move(data));
      if (mode_ == WriteMode::kDataSync) QR_RETURN_IF_ERROR(SyncLastWrite());
    }
    return full ? DiskFull("write", path_) : absl::OkStatus();
  }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, size_t size, char* out) const override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("read"));
    if (offset >= node_->size()) return size_t{0};
    return node_->content.current().copy(out, size, offset);
  }

  absl::Status Sync() override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("sync"));
    const bool failed = env_->SyncFails(path_);
    node_->content.Sync(failed ? SyncResult::kFailed : SyncResult::kDone);
    if (failed) return SyncFailed(path_);
    ++env_->counts_.syncs;
    return absl::OkStatus();
  }

  absl::Status Preallocate(uint64_t size) override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("preallocate"));
    if (size <= node_->size()) return absl::OkStatus();
    if (size - node_->size() > env_->FreeBytes()) return DiskFull("preallocate", path_);
    node_->content.Extend(size);
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t size) override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("truncate"));
    node_->content.Truncate(size);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() const override {
    std::lock_guard lock(env_->mutex_);
    QR_RETURN_IF_ERROR(CheckAlive("stat"));
    return node_->size();
  }

  const std::string& path() const override { return path_; }

 private:
  absl::Status CheckAlive(std::string_view operation) const {
    if (life_ == env_->life_) return absl::OkStatus();
    return absl::FailedPreconditionError(
        StrCat(operation, " ", path_, ": opened before the last crash; open it again"));
  }

  absl::Status SyncLastWrite() {
    const bool failed = env_->SyncFails(path_);
    node_->content.SyncLastWrite(failed ? SyncResult::kFailed : SyncResult::kDone);
    if (failed) return absl::UnavailableError(ErrorText("write", path_, EIO));
    ++env_->counts_.syncs;
    return absl::OkStatus();
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
  const CrashFate fate = DrawCrashFate(random);
  std::set<const Node*> stays;  // nodes whose move was lost: they cannot be moved on from there
  for (const EntryOp& op : entry_ops_) {
    const bool kept = fate == CrashFate::kAllKept || (fate == CrashFate::kMixed && random.OneIn(2));
    if (op.synced || (kept && !op.Touches(stays))) {
      op.ApplyToDurable();
    } else {
      op.AddNodes(&stays);
    }
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

void FaultFileEnv::MisdirectWrites(Misdirection misdirection) {
  std::lock_guard lock(mutex_);
  misdirection_ = std::move(misdirection);
}

void FaultFileEnv::SetCapacityBytes(uint64_t capacity_bytes) {
  std::lock_guard lock(mutex_);
  capacity_bytes_ = capacity_bytes;
}

absl::Status FaultFileEnv::FlipBit(const std::string& path, uint64_t offset, int bit) {
  std::lock_guard lock(mutex_);
  QR_ASSIGN_OR_RETURN(const NodePtr node, FindNode("damage", path));
  if (offset >= node->size()) {
    return absl::OutOfRangeError(
        StrCat("damage ", path, ": it has ", node->size(), " bytes, none at offset ", offset));
  }
  node->content.FlipBit(offset, bit);
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
  if (node->size() != 0) node->content.Truncate(0);
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
  // A move is durable with all that brought the node to where it was moved from.
  std::set<const Node*> moved;
  for (auto op = entry_ops_.rbegin(); op != entry_ops_.rend(); ++op) {
    op->synced = op->synced || op->durable_by == node.get() || op->Touches(moved);
    if (op->synced) op->AddNodes(&moved);
  }
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

uint64_t FaultFileEnv::LandingPlace(const std::string& path, uint64_t offset, uint64_t size,
                                    uint64_t end) {
  if (misdirection_.count == 0 || path.find(misdirection_.path_part) == std::string::npos) {
    return offset;
  }
  const uint64_t place = offset + static_cast<uint64_t>(misdirection_.shift_bytes);
  if (misdirection_.shift_bytes < 0 ? place > offset : place + size > end) return offset;
  --misdirection_.count;
  ++counts_.misdirected;
  return place;
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
