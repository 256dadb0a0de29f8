// What a backend uses when the caller names no allocator.
#pragma once

#include <memory>

#include "base/allocator.h"
#include "base/check.h"

namespace quorate::kv {

// The process-wide malloc row. Never destroyed.
inline Allocator* PlainAllocator() {
  static Allocator* const allocator = [] {
    auto created = CreateAllocator("malloc", AllocatorOptions());
    QR_CHECK(created.ok());
    return created->release();
  }();
  return allocator;
}

}  // namespace quorate::kv
