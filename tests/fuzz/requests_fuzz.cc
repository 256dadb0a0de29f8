// Every request of the KV, Lease and Maintenance services that changes state, as bytes: what its
// check lets through is applied to an engine as a log entry; bytes that the check refuses are
// applied too, since a log may hold what an older version let through. The engine's invariants must
// hold. Input: any number of (kind, length, bytes).
#include <memory>
#include <string>

#include "backends/kv/kv_backend.h"
#include "base/allocator.h"
#include "base/check.h"
#include "base/fault_file_env.h"
#include "engine/engine.h"
#include "engine/invariants.h"
#include "proto/etcdserverpb.pb.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file
using engine::Engine;
using etcdserverpb::InternalRaftRequest;

class World {
 public:
  World() : allocator_(*CreateAllocator("malloc", {})) {
    kv::KvOptions kv_options;
    kv_options.dir = "kv";
    kv_options.env = &env_;
    kv_options.allocator = allocator_.get();
    auto backend = kv::OpenKvBackend("memory", kv_options);
    QR_CHECK(backend.ok());
    backend_ = *std::move(backend);
    engine::EngineOptions options;
    options.allocator = allocator_.get();
    auto engine = Engine::Open(options, backend_.get(), [](uint64_t) {});
    QR_CHECK(engine.ok());
    engine_ = *std::move(engine);
    engine_->SetHeader({ClusterId(1), MemberId(2), Term(1)});
  }

  void Apply(std::string bytes, EntryType type) {
    const Entry entry{Term(1), engine_->applied_index().Next(), type,
                      Bytes::FromString(std::move(bytes))};
    engine_->Apply(entry, Engine::Answer::kWanted);
    engine_->TakeEvents();
    while (engine_->CompactionPending() && engine_->CompactSlice(64)) {
    }
    const absl::Status status = invariants_.Look(*engine_, engine::EngineInvariants::Depth::kFull);
    QR_CHECK_MSG(status.ok(), std::string(status.message()));
  }

  void Read(const etcdserverpb::RangeRequest& request) {
    if (Engine::CheckRange(request).ok()) engine_->Range(request);
    if (Engine::CheckRangeStream(request).ok()) engine_->RangeStream(request);
  }
  void Read(const etcdserverpb::TxnRequest& request) {
    if (Engine::IsReadOnlyTxn(request)) engine_->ReadTxn(request);
  }

 private:
  FaultFileEnv env_;
  const std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<kv::KvBackend> backend_;
  std::unique_ptr<Engine> engine_;
  engine::EngineInvariants invariants_;
};

void TakeRequest(World* world, uint8_t kind, std::string_view bytes) {
  const std::string text(bytes);
  InternalRaftRequest entry;
  switch (kind % 8) {
    case 0:
      return world->Apply(text, EntryType::kNormal);
    case 1:
      return world->Apply(text, EntryType::kConfChange);
    case 2: {
      etcdserverpb::RangeRequest request;
      if (request.ParseFromString(text)) world->Read(request);
      return;
    }
    case 3:
      if (!entry.mutable_put()->ParseFromString(text)) return;
      Engine::CheckPut(entry.put());
      break;
    case 4:
      if (!entry.mutable_delete_range()->ParseFromString(text)) return;
      Engine::CheckDeleteRange(entry.delete_range());
      break;
    case 5:
      if (!entry.mutable_txn()->ParseFromString(text)) return;
      if (!Engine::CheckTxn(entry.txn(), 128).ok()) return;
      world->Read(entry.txn());
      break;
    case 6:
      if (!entry.mutable_compaction()->ParseFromString(text)) return;
      break;
    default:
      if (!entry.mutable_lease_grant()->ParseFromString(text)) return;
      break;
  }
  Engine::QuotaCost(entry);
  world->Apply(entry.SerializeAsString(), EntryType::kNormal);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  World world;
  while (!input.empty()) {
    const uint8_t kind = input.Byte();
    TakeRequest(&world, kind, input.Part());
  }
  return 0;
}
