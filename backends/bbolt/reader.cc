#include "backends/bbolt/reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "base/status_util.h"
#include "base/text.h"

namespace quorate::bbolt {
namespace {

constexpr int kDepthMax = 40;  // of a tree: with two children a page that is beyond any disk
constexpr size_t kWindowBytes = 256 << 10;

}  // namespace

absl::Status Reader::Damaged(uint64_t page, uint64_t offset, std::string_view what) const {
  return absl::DataLossError(
      StrCat(file_->path(), ": page ", page, " at offset ", offset, ": ", what));
}

absl::Status Reader::Damaged(const Page& page, std::string_view what) const {
  return Damaged(page.header.id, page.offset, what);
}

absl::StatusOr<std::unique_ptr<Reader>> Reader::Open(std::unique_ptr<File> file, uint64_t bytes) {
  std::unique_ptr<Reader> reader(new Reader(std::move(file), bytes));
  QR_RETURN_IF_ERROR(reader->ReadMetas());
  QR_RETURN_IF_ERROR(reader->ReadBuckets());
  return reader;
}

absl::Status Reader::ReadBytes(uint64_t offset, size_t size, char* out) const {
  while (size > 0) {
    if (offset < window_offset_ || offset >= window_offset_ + window_.size()) {
      window_offset_ = offset / kPageBytesMin * kPageBytesMin;
      const uint64_t left = file_bytes_ > window_offset_ ? file_bytes_ - window_offset_ : 0;
      window_.resize(std::min<uint64_t>(kWindowBytes, left));
      absl::StatusOr<size_t> got = file_->ReadAt(window_offset_, window_.size(), window_.data());
      window_.resize(got.value_or(0));
      if (!got.ok()) return got.status();
      if (offset >= window_offset_ + window_.size()) {
        return absl::DataLossError(StrCat(file_->path(), ": ends at offset ",
                                          window_offset_ + window_.size(),
                                          ", before a page that it has to hold"));
      }
    }
    const size_t at = offset - window_offset_;
    const size_t count = std::min(size, window_.size() - at);
    memcpy(out, window_.data() + at, count);
    out += count;
    offset += count;
    size -= count;
  }
  return absl::OkStatus();
}

// The valid meta with the newer transaction counts. The second lies at an offset that only the
// first one tells for sure; if that is damaged all page sizes are tried.
absl::Status Reader::ReadMetas() {
  std::string page(kHeaderBytes + kMetaBytes, '\0');
  if (file_bytes_ < page.size()) {
    return absl::FailedPreconditionError(
        StrCat(file_->path(), ": is no bbolt database: of ", file_bytes_, " bytes only"));
  }
  bool found = false;
  const auto try_at = [&](uint64_t offset) -> std::optional<std::string_view> {
    if (offset + page.size() > file_bytes_) return "the file ends before it";
    if (!ReadBytes(offset, page.size(), page.data()).ok()) return "cannot be read";
    const PageHeader header = ParsePageHeader(page);
    Meta meta;
    const auto wrong = ParseMeta(std::string_view(page).substr(kHeaderBytes), &meta);
    if (wrong) return wrong;
    if (header.flags != kMetaPage) return "is not marked as a meta page";
    if (!found || meta.transaction > meta_.transaction) meta_ = meta;
    found = true;
    return std::nullopt;
  };
  const std::optional<std::string_view> first = try_at(0);
  if (found) {
    try_at(meta_.page_bytes);
  } else {
    for (uint64_t bytes = kPageBytesMin; !found && bytes <= kPageBytesMax; bytes *= 2) {
      try_at(bytes);
    }
  }
  if (!found) {
    return absl::FailedPreconditionError(
        StrCat(file_->path(),
               ": is no bbolt database, or both its meta pages are damaged: page 0 at offset 0: ",
               *first));
  }
  if (meta_.pages < 3 || meta_.pages > file_bytes_ / meta_.page_bytes) {
    return absl::DataLossError(StrCat(file_->path(), ": holds ", file_bytes_,
                                      " bytes of a database of ", meta_.pages, " pages of ",
                                      meta_.page_bytes, ": it was cut short"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Reader::Page> Reader::ReadPage(uint64_t id, std::string* memory) const {
  const uint64_t offset = id * meta_.page_bytes;
  if (id < 2 || id >= meta_.pages) {
    return Damaged(id, offset, StrCat("is named, but the pages are 2 to ", meta_.pages - 1));
  }
  memory->resize(kHeaderBytes);
  QR_RETURN_IF_ERROR(ReadBytes(offset, kHeaderBytes, memory->data()));
  Page page{ParsePageHeader(*memory), {}, offset};
  if (page.header.id != id) {
    return Damaged(id, offset, StrCat("says that it is page ", page.header.id));
  }
  if (page.header.overflow >= meta_.pages - id) {
    return Damaged(
        id, offset,
        StrCat("would end behind the last page (", page.header.overflow, " pages of overflow)"));
  }
  memory->resize((uint64_t{page.header.overflow} + 1) * meta_.page_bytes);
  QR_RETURN_IF_ERROR(ReadBytes(offset, memory->size(), memory->data()));
  page.bytes = *memory;
  return page;
}

Reader::Element Reader::ElementOf(const Page& page, size_t i) const {
  const char* const at = page.bytes.data() + kHeaderBytes + i * kElementBytes;
  if (page.header.flags == kBranchPage) {
    return {0, {at + LoadU32(at), LoadU32(at + 4)}, {}, LoadU64(at + 8)};
  }
  const char* const key = at + LoadU32(at + 4);
  const uint32_t key_bytes = LoadU32(at + 8);
  return {LoadU32(at), {key, key_bytes}, {key + key_bytes, LoadU32(at + 12)}, 0};
}

// After this ElementOf is safe.
absl::Status Reader::CheckElements(const Page& page, const Bounds& bounds) const {
  const bool branch = page.header.flags == kBranchPage;
  if (!branch && page.header.flags != kLeafPage) {
    return Damaged(page, StrCat("is neither branch nor leaf (flags ", page.header.flags, ")"));
  }
  if (bounds.depth > kDepthMax) return Damaged(page, "lies too deep in its tree");
  const uint64_t elements_end = kHeaderBytes + uint64_t{page.header.count} * kElementBytes;
  if (elements_end > page.bytes.size()) {
    return Damaged(page, StrCat("has no room for ", page.header.count, " elements"));
  }
  if (page.header.count == 0 && (branch || bounds.depth > 0)) return Damaged(page, "is empty");
  std::string_view last;
  for (size_t i = 0; i < page.header.count; ++i) {
    const uint64_t begin = kHeaderBytes + i * kElementBytes;
    const char* const at = page.bytes.data() + begin;
    const uint64_t position = LoadU32(branch ? at : at + 4);
    const uint64_t key_bytes = LoadU32(branch ? at + 4 : at + 8);
    const uint64_t value_bytes = branch ? 0 : LoadU32(at + 12);
    const auto wrong = [&](std::string_view what) {
      return Damaged(page, StrCat("element ", i, " ", what));
    };
    if (begin + position < elements_end ||
        begin + position + key_bytes + value_bytes > page.bytes.size()) {
      return wrong("does not lie within the page");
    }
    const Element element = ElementOf(page, i);
    if (element.key.empty() || key_bytes > kKeyBytesMax) return wrong("has a key of no valid size");
    if (i > 0 && element.key <= last) return wrong("is not in the order of keys");
    // The first key of a branch may be older, and smaller, than what its first child begins with.
    if (element.key < bounds.low || (!bounds.high.empty() && element.key >= bounds.high)) {
      return wrong("has a key of another place in the tree");
    }
    if (!branch && element.flags > kBucketElement) return wrong("has unknown flags");
    last = element.key;
  }
  return absl::OkStatus();
}

absl::Status Reader::WalkPage(uint64_t id, const Bounds& bounds, Walk* walk) const {
  std::string memory;
  QR_ASSIGN_OR_RETURN(const Page page, ReadPage(id, &memory));
  return WalkElements(page, bounds, walk);
}

absl::Status Reader::WalkElements(const Page& page, const Bounds& bounds, Walk* walk) const {
  QR_RETURN_IF_ERROR(walk->page(page));
  QR_RETURN_IF_ERROR(CheckElements(page, bounds));
  const size_t count = page.header.count;
  if (page.header.flags == kLeafPage) {
    for (size_t i = 0; i < count && !walk->stopped; ++i) {
      const Element element = ElementOf(page, i);
      if (element.key < walk->begin) continue;
      if (!walk->end.empty() && element.key >= walk->end) walk->stopped = true;
      if (!walk->stopped) walk->stopped = !walk->leaf(element);
    }
    return absl::OkStatus();
  }
  for (size_t i = 0; i < count && !walk->stopped; ++i) {
    const Element element = ElementOf(page, i);
    const std::string_view next = i + 1 < count ? ElementOf(page, i + 1).key : bounds.high;
    if (!next.empty() && next <= walk->begin) continue;
    if (!walk->end.empty() && element.key >= walk->end) break;
    QR_RETURN_IF_ERROR(WalkPage(element.child, {element.key, next, bounds.depth + 1}, walk));
  }
  return absl::OkStatus();
}

absl::StatusOr<Reader::Page> Reader::InlinePage(const Bucket& bucket) const {
  // Its offset is that of a page in the list of buckets, which had been in order.
  const std::string_view bytes = bucket.inline_page;
  if (bytes.size() < kHeaderBytes) {
    return Damaged(meta_.root, meta_.root * meta_.page_bytes,
                   StrCat("bucket ", bucket.name, " ends within its inline page"));
  }
  return Page{ParsePageHeader(bytes), bytes, meta_.root * meta_.page_bytes, /*is_inline=*/true};
}

absl::Status Reader::WalkBucket(const Bucket& bucket, Walk* walk) const {
  if (bucket.root != 0) return WalkPage(bucket.root, {}, walk);
  QR_ASSIGN_OR_RETURN(const Page page, InlinePage(bucket));
  return WalkElements(page, {}, walk);
}

absl::Status Reader::ReadBuckets() {
  absl::Status damage;
  const auto take = [&](const Element& element) {
    if (element.flags != kBucketElement) return true;  // a pair outside of all buckets
    if (element.value.size() < kBucketBytes) {
      damage = absl::DataLossError(
          StrCat(file_->path(), ": bucket ", element.key, " in the list of buckets (page ",
                 meta_.root, " at offset ", meta_.root * meta_.page_bytes, ") has no root"));
      return false;
    }
    buckets_.push_back({std::string(element.key), LoadU64(element.value.data()),
                        std::string(element.value.substr(kBucketBytes))});
    return true;
  };
  Walk walk{{}, {}, take, [](const Page&) { return absl::OkStatus(); }};
  QR_RETURN_IF_ERROR(WalkPage(meta_.root, {}, &walk));
  return damage;
}

std::vector<std::string> Reader::buckets() const {
  std::vector<std::string> names;
  for (const Bucket& bucket : buckets_) names.push_back(bucket.name);
  return names;
}

const Reader::Bucket* Reader::Find(std::string_view name) const {
  for (const Bucket& bucket : buckets_) {
    if (bucket.name == name) return &bucket;
  }
  return nullptr;
}

bool Reader::HasBucket(std::string_view name) const { return Find(name) != nullptr; }

absl::Status Reader::Scan(std::string_view name, std::string_view begin, std::string_view end,
                          Visitor visitor) const {
  const Bucket* const bucket = Find(name);
  if (bucket == nullptr) return absl::OkStatus();
  bool nested = false;
  const auto take = [&](const Element& element) {
    nested = element.flags != 0;
    return !nested && visitor(element.key, element.value);
  };
  Walk walk{begin, end, take, [](const Page&) { return absl::OkStatus(); }};
  QR_RETURN_IF_ERROR(WalkBucket(*bucket, &walk));
  if (!nested) return absl::OkStatus();
  return absl::DataLossError(
      StrCat(file_->path(), ": bucket ", name, " holds a bucket, which etcd's never do"));
}

absl::Status Reader::ReadFreelist(std::vector<uint64_t>* free, Page* page,
                                  std::string* memory) const {
  QR_ASSIGN_OR_RETURN(*page, ReadPage(meta_.freelist, memory));
  if (page->header.flags != kFreePage) return Damaged(*page, "is not the list of free pages");
  uint64_t count = page->header.count;
  size_t begin = kHeaderBytes;
  if (count == kFreelistCountElsewhere) {
    count = LoadU64(page->bytes.data() + begin);
    begin += sizeof(uint64_t);
  }
  if (count > (page->bytes.size() - begin) / sizeof(uint64_t)) {
    return Damaged(*page, StrCat("has no room for a list of ", count, " free pages"));
  }
  for (uint64_t i = 0; i < count; ++i) {
    free->push_back(LoadU64(page->bytes.data() + begin + i * sizeof(uint64_t)));
  }
  return absl::OkStatus();
}

std::vector<std::string> Reader::Check(size_t problems_max) const {
  std::vector<std::string> problems;
  const auto tell = [&](const absl::Status& status) {
    if (!status.ok() && problems.size() < problems_max) {
      problems.emplace_back(ToStd(status.message()));
    }
  };
  enum : char { kUnseen, kUsed, kFree };
  std::string seen(meta_.pages, kUnseen);
  const auto claim = [&](uint64_t first, uint64_t count, char as) -> absl::Status {
    for (uint64_t id = first; id < first + count; ++id) {
      if (id < 2 || id >= meta_.pages)
        return Damaged(id, id * meta_.page_bytes, "is beyond the end");
      if (std::exchange(seen[id], as) != kUnseen) {
        return Damaged(id, id * meta_.page_bytes, "has two uses");
      }
    }
    return absl::OkStatus();
  };
  const auto claim_page = [&](const Page& page) {
    return page.is_inline ? absl::OkStatus()
                          : claim(page.header.id, uint64_t{page.header.overflow} + 1, kUsed);
  };
  const auto ignore = [](const Element&) { return true; };
  // One bad page ends the walk of its tree, and only of that.
  Walk root{{}, {}, ignore, claim_page};
  tell(WalkPage(meta_.root, {}, &root));
  for (const Bucket& bucket : buckets_) {
    Walk walk{{}, {}, ignore, claim_page};
    tell(WalkBucket(bucket, &walk));
  }
  if (meta_.freelist == kNoFreelist) return problems;
  std::string memory;
  Page page;
  std::vector<uint64_t> free;
  tell(ReadFreelist(&free, &page, &memory));
  if (!page.bytes.empty()) tell(claim_page(page));
  for (const uint64_t id : free) tell(claim(id, 1, kFree));
  if (!problems.empty()) return problems;  // what was not reached says nothing then
  for (uint64_t id = 2; id < meta_.pages; ++id) {
    if (seen[id] == kUnseen) tell(Damaged(id, id * meta_.page_bytes, "is in no tree and not free"));
  }
  return problems;
}

}  // namespace quorate::bbolt
