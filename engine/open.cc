// Start: everything that the engine knows, read back from the backend.
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"
#include "engine/engine_impl.h"

namespace quorate::engine {
EngineImpl::EngineImpl(const EngineOptions& options, const kv::KvBackend* backend)
    : options_(options),
      lessor_(options.lessor),
      store_(options, backend, &lessor_),
      alarms_(&store_.window()),
      membership_({.learners_max = options.learners_max}, &store_.window()),
      auth_(&store_.window()),
      tokens_({.ttl_ns = options.simple_token_ttl_ns}) {}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Open(const EngineOptions& options,
                                                     const kv::KvBackend* backend,
                                                     absl::FunctionRef<void(uint64_t)> progress) {
  QR_CHECK(options.allocator != nullptr && options.range_slice_keys > 0);
  auto engine = std::make_unique<EngineImpl>(options, backend);
  QR_RETURN_IF_ERROR(engine->Restore(progress));
  return std::unique_ptr<Engine>(std::move(engine));
}

absl::Status EngineImpl::Restore(absl::FunctionRef<void(uint64_t)> progress) {
  QR_ASSIGN_OR_RETURN(const std::unique_ptr<kv::KvSnapshot> snapshot,
                      store_.backend().NewSnapshot());
  QR_RETURN_IF_ERROR(RestoreApplied(*snapshot));
  QR_RETURN_IF_ERROR(RestoreLeases(*snapshot));
  QR_RETURN_IF_ERROR(alarms_.Restore(*snapshot));
  QR_RETURN_IF_ERROR(membership_.Restore(*snapshot));
  QR_RETURN_IF_ERROR(auth_.Restore(*snapshot));
  return store_.Restore(progress);
}

absl::Status EngineImpl::RestoreApplied(const kv::KvSnapshot& snapshot) {
  absl::Status damage;
  Term term;
  QR_RETURN_IF_ERROR(
      snapshot.Scan(kv::Table::kMeta, {}, {}, [&](std::string_view key, std::string_view value) {
        const bool is_index = key == kConsistentIndex;
        if (!is_index && key != kTerm) return true;
        const std::optional<uint64_t> number = ParseMetaNumber(value);
        if (!number) {
          damage = absl::DataLossError(StrCat("table meta: key ", key, " is not 8 bytes",
                                              "; restore the data directory from a backup"));
          return false;
        }
        if (is_index) {
          applied_ = LogIndex(*number);
        } else {
          term = Term(*number);
        }
        return true;
      }));
  QR_RETURN_IF_ERROR(damage);
  store_.window().SetApplied(applied_, term);
  return absl::OkStatus();
}

}  // namespace quorate::engine
