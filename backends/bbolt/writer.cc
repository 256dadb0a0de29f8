#include "backends/bbolt/writer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"

namespace quorate::bbolt {
namespace {

constexpr uint64_t kFreelistId = 2;
constexpr uint64_t kFirstPage = 3;
constexpr uint64_t kTransaction = 2;  // the other meta is one behind
constexpr size_t kOutputBytes = 256 << 10;
constexpr size_t kInlineBytesMax = kPageBytes / 4;  // as bbolt
// bbolt takes children together when one becomes small, and cannot where there is only one.
constexpr size_t kChildrenMin = 2;

std::string BucketValue(uint64_t root, std::string_view inline_page) {
  std::string value;
  AppendU64(&value, root);
  AppendU64(&value, 0);  // sequence
  value += inline_page;
  return value;
}

void SetHeader(std::string* page, const PageHeader& header) {
  std::string bytes;
  AppendPageHeader(&bytes, header);
  page->replace(0, kHeaderBytes, bytes);
}

}  // namespace

Writer::Writer(File* file)
    : file_(file), next_page_(kFirstPage), written_(kFirstPage * kPageBytes) {}

void Writer::BeginBucket(std::string_view name) {
  QR_CHECK(!in_bucket_ && !name.empty() && (buckets_.empty() || buckets_.back().name < name));
  in_bucket_ = true;
  bucket_ = name;
}

absl::Status Writer::Add(std::string_view key, std::string_view value) {
  QR_CHECK(in_bucket_);
  return AddElement(key, value, /*flags=*/0);
}

absl::Status Writer::EndBucket() {
  QR_CHECK(in_bucket_);
  in_bucket_ = false;
  if (levels_.empty() && kHeaderBytes + elements_.size() + data_.size() <= kInlineBytesMax) {
    size_t count = 0;
    std::string page = TakeLeaf(&count);
    SetHeader(&page, {.flags = kLeafPage, .count = static_cast<uint16_t>(count)});
    buckets_.push_back({bucket_, BucketValue(0, page)});
    BeginTree();
    return absl::OkStatus();
  }
  uint64_t root = 0;
  QR_RETURN_IF_ERROR(FinishTree(&root));
  buckets_.push_back({bucket_, BucketValue(root, {})});
  return absl::OkStatus();
}

absl::Status Writer::Finish() {
  QR_CHECK(!in_bucket_);
  for (const Bucket& bucket : buckets_) {
    QR_RETURN_IF_ERROR(AddElement(bucket.name, bucket.value, kBucketElement));
  }
  Meta meta{.page_bytes = kPageBytes, .freelist = kFreelistId, .transaction = kTransaction};
  QR_RETURN_IF_ERROR(FinishTree(&meta.root));
  QR_RETURN_IF_ERROR(FlushOutput());
  meta.pages = next_page_;
  std::string head;
  for (uint64_t id = 0; id < 2; ++id) {
    AppendPageHeader(&head, {.id = id, .flags = kMetaPage});
    AppendMeta(&head, meta);
    head.resize((id + 1) * kPageBytes);
    --meta.transaction;
  }
  AppendPageHeader(&head, {.id = kFreelistId, .flags = kFreePage});
  head.resize(kFirstPage * kPageBytes);
  const std::string_view pieces[] = {head};
  return file_->WriteAt(0, pieces);
}

absl::Status Writer::AddElement(std::string_view key, std::string_view value, uint32_t flags) {
  QR_CHECK(!key.empty() && key.size() <= kKeyBytesMax);
  QR_CHECK(first_key_.empty() || last_key_ < key);
  const uint64_t bytes =
      kHeaderBytes + elements_.size() + data_.size() + kElementBytes + key.size() + value.size();
  if (bytes > kPageBytes && !elements_.empty()) QR_RETURN_IF_ERROR(FlushLeaf());
  if (elements_.empty()) first_key_ = key;
  AppendU32(&elements_, flags);
  AppendU32(&elements_, static_cast<uint32_t>(data_.size()));
  AppendU32(&elements_, static_cast<uint32_t>(key.size()));
  AppendU32(&elements_, static_cast<uint32_t>(value.size()));
  data_.append(key);
  data_.append(value);
  last_key_ = key;
  return absl::OkStatus();
}

std::string Writer::TakeLeaf(size_t* elements) {
  const size_t count = elements_.size() / kElementBytes;
  std::string page(kHeaderBytes, '\0');
  page.reserve(kHeaderBytes + elements_.size() + data_.size());
  for (size_t i = 0; i < count; ++i) {
    const char* const element = elements_.data() + i * kElementBytes;
    AppendU32(&page, LoadU32(element));
    // From this element to its key, which stands behind all elements.
    AppendU32(&page, static_cast<uint32_t>((count - i) * kElementBytes + LoadU32(element + 4)));
    AppendU32(&page, LoadU32(element + 8));
    AppendU32(&page, LoadU32(element + 12));
  }
  page += data_;
  elements_.clear();
  data_.clear();
  *elements = count;
  return page;
}

absl::Status Writer::FlushLeaf() {
  size_t count = 0;
  std::string page = TakeLeaf(&count);
  uint64_t id = 0;
  QR_RETURN_IF_ERROR(Emit(std::move(page), kLeafPage, count, &id));
  return AddChild(0, first_key_, id);
}

absl::Status Writer::AddChild(size_t level, std::string first_key, uint64_t page) {
  if (levels_.size() == level) levels_.emplace_back();
  Level& here = levels_[level];
  here.bytes += kElementBytes + first_key.size();
  here.children.push_back({std::move(first_key), page});
  if (here.bytes <= kPageBytes) return absl::OkStatus();
  // A page is made when enough is left for another one.
  uint64_t bytes = kHeaderBytes;
  size_t fit = 0;
  for (const Child& child : here.children) {
    bytes += kElementBytes + child.first_key.size();
    if (bytes > kPageBytes) break;
    ++fit;
  }
  fit = std::max(fit, kChildrenMin);
  if (here.children.size() < fit + kChildrenMin) return absl::OkStatus();
  return FlushBranch(level, fit);
}

absl::Status Writer::FlushBranch(size_t level, size_t count) {
  Level& here = levels_[level];
  QR_CHECK(count >= kChildrenMin && count <= here.children.size());
  std::string page(kHeaderBytes, '\0');
  std::string keys;
  for (size_t i = 0; i < count; ++i) {
    const Child& child = here.children[i];
    AppendU32(&page, static_cast<uint32_t>((count - i) * kElementBytes + keys.size()));
    AppendU32(&page, static_cast<uint32_t>(child.first_key.size()));
    AppendU64(&page, child.page);
    keys += child.first_key;
    here.bytes -= kElementBytes + child.first_key.size();
  }
  page += keys;
  std::string first_key = std::move(here.children.front().first_key);
  here.children.erase(here.children.begin(),
                      here.children.begin() + static_cast<std::ptrdiff_t>(count));
  ++here.pages;
  uint64_t id = 0;
  QR_RETURN_IF_ERROR(Emit(std::move(page), kBranchPage, count, &id));
  return AddChild(level + 1, std::move(first_key), id);
}

absl::Status Writer::FinishTree(uint64_t* root) {
  if (!elements_.empty() || levels_.empty()) QR_RETURN_IF_ERROR(FlushLeaf());
  for (size_t level = 0;; ++level) {
    if (levels_[level].pages == 0 && levels_[level].children.size() == 1) {
      *root = levels_[level].children.front().page;
      break;
    }
    while (!levels_[level].children.empty()) {
      const Level& here = levels_[level];
      const size_t count = here.children.size();
      const bool one_page = here.bytes <= kPageBytes || count < 2 * kChildrenMin;
      QR_RETURN_IF_ERROR(FlushBranch(level, one_page ? count : count - kChildrenMin));
    }
  }
  BeginTree();
  return absl::OkStatus();
}

void Writer::BeginTree() {
  levels_.clear();
  first_key_.clear();
  last_key_.clear();
}

absl::Status Writer::Emit(std::string page, uint16_t flags, size_t count, uint64_t* id) {
  const uint64_t pages = (page.size() + kPageBytes - 1) / kPageBytes;
  *id = next_page_;
  SetHeader(&page, {.id = next_page_,
                    .flags = flags,
                    .count = static_cast<uint16_t>(count),
                    .overflow = static_cast<uint32_t>(pages - 1)});
  page.resize(pages * kPageBytes);
  next_page_ += pages;
  return Write(page);
}

absl::Status Writer::Write(std::string_view bytes) {
  output_ += bytes;
  return output_.size() < kOutputBytes ? absl::OkStatus() : FlushOutput();
}

absl::Status Writer::FlushOutput() {
  const std::string_view pieces[] = {output_};
  QR_RETURN_IF_ERROR(file_->WriteAt(written_, pieces));
  written_ += output_.size();
  output_.clear();
  return absl::OkStatus();
}

}  // namespace quorate::bbolt
