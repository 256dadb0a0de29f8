// Maintenance.Hash: every table with what the window adds to it, in the order of names and keys.
#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/crc32c.h"
#include "engine/mvcc/hash.h"
#include "engine/mvcc/wire.h"

namespace quorate::engine {
namespace {

constexpr int kInternal = 13;

// etcd leaves out what differs between equal members.
bool IsSkipped(kv::Table table, std::string_view key) {
  return table == kv::Table::kMeta &&
         (key == "term" || key == "consistent_index" || key == "storageVersion");
}

class HashJob final : public ReadJob {
 public:
  HashJob(const HeaderFields& header, int64_t current_revision,
          std::unique_ptr<kv::KvSnapshot> snapshot,
          std::vector<std::shared_ptr<const WindowChunk>> chunks)
      : header_(header),
        current_revision_(current_revision),
        snapshot_(std::move(snapshot)),
        chunks_(std::move(chunks)) {
    // The last chunk is still being filled: its list is copied, the bytes stay.
    const std::span<const kv::WriteOp> ops = chunks_.back()->ops();
    open_ops_.assign(ops.begin(), ops.end());
  }

  Reply Run() override {
    CollectOverlay();
    uint32_t crc = 0;
    for (size_t i = 0; i < kv::kTableCount; ++i) {
      const auto table = static_cast<kv::Table>(i);
      crc = Crc32c(crc, TableName(table));
      const absl::Status status = HashTable(table, &crc);
      if (!status.ok()) return {{kInternal, std::string(status.message())}, {}};
    }
    Reply reply;
    wire::AppendHeader(&reply.body, header_, current_revision_);
    wire::AppendUint(&reply.body, 2, crc);
    return reply;
  }

 private:
  using Overlay = std::map<std::string_view, std::optional<std::string_view>>;

  // What the backend may not have yet, as the last word on each key.
  void CollectOverlay() {
    for (size_t i = 0; i < chunks_.size(); ++i) {
      const bool last = i + 1 == chunks_.size();
      for (const kv::WriteOp& op :
           last ? std::span<const kv::WriteOp>(open_ops_) : chunks_[i]->ops()) {
        Overlay& table = overlay_[static_cast<size_t>(op.table)];
        const bool put = op.kind == kv::WriteOp::Kind::kPut;
        table[op.key] = put ? std::optional(op.value_or_end) : std::nullopt;
      }
    }
  }

  absl::Status HashTable(kv::Table table, uint32_t* crc) const {
    const Overlay& overlay = overlay_[static_cast<size_t>(table)];
    auto next = overlay.begin();
    const auto add = [&](std::string_view key, std::string_view value) {
      if (!IsSkipped(table, key)) *crc = Crc32c(Crc32c(*crc, key), value);
    };
    const auto add_overlay_before = [&](std::optional<std::string_view> key) {
      for (; next != overlay.end() && (!key || next->first < *key); ++next) {
        if (next->second) add(next->first, *next->second);
      }
    };
    absl::Status status =
        snapshot_->Scan(table, {}, {}, [&](std::string_view key, std::string_view value) {
          add_overlay_before(key);
          if (next == overlay.end() || next->first != key) {
            add(key, value);
          } else {
            if (next->second) add(key, *next->second);
            ++next;
          }
          return true;
        });
    add_overlay_before(std::nullopt);
    return status;
  }

  const HeaderFields header_;
  const int64_t current_revision_;
  const std::unique_ptr<kv::KvSnapshot> snapshot_;
  const std::vector<std::shared_ptr<const WindowChunk>> chunks_;
  std::vector<kv::WriteOp> open_ops_;
  Overlay overlay_[kv::kTableCount];
};

}  // namespace

std::unique_ptr<ReadJob> MakeHashJob(const HeaderFields& header, int64_t current_revision,
                                     std::unique_ptr<kv::KvSnapshot> snapshot,
                                     std::vector<std::shared_ptr<const WindowChunk>> chunks) {
  return std::make_unique<HashJob>(header, current_revision, std::move(snapshot),
                                   std::move(chunks));
}

}  // namespace quorate::engine
