#include "base/fault_file_content.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace quorate {
namespace {

void ExtendTo(uint64_t size, std::string* content) {
  if (content->size() < size) content->resize(size, '\0');
}

void WriteInto(uint64_t offset, std::string_view data, std::string* content) {
  ExtendTo(offset + data.size(), content);
  content->replace(offset, data.size(), data);
}

}  // namespace

CrashFate DrawCrashFate(Random& random) {
  switch (random.Below(6)) {
    case 0:
      return CrashFate::kAllLost;
    case 1:
      return CrashFate::kAllKept;
    default:
      return CrashFate::kMixed;
  }
}

void FaultFileContent::Write(uint64_t offset, std::string data) {
  Do({.kind = Op::Kind::kWrite, .offset = offset, .data = std::move(data)});
}

void FaultFileContent::Truncate(uint64_t size) {
  Do({.kind = Op::Kind::kTruncate, .offset = size});
}

void FaultFileContent::Extend(uint64_t size) { Do({.kind = Op::Kind::kExtend, .offset = size}); }

void FaultFileContent::Sync(SyncResult result) {
  for (Op& op : ops_) {
    if (op.state != Op::State::kWritten) continue;
    op.state = result == SyncResult::kDone ? Op::State::kSynced : Op::State::kSyncFailed;
  }
  Settle();
}

void FaultFileContent::SyncLastWrite(SyncResult result) {
  QR_CHECK(!ops_.empty() && ops_.back().kind == Op::Kind::kWrite);
  if (result == SyncResult::kFailed) {
    ops_.back().state = Op::State::kSyncFailed;
    return;
  }
  for (Op& op : ops_) {
    if (op.kind != Op::Kind::kWrite) op.state = Op::State::kSynced;
  }
  ops_.back().state = Op::State::kSynced;
  Settle();
}

void FaultFileContent::FlipBit(uint64_t offset, int bit) {
  QR_CHECK(offset < current_.size() && bit >= 0 && bit < 8);
  const auto flip = [mask = 1 << bit](char& byte) { byte = static_cast<char>(byte ^ mask); };
  flip(current_[offset]);
  if (offset < durable_.size()) flip(durable_[offset]);
  for (Op& op : ops_) {
    const bool covered = op.kind == Op::Kind::kWrite && offset >= op.offset && offset < op.end();
    if (covered) flip(op.data[offset - op.offset]);
  }
}

void FaultFileContent::Crash(CrashFate fate, Random& random) {
  for (const Op& op : ops_) {
    if (op.state == Op::State::kSynced) {
      Apply(op, &durable_);
    } else {
      ApplyUnsynced(op, fate, random, &durable_);
    }
  }
  ops_.clear();
  current_ = durable_;
}

void FaultFileContent::Apply(const Op& op, std::string* content) {
  switch (op.kind) {
    case Op::Kind::kWrite:
      WriteInto(op.offset, op.data, content);
      break;
    case Op::Kind::kTruncate:
      content->resize(op.offset, '\0');
      break;
    case Op::Kind::kExtend:
      ExtendTo(op.offset, content);
      break;
  }
}

void FaultFileContent::ApplyTorn(const Op& op, Random& random, std::string* content) {
  uint64_t at = op.offset;
  while (at < op.end()) {
    const uint64_t sector_end = (at / kSectorBytes + 1) * kSectorBytes;
    const uint64_t end = std::min(sector_end, op.end());
    if (random.OneIn(2)) {
      WriteInto(at, std::string_view(op.data).substr(at - op.offset, end - at), content);
    }
    at = end;
  }
}

void FaultFileContent::ApplyUnsynced(const Op& op, CrashFate fate, Random& random,
                                     std::string* content) {
  if (fate == CrashFate::kAllLost) return;
  const uint64_t drawn = fate == CrashFate::kAllKept ? 0 : random.Below(3);
  if (drawn == 0) {
    Apply(op, content);
    return;
  }
  if (op.kind != Op::Kind::kWrite) return;
  if (drawn == 1) ApplyTorn(op, random, content);
  // The new length may reach the disk without the data.
  if (random.OneIn(4)) ExtendTo(op.end(), content);
}

void FaultFileContent::Do(Op op) {
  Apply(op, &current_);
  ops_.push_back(std::move(op));
}

// Moves the leading synced changes into durable_; those behind an uncertain one must wait, since
// they may overlap.
void FaultFileContent::Settle() {
  size_t settled = 0;
  while (settled < ops_.size() && ops_[settled].state == Op::State::kSynced) {
    Apply(ops_[settled++], &durable_);
  }
  ops_.erase(ops_.begin(), ops_.begin() + static_cast<ptrdiff_t>(settled));
}

}  // namespace quorate
