// RevocableBackend: a backend that can be taken away while others still hold it or snapshots of it.
// A received snapshot replaces a member's whole state; its old files must then be closed, though a
// slow client may still be reading a large answer from them.
// Threads as KvBackend; Close by any, once.
#pragma once

#include <memory>

#include "backends/kv/kv_backend.h"

namespace quorate::server {

class RevocableBackend final : public kv::KvBackend {
 public:
  explicit RevocableBackend(std::unique_ptr<kv::KvBackend> real);
  ~RevocableBackend() override;

  // Waits for reads under way, then closes the real backend. Whatever is asked of it or its
  // snapshots afterwards is kUnavailable; Sizes are 0.
  void Close();

  const kv::KvTraits& traits() const override { return traits_; }
  absl::Status Write(std::span<const kv::WriteOp> batch) override;
  absl::Status Sync() override;
  absl::StatusOr<kv::ReclaimProgress> ReclaimStep() override;
  absl::Status Read(kv::Table table, std::span<const std::string_view> keys,
                    absl::FunctionRef<void(size_t index, std::optional<std::string_view> value)>
                        visitor) const override;
  absl::StatusOr<std::unique_ptr<kv::KvSnapshot>> NewSnapshot() const override;
  kv::KvSizes Sizes() const override;

 private:
  struct State;
  class Snapshot;

  const kv::KvTraits traits_;
  const std::shared_ptr<State> state_;
};

}  // namespace quorate::server
