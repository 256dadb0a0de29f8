// Every request that a log entry may carry, as bytes: what its check lets through is applied to an
// engine as an entry, of root or of nobody; bytes that the check refuses are applied too, since a
// log may hold what an older version let through. The engine's invariants must hold. Input: any
// number of (kind, whose, length, bytes).
#include <memory>
#include <string>
#include <vector>

#include "backends/kv/kv_backend.h"
#include "base/allocator.h"
#include "base/check.h"
#include "base/fault_file_env.h"
#include "engine/auth/auth_store.h"
#include "engine/engine.h"
#include "engine/invariants.h"
#include "google/protobuf/descriptor.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace quorate;  // NOLINT: a program of one file
using engine::Engine;
using etcdserverpb::InternalRaftRequest;
using google::protobuf::FieldDescriptor;

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

  void SignAsRoot(InternalRaftRequest* entry) const {
    entry->mutable_header()->set_username(engine::kRootUser);
    entry->mutable_header()->set_auth_revision(engine_->auth().revision());
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

// What an entry may carry: every message of InternalRaftRequest but its header.
std::vector<const FieldDescriptor*> EntryKinds() {
  std::vector<const FieldDescriptor*> kinds;
  const auto* type = InternalRaftRequest::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->message_type() != nullptr &&
        field->number() != InternalRaftRequest::kHeaderFieldNumber) {
      kinds.push_back(field);
    }
  }
  return kinds;
}

// Whether a service would have it written to the log.
bool IsLetThrough(const InternalRaftRequest& entry) {
  if (entry.has_put()) Engine::CheckPut(entry.put());
  if (entry.has_delete_range()) Engine::CheckDeleteRange(entry.delete_range());
  return !entry.has_txn() || Engine::CheckTxn(entry.txn(), 128).ok();
}

void TakeRequest(World* world, uint8_t kind, bool as_root, std::string_view bytes) {
  static const auto* const kinds = new std::vector<const FieldDescriptor*>(EntryKinds());
  const std::string text(bytes);
  const size_t which = kind % (3 + kinds->size());
  if (which == 0) return world->Apply(text, EntryType::kNormal);
  if (which == 1) return world->Apply(text, EntryType::kConfChange);
  if (which == 2) {
    etcdserverpb::RangeRequest request;
    if (request.ParseFromString(text)) world->Read(request);
    return;
  }
  InternalRaftRequest entry;
  auto* request = entry.GetReflection()->MutableMessage(&entry, (*kinds)[which - 3]);
  if (!request->ParseFromString(text) || !IsLetThrough(entry)) return;
  if (entry.has_txn()) world->Read(entry.txn());
  if (as_root) world->SignAsRoot(&entry);
  Engine::QuotaCost(entry);
  world->Apply(entry.SerializeAsString(), EntryType::kNormal);
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput input(data, size);
  World world;
  while (!input.empty()) {
    const uint8_t kind = input.Byte();
    const bool as_root = input.Byte() % 2 == 1;
    TakeRequest(&world, kind, as_root, input.Part());
  }
  return 0;
}
