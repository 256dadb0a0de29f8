#include "base/bytes.h"

#include <new>

#include "base/check.h"

namespace quorate {

// Header and content in one allocation; the content starts right behind the header.
struct Bytes::InlineBlock : Bytes::Block {
  char* content() { return reinterpret_cast<char*>(this + 1); }
  static void Destroy(Block* block) {
    auto* self = static_cast<InlineBlock*>(block);
    self->~InlineBlock();
    ::operator delete(self);
  }
};

struct Bytes::StringBlock : Bytes::Block {
  std::string content;
  static void Destroy(Block* block) { delete static_cast<StringBlock*>(block); }
};

struct Bytes::PinnedBlock : Bytes::Block {
  std::shared_ptr<const void> owner;
  static void Destroy(Block* block) { delete static_cast<PinnedBlock*>(block); }
};

Bytes Bytes::Allocate(size_t size, char** data) {
  static char nothing[1];
  Bytes bytes;
  if (size == 0) {
    *data = nothing;
    return bytes;
  }
  auto* block = new (::operator new(sizeof(InlineBlock) + size)) InlineBlock;
  block->destroy = InlineBlock::Destroy;
  bytes.block_ = block;
  bytes.view_ = {block->content(), size};
  *data = block->content();
  return bytes;
}

Bytes Bytes::Copy(std::string_view data) {
  char* content;
  Bytes bytes = Allocate(data.size(), &content);
  if (!data.empty()) std::memcpy(content, data.data(), data.size());
  return bytes;
}

Bytes Bytes::FromString(std::string data) {
  // A string this short holds its content in itself: there is no buffer to take over.
  if (data.size() < sizeof(std::string) / 2) return Copy(data);
  auto* block = new StringBlock;
  block->destroy = StringBlock::Destroy;
  block->content = std::move(data);
  Bytes bytes;
  bytes.block_ = block;
  bytes.view_ = block->content;
  return bytes;
}

Bytes Bytes::Pinned(std::string_view data, std::shared_ptr<const void> owner) {
  auto* block = new PinnedBlock;
  block->destroy = PinnedBlock::Destroy;
  block->owner = std::move(owner);
  Bytes bytes;
  bytes.block_ = block;
  bytes.view_ = data;
  return bytes;
}

Bytes Bytes::Slice(size_t offset, size_t size) const {
  QR_CHECK(offset <= view_.size() && size <= view_.size() - offset);
  Bytes slice(*this);
  slice.view_ = view_.substr(offset, size);
  return slice;
}

}  // namespace quorate
