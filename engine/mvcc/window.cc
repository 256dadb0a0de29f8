#include "engine/mvcc/window.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace quorate::engine {
namespace {

// etcd's keys in bucket meta.
constexpr std::string_view kConsistentIndex = "consistent_index";
constexpr std::string_view kTerm = "term";

std::array<char, 8> BigEndian(uint64_t value) {
  std::array<char, 8> out;
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (56 - 8 * i));
  return out;
}

}  // namespace

WindowChunk::WindowChunk(Allocator* allocator, uint64_t sequence)
    : allocator_(allocator), sequence_(sequence) {}

WindowChunk::~WindowChunk() {
  for (const Block& block : blocks_) allocator_->Free(block.memory, block.size);
}

char* WindowChunk::Reserve(uint64_t bytes) {
  if (blocks_.empty() || used_in_last_ + bytes > blocks_.back().size) {
    const uint64_t size = std::max(bytes, kBlockBytes);
    blocks_.push_back({static_cast<char*>(allocator_->Allocate(size)), size});
    used_in_last_ = 0;
  }
  char* out = blocks_.back().memory + used_in_last_;
  used_in_last_ += bytes;
  bytes_ += bytes;
  return out;
}

Window::Window(const Options& options, Allocator* allocator)
    : options_(options),
      allocator_(allocator),
      open_(std::make_shared<WindowChunk>(allocator, next_sequence_++)) {}

std::string_view Window::Store(std::string_view bytes) {
  char* out = open_->Reserve(bytes.size());
  memcpy(out, bytes.data(), bytes.size());
  bytes_ += bytes.size();
  return {out, bytes.size()};
}

char* Window::AddRecord(const RecordRef& ref) {
  QR_CHECK(open_->records_.empty() || open_->records_.back().ref.revision < ref.revision);
  const std::string_view key = Store(RevisionKey(ref.revision, ref.kind).view());
  char* kv = open_->Reserve(ref.kv_bytes);
  bytes_ += ref.kv_bytes;
  const std::string_view view(kv, ref.kv_bytes);
  open_->records_.push_back({ref, view});
  open_->ops_.push_back({kv::WriteOp::Kind::kPut, kv::Table::kKey, key, view});
  return kv;
}

char* Window::Scratch(uint64_t bytes) {
  bytes_ += bytes;
  return open_->Reserve(bytes);
}

void Window::Put(kv::Table table, std::string_view key, std::string_view value) {
  const std::string_view stored_key = Store(key);
  open_->ops_.push_back({kv::WriteOp::Kind::kPut, table, stored_key, Store(value)});
}

void Window::Delete(kv::Table table, std::string_view key) {
  open_->ops_.push_back({kv::WriteOp::Kind::kDelete, table, Store(key), {}});
}

void Window::EndEntry(LogIndex index, Term term) {
  applied_ = index;
  applied_term_ = term;
  open_->applied_index_ = index;
  EndStep();
}

void Window::EndStep() {
  if (open_->bytes() >= options_.chunk_bytes) SealOpen();
}

void Window::SealOpen() {
  // The applied index is part of the batch, so data and index cannot part. A chunk of compaction
  // steps alone repeats the index of the chunk before.
  open_->applied_index_ = sealed_index_ = applied_;
  if (applied_.value() != 0) {
    const auto index = BigEndian(applied_.value());
    const auto term = BigEndian(applied_term_.value());
    Put(kv::Table::kMeta, kConsistentIndex, {index.data(), index.size()});
    Put(kv::Table::kMeta, kTerm, {term.data(), term.size()});
  }
  sealed_.push_back(std::move(open_));
  open_ = std::make_shared<WindowChunk>(allocator_, next_sequence_++);
}

const WindowChunk* Window::ChunkOf(Revision revision) const {
  const auto holds = [&](const WindowChunk& chunk) {
    return !chunk.records().empty() && chunk.records().front().ref.revision <= revision;
  };
  if (holds(*open_)) return open_.get();
  // Newest first: recent records are asked for most.
  for (auto chunk = sealed_.rbegin(); chunk != sealed_.rend(); ++chunk) {
    if (holds(**chunk)) return chunk->get();
  }
  return nullptr;
}

std::optional<std::string_view> Window::Find(Revision revision) const {
  const WindowChunk* chunk = ChunkOf(revision);
  if (chunk == nullptr) return std::nullopt;
  const auto records = chunk->records();
  const auto found = std::lower_bound(
      records.begin(), records.end(), revision,
      [](const WindowRecord& record, Revision r) { return record.ref.revision < r; });
  if (found == records.end() || found->ref.revision != revision) return std::nullopt;
  return found->kv;
}

std::shared_ptr<const void> Window::PinOf(Revision revision) const {
  const WindowChunk* chunk = ChunkOf(revision);
  if (chunk == open_.get()) return open_;
  for (const auto& sealed : sealed_) {
    if (sealed.get() == chunk) return sealed;
  }
  return nullptr;
}

std::vector<std::shared_ptr<const WindowChunk>> Window::Chunks() const {
  std::vector<std::shared_ptr<const WindowChunk>> chunks(sealed_.begin(), sealed_.end());
  chunks.push_back(open_);
  return chunks;
}

std::vector<std::shared_ptr<const FlushChunk>> Window::TakeSealed(bool with_open) {
  // An applied index without changes is worth a chunk too: it lets the log be cut.
  if (with_open && (!open_->ops().empty() || applied_ > sealed_index_)) SealOpen();
  std::vector<std::shared_ptr<const FlushChunk>> out(
      sealed_.begin() + static_cast<ptrdiff_t>(taken_), sealed_.end());
  taken_ = sealed_.size();
  return out;
}

void Window::Flushed(uint64_t sequence) {
  QR_CHECK(!sealed_.empty() && sealed_.front()->sequence() == sequence);
  QR_CHECK(taken_ > 0);
  bytes_ -= sealed_.front()->bytes();
  sealed_.pop_front();
  --taken_;
}

}  // namespace quorate::engine
