#include "engine/mvcc/window.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace quorate::engine {
namespace {

std::array<char, 8> BigEndian(uint64_t value) {
  std::array<char, 8> out;
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (56 - 8 * i));
  return out;
}

}  // namespace

std::optional<uint64_t> ParseMetaNumber(std::string_view bytes) {
  if (bytes.size() != sizeof(uint64_t)) return std::nullopt;
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

// --- chunks

WindowChunk::WindowChunk(Allocator* allocator, uint64_t sequence, int64_t first_main)
    : allocator_(allocator),
      sequence_(sequence),
      first_main_(first_main),
      blocks_(allocator),
      records_(allocator),
      ops_(allocator) {}

WindowChunk::~WindowChunk() {
  for (const Block& block : blocks_.view()) allocator_->Free(block.memory, block.size);
}

char* WindowChunk::Reserve(uint64_t bytes, uint64_t block_bytes) {
  if (blocks_.empty() || used_in_last_ + bytes > blocks_.view().back().size) {
    const uint64_t size = std::max(bytes, block_bytes);
    blocks_.Push({static_cast<char*>(allocator_->Allocate(size)), size});
    used_in_last_ = 0;
  }
  char* out = blocks_.view().back().memory + used_in_last_;
  used_in_last_ += bytes;
  bytes_ += bytes;
  return out;
}

const WindowRecord* WindowChunk::Find(Revision revision) const {
  const std::span<const WindowRecord> records = records_.view();
  if (records.empty() || revision.main < records.front().packed.main) return nullptr;
  // Every revision between has a record or more: as many records lie in front, at least.
  const uint64_t at_least = static_cast<uint64_t>(revision.main - records.front().packed.main);
  if (at_least >= records.size()) return nullptr;
  const auto found =
      std::lower_bound(records.begin() + static_cast<ptrdiff_t>(at_least), records.end(), revision,
                       [](const WindowRecord& record, Revision r) {
                         return Revision{record.packed.main, record.packed.sub} < r;
                       });
  if (found == records.end() || found->ref().revision != revision) return nullptr;
  return &*found;
}

// --- the window

Window::Window(const Options& options, Allocator* allocator)
    : options_(options), allocator_(allocator), open_(NewChunk()) {}

std::shared_ptr<WindowChunk> Window::NewChunk() {
  return std::allocate_shared<WindowChunk>(StdAllocator<WindowChunk>(allocator_), allocator_,
                                           next_sequence_++, last_main_ + 1);
}

void Window::SetApplied(LogIndex index, Term term) {
  applied_ = sealed_index_ = index;
  applied_term_ = term;
}

char* Window::Reserve(uint64_t bytes) {
  bytes_ += bytes;
  return open_->Reserve(bytes, std::min(options_.chunk_bytes, kBlockBytesMax));
}

std::string_view Window::Store(std::string_view bytes) {
  char* out = Reserve(bytes.size());
  if (!bytes.empty()) memcpy(out, bytes.data(), bytes.size());
  return {out, bytes.size()};
}

char* Window::AddRecord(const RecordRef& ref, uint64_t tail_bytes) {
  QR_CHECK(open_->records_.empty() || open_->records().back().ref().revision < ref.revision);
  QR_CHECK(ref.revision.main > last_main_ ||
           (ref.revision.main == last_main_ && ref.revision.sub > 0));
  last_main_ = ref.revision.main;
  const RevisionKey key(ref.revision, ref.kind);
  char* memory = Reserve(key.view().size() + ref.kv_bytes + tail_bytes);
  memcpy(memory, key.view().data(), key.view().size());
  char* kv = memory + key.view().size();
  open_->records_.Push({PackedRef::Of(ref), kv});
  open_->ops_.Push(
      {kv::WriteOp::Kind::kPut, kv::Table::kKey, {memory, key.view().size()}, {kv, ref.kv_bytes}});
  return kv;
}

void Window::Put(kv::Table table, std::string_view key, std::string_view value) {
  const std::string_view stored_key = Store(key);
  open_->ops_.Push({kv::WriteOp::Kind::kPut, table, stored_key, Store(value)});
}

void Window::Delete(kv::Table table, std::string_view key) {
  open_->ops_.Push({kv::WriteOp::Kind::kDelete, table, Store(key), {}});
}

void Window::EndEntry(LogIndex index, Term term) {
  applied_ = index;
  applied_term_ = term;
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
  open_ = NewChunk();
}

std::optional<Window::Found> Window::Find(Revision revision) const {
  const std::shared_ptr<WindowChunk>* chunk = &open_;
  if (revision.main < open_->first_main()) {
    const auto after = std::upper_bound(
        sealed_.begin(), sealed_.end(), revision.main,
        [](int64_t main, const auto& sealed) { return main < sealed->first_main(); });
    if (after == sealed_.begin()) return std::nullopt;
    chunk = &*(after - 1);
  }
  const WindowRecord* record = (*chunk)->Find(revision);
  if (record == nullptr) return std::nullopt;
  return Found{record->kv(), chunk};
}

std::vector<std::shared_ptr<const WindowChunk>> Window::Chunks() const {
  std::vector<std::shared_ptr<const WindowChunk>> chunks(sealed_.begin(), sealed_.end());
  chunks.push_back(open_);
  return chunks;
}

std::vector<std::shared_ptr<const FlushChunk>> Window::TakeSealed(Engine::Seal seal) {
  // An applied index without changes is worth a chunk too: it lets the log be cut.
  const bool worth_it = !open_->ops_.empty() || applied_ > sealed_index_;
  if (seal == Engine::Seal::kNow && worth_it) SealOpen();
  std::vector<std::shared_ptr<const FlushChunk>> out(
      sealed_.begin() + static_cast<ptrdiff_t>(taken_), sealed_.end());
  taken_ = sealed_.size();
  return out;
}

void Window::Flushed(uint64_t sequence) {
  QR_CHECK(taken_ > 0 && sealed_.front()->sequence() == sequence);
  bytes_ -= sealed_.front()->bytes();
  sealed_.pop_front();
  --taken_;
}

void Window::Verify() const {
  QR_CHECK(taken_ <= sealed_.size());
  uint64_t bytes = 0, sequence = 0;
  Revision last;
  LogIndex applied;
  for (const auto& chunk : Chunks()) {
    bytes += chunk->bytes();
    QR_CHECK(sequence == 0 || chunk->sequence() == sequence + 1);
    sequence = chunk->sequence();
    for (const WindowRecord& record : chunk->records()) {
      const Revision revision = record.ref().revision;
      QR_CHECK(revision.main >= chunk->first_main());
      // No gap: a record lookup counts on it.
      const bool follows = (revision.main == last.main && revision.sub == last.sub + 1) ||
                           (revision.main == last.main + 1 && revision.sub == 0);
      QR_CHECK(last.main == 0 || follows);
      last = revision;
    }
    if (chunk.get() == open_.get()) break;
    QR_CHECK(chunk->applied_index() >= applied && chunk->applied_index() <= applied_);
    applied = chunk->applied_index();
  }
  QR_CHECK(bytes == bytes_ && sequence + 1 == next_sequence_);
  QR_CHECK(last.main == 0 || last.main == last_main_);
}

}  // namespace quorate::engine
