// Bytes: an immutable, reference-counted run of bytes, or a slice of one. A request that came off
// the wire is one Bytes all the way to the log, the peers and the window: no copy in between.
// Copying a Bytes costs one atomic increment. Thread-safe like a const std::shared_ptr.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace quorate {

class Bytes {
 public:
  Bytes() = default;
  Bytes(const Bytes& other) noexcept : block_(other.block_), view_(other.view_) { Ref(); }
  Bytes(Bytes&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)), view_(std::exchange(other.view_, {})) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    std::swap(view_, other.view_);
    return *this;
  }
  ~Bytes() { Unref(); }

  // One allocation, one copy.
  static Bytes Copy(std::string_view data);
  // Takes over the string's buffer; no copy of its content.
  static Bytes FromString(std::string data);
  // Room for `size` bytes, to be filled through `*data` before the Bytes is shared.
  static Bytes Allocate(size_t size, char** data);
  // Refers to `data`, kept alive by `owner`.
  static Bytes Pinned(std::string_view data, std::shared_ptr<const void> owner);
  // Refers to memory that outlives the program (literals).
  static Bytes Static(std::string_view data) {
    Bytes bytes;
    bytes.view_ = data;
    return bytes;
  }

  // A part of this, sharing its memory. offset + size must lie inside.
  Bytes Slice(size_t offset, size_t size) const;

  std::string_view view() const { return view_; }
  const char* data() const { return view_.data(); }
  size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }

 private:
  struct Block {
    std::atomic<int> refs{1};
    void (*destroy)(Block*) = nullptr;
  };
  struct InlineBlock;
  struct StringBlock;
  struct PinnedBlock;

  void Ref() const noexcept {
    if (block_ != nullptr) block_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  void Unref() noexcept {
    if (block_ != nullptr && block_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      block_->destroy(block_);
    }
  }

  Block* block_ = nullptr;
  std::string_view view_;
};

}  // namespace quorate
