#include "server/member_state.h"

#include <utility>

#include "base/log.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/cluster/member_json.h"
#include "server/data_dir.h"

namespace quorate::server {
namespace {

std::optional<uint64_t> FromBigEndian(std::string_view bytes) {
  if (bytes.size() != sizeof(uint64_t)) return std::nullopt;
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

}  // namespace

// Writes what comes into a backend of its own beside the one in use.
class MemberState::Incoming final : public transport::SnapshotSink {
 public:
  Incoming(MemberState* state, const kv::Installation& incoming,
           std::unique_ptr<RevocableBackend> backend)
      : state_(state),
        incoming_(incoming),
        backend_(std::move(backend)),
        importer_(backend_.get()) {}
  ~Incoming() override {
    if (!finished_) state_->EndReceiving(std::nullopt);
  }
  absl::Status Append(Bytes piece) override { return importer_.Take(piece.view()); }
  absl::Status Finish() override {
    QR_RETURN_IF_ERROR(importer_.Finish());
    LogInfo("received and saved database snapshot",
            {{"snapshot-index", incoming_.index.value()}, {"bytes", importer_.bytes_taken()}});
    backend_.reset();
    finished_ = true;
    state_->EndReceiving(incoming_);
    return absl::OkStatus();
  }

 private:
  MemberState* const state_;
  const kv::Installation incoming_;
  std::unique_ptr<RevocableBackend> backend_;
  kv::StateImporter importer_;
  bool finished_ = false;
};

MemberState::MemberState(const Options& options, std::unique_ptr<RevocableBackend> backend)
    : options_(options), backend_(std::move(backend)) {}

absl::StatusOr<std::unique_ptr<engine::Engine>> MemberState::Rebuild(
    const kv::KvBackend* backend) const {
  const Clock& clock = *options_.clock;
  const int64_t start_ns = clock.MonotonicNs();
  int64_t told_ns = start_ns;
  uint64_t records_read = 0;
  QR_ASSIGN_OR_RETURN(std::unique_ptr<engine::Engine> engine,
                      engine::Engine::Open(options_.engine, backend, [&](uint64_t records) {
                        records_read = records;
                        const int64_t now_ns = clock.MonotonicNs();
                        if (now_ns - told_ns < kNanosPerSecond) return;
                        told_ns = now_ns;
                        LogInfo("rebuilding index", {{"records", records}});
                      }));
  LogInfo("restored state from backend",
          {{"records", records_read},
           {"revision", engine->current_revision()},
           {"applied-index", engine->applied_index().value()},
           {"took", FormatGoDuration(clock.MonotonicNs() - start_ns)}});
  return engine;
}

absl::Status MemberState::OpenEngine() {
  QR_ASSIGN_OR_RETURN(engine_, Rebuild(backend_.get()));
  return absl::OkStatus();
}

absl::StatusOr<MemberState::Prepared> MemberState::Prepare(const kv::KvBackend& backend) {
  Prepared prepared;
  QR_ASSIGN_OR_RETURN(prepared.snapshot, backend.NewSnapshot());
  absl::Status damage;
  QR_RETURN_IF_ERROR(prepared.snapshot->Scan(
      kv::Table::kMeta, {}, {}, [&](std::string_view key, std::string_view value) {
        const uint64_t number = FromBigEndian(value).value_or(0);
        if (key == "consistent_index") prepared.meta.index = LogIndex(number);
        if (key == "term") prepared.meta.term = Term(number);
        return true;
      }));
  if (prepared.meta.index == LogIndex(0) || prepared.meta.term == Term(0)) {
    return absl::UnavailableError("the backend holds no applied state yet");
  }
  consensus::ConfState& conf = prepared.meta.conf_state;
  QR_RETURN_IF_ERROR(prepared.snapshot->Scan(
      kv::Table::kMembers, {}, {}, [&](std::string_view key, std::string_view value) {
        const auto member = engine::ParseMemberJson(value);
        if (!member) damage = absl::DataLossError(StrCat("table members: key ", key));
        if (member) {
          (member->islearner() ? conf.learners : conf.voters).push_back(MemberId(member->id()));
        }
        return damage.ok();
      }));
  QR_RETURN_IF_ERROR(damage);
  std::sort(conf.voters.begin(), conf.voters.end());
  std::sort(conf.learners.begin(), conf.learners.end());
  return prepared;
}

std::unique_ptr<transport::SnapshotSink> MemberState::Receive(const kv::Installation& incoming) {
  {
    std::lock_guard lock(mutex_);
    if (stage_ == Stage::kReceiving || stage_ == Stage::kInstalling) return nullptr;
    stage_ = Stage::kReceiving;
    received_.reset();
  }
  const std::string& dir = options_.config->backend_dir;
  absl::Status status = kv::ClearIncoming(options_.env, dir);
  if (status.ok()) {
    absl::StatusOr<std::unique_ptr<RevocableBackend>> backend =
        OpenBackend(*options_.config, kv::IncomingFolder(dir), options_.env, options_.allocator);
    if (backend.ok()) {
      return std::make_unique<Incoming>(this, incoming, *std::move(backend));
    }
    status = backend.status();
  }
  LogWarn("cannot receive a snapshot", {{"snapshot-index", incoming.index.value()}, status});
  EndReceiving(std::nullopt);
  return nullptr;
}

void MemberState::EndReceiving(std::optional<kv::Installation> received) {
  std::lock_guard lock(mutex_);
  stage_ = received ? Stage::kReceived : Stage::kIdle;
  received_ = received;
}

std::optional<MemberState::Installed> MemberState::Install(
    const consensus::SnapshotMeta& meta, const std::function<absl::Status()>& reset_log) {
  const kv::Installation installation{meta.index, meta.term};
  {
    std::lock_guard lock(mutex_);
    if (stage_ != Stage::kReceived || received_ != installation) return std::nullopt;
    stage_ = Stage::kInstalling;
  }
  LogInfo("applying snapshot", {{"incoming-leader-snapshot-index", meta.index.value()},
                                {"incoming-leader-snapshot-term", meta.term.value()}});
  absl::StatusOr<Installed> installed = Swap(installation, reset_log);
  if (!installed.ok()) {
    options_.failed("install", installed.status());
    return std::nullopt;
  }
  EndReceiving(std::nullopt);
  LogInfo("applied snapshot", {{"incoming-leader-snapshot-index", meta.index.value()}});
  return *std::move(installed);
}

absl::StatusOr<MemberState::Installed> MemberState::Swap(
    const kv::Installation& installation, const std::function<absl::Status()>& reset_log) {
  const std::string& dir = options_.config->backend_dir;
  QR_RETURN_IF_ERROR(kv::CommitInstall(options_.env, dir, installation));
  backend_->Close();
  QR_RETURN_IF_ERROR(kv::FinishSwap(options_.env, dir).status());
  Installed installed;
  QR_ASSIGN_OR_RETURN(installed.backend,
                      OpenBackend(*options_.config, dir, options_.env, options_.allocator));
  QR_RETURN_IF_ERROR(reset_log());
  QR_RETURN_IF_ERROR(kv::EndInstall(options_.env, dir));
  QR_ASSIGN_OR_RETURN(installed.engine, Rebuild(installed.backend.get()));
  if (installed.engine->applied_index() != installation.index) {
    return absl::DataLossError(StrCat("a snapshot of index ", installation.index.value(),
                                      " holds the state of index ",
                                      installed.engine->applied_index().value()));
  }
  return installed;
}

engine::Engine* MemberState::TakeOver(Installed installed) {
  old_.push_back({std::move(backend_), std::move(engine_)});
  backend_ = std::move(installed.backend);
  engine_ = std::move(installed.engine);
  return engine_.get();
}

bool MemberState::ReleaseOld() {
  // The empty shell of a backend stays: slices that are being encoded ask it and hear that it is
  // gone.
  bool left = false;
  for (Installed& old : old_) {
    if (old.engine != nullptr && !old.engine->HasReaders()) old.engine.reset();
    left |= old.engine != nullptr;
  }
  return !left;
}

}  // namespace quorate::server
