#include "server/revocable_backend.h"

#include <mutex>
#include <set>
#include <shared_mutex>
#include <utility>

#include "base/status_util.h"

namespace quorate::server {
namespace {

absl::Status Gone() {
  return absl::UnavailableError("the state was replaced by a snapshot of the leader's; ask again");
}

}  // namespace

struct RevocableBackend::State {
  std::shared_mutex mutex;  // shared: somebody uses `real` or a snapshot of it
  std::unique_ptr<kv::KvBackend> real;
  std::mutex snapshots_mutex;
  std::set<Snapshot*> snapshots;
};

class RevocableBackend::Snapshot final : public kv::KvSnapshot {
 public:
  Snapshot(std::shared_ptr<State> state, std::unique_ptr<kv::KvSnapshot> real)
      : state_(std::move(state)), real_(std::move(real)) {
    std::lock_guard lock(state_->snapshots_mutex);
    state_->snapshots.insert(this);
  }
  ~Snapshot() override {
    std::shared_lock lock(state_->mutex);
    {
      std::lock_guard list_lock(state_->snapshots_mutex);
      state_->snapshots.erase(this);
    }
    real_.reset();
  }
  absl::Status Scan(
      kv::Table table, std::string_view begin, std::string_view end,
      absl::FunctionRef<bool(std::string_view, std::string_view)> visitor) const override {
    std::shared_lock lock(state_->mutex);
    return real_ == nullptr ? Gone() : real_->Scan(table, begin, end, visitor);
  }
  // With state_->mutex held alone.
  void Revoke() { real_.reset(); }

 private:
  const std::shared_ptr<State> state_;
  std::unique_ptr<kv::KvSnapshot> real_;
};

RevocableBackend::RevocableBackend(std::unique_ptr<kv::KvBackend> real)
    : traits_(real->traits()), state_(std::make_shared<State>()) {
  state_->real = std::move(real);
}

RevocableBackend::~RevocableBackend() { Close(); }

void RevocableBackend::Close() {
  std::unique_lock lock(state_->mutex);
  std::lock_guard list_lock(state_->snapshots_mutex);
  for (Snapshot* snapshot : state_->snapshots) snapshot->Revoke();
  state_->snapshots.clear();
  state_->real.reset();
}

absl::Status RevocableBackend::Write(std::span<const kv::WriteOp> batch) {
  std::shared_lock lock(state_->mutex);
  return state_->real == nullptr ? Gone() : state_->real->Write(batch);
}

absl::Status RevocableBackend::Sync() {
  std::shared_lock lock(state_->mutex);
  return state_->real == nullptr ? Gone() : state_->real->Sync();
}

absl::StatusOr<kv::ReclaimProgress> RevocableBackend::ReclaimStep() {
  std::shared_lock lock(state_->mutex);
  if (state_->real == nullptr) return Gone();
  return state_->real->ReclaimStep();
}

absl::Status RevocableBackend::Read(
    kv::Table table, std::span<const std::string_view> keys,
    absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)> visitor) const {
  std::shared_lock lock(state_->mutex);
  return state_->real == nullptr ? Gone() : state_->real->Read(table, keys, visitor);
}

absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> RevocableBackend::NewSnapshot() const {
  std::shared_lock lock(state_->mutex);
  if (state_->real == nullptr) return Gone();
  QR_ASSIGN_OR_RETURN(std::unique_ptr<kv::KvSnapshot> real, state_->real->NewSnapshot());
  return std::unique_ptr<kv::KvSnapshot>(new Snapshot(state_, std::move(real)));
}

kv::KvSizes RevocableBackend::Sizes() const {
  std::shared_lock lock(state_->mutex);
  return state_->real == nullptr ? kv::KvSizes() : state_->real->Sizes();
}

}  // namespace quorate::server
