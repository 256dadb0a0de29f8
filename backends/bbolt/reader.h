// Reader: looks into a bbolt database file without changing it. Nothing in the file is trusted: a
// page is used only after its place, kind, sizes and order of keys were checked, and every error
// names the file, the page and its offset. (bbolt itself protects nothing but its two meta pages by
// checksums; that of a whole snapshot is snapshot_file.h's.)
//
// Errors: kDataLoss for damage; kFailedPrecondition for a file that is no bbolt database at all.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backends/bbolt/format.h"
#include "base/file_env.h"

namespace quorate::bbolt {

// One thread at a time.
class Reader {
 public:
  using Visitor = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;

  // `bytes`: how much of the file is database; what is behind does not count. Reads the meta pages
  // and the list of buckets.
  static absl::StatusOr<std::unique_ptr<Reader>> Open(std::unique_ptr<File> file, uint64_t bytes);

  // Names, ascending.
  std::vector<std::string> buckets() const;
  bool HasBucket(std::string_view name) const;
  // Visits the pairs of [begin, end) in key order (empty end = to the end of the bucket) until the
  // visitor answers false. A bucket that is not there is empty. The views live during the call.
  absl::Status Scan(std::string_view bucket, std::string_view begin, std::string_view end,
                    Visitor visitor) const;
  // Reads every page. All that is wrong, a line each, at most `problems_max`: damaged pages, pages
  // that two trees claim, pages of no tree that the list of free pages does not have.
  std::vector<std::string> Check(size_t problems_max) const;

  uint64_t bytes() const { return meta_.pages * meta_.page_bytes; }  // of the database
  uint32_t page_bytes() const { return meta_.page_bytes; }
  const std::string& path() const { return file_->path(); }

 private:
  struct Bucket {
    std::string name;
    uint64_t root = 0;        // 0: its one page is inline
    std::string inline_page;  // of such a bucket
  };
  // A page as it was read, checked as far as it can be by itself.
  struct Page {
    PageHeader header;
    std::string_view bytes;  // with the header and the overflow
    uint64_t offset;         // in the file
    bool is_inline = false;
  };
  struct Element {
    uint32_t flags;
    std::string_view key;
    std::string_view value;  // of a leaf
    uint64_t child;          // of a branch
  };
  // Where a walk is allowed to be, and what it does there.
  struct Walk {
    std::string_view begin, end;
    // False ends the walk.
    absl::FunctionRef<bool(const Element&)> leaf;
    absl::FunctionRef<absl::Status(const Page&)> page;
    bool stopped = false;
  };
  struct Bounds {                // of the keys in a subtree
    std::string_view low, high;  // empty high: none
    int depth = 0;
  };

  Reader(std::unique_ptr<File> file, uint64_t bytes) : file_(std::move(file)), file_bytes_(bytes) {}

  absl::Status ReadMetas();
  absl::Status ReadBuckets();
  absl::Status ReadBytes(uint64_t offset, size_t size, char* out) const;
  // The page is a view into *memory.
  absl::StatusOr<Page> ReadPage(uint64_t id, std::string* memory) const;
  absl::Status CheckElements(const Page& page, const Bounds& bounds) const;
  Element ElementOf(const Page& page, size_t i) const;
  absl::Status WalkPage(uint64_t id, const Bounds& bounds, Walk* walk) const;
  absl::Status WalkElements(const Page& page, const Bounds& bounds, Walk* walk) const;
  absl::Status WalkBucket(const Bucket& bucket, Walk* walk) const;
  absl::StatusOr<Page> InlinePage(const Bucket& bucket) const;
  const Bucket* Find(std::string_view name) const;
  absl::Status ReadFreelist(std::vector<uint64_t>* free, Page* page, std::string* memory) const;
  absl::Status Damaged(uint64_t page, uint64_t offset, std::string_view what) const;
  absl::Status Damaged(const Page& page, std::string_view what) const;

  const std::unique_ptr<File> file_;
  const uint64_t file_bytes_;
  Meta meta_;
  std::vector<Bucket> buckets_;
  // The last piece of the file that was read: pages of a tree mostly follow each other.
  mutable std::string window_;
  mutable uint64_t window_offset_ = 0;
};

}  // namespace quorate::bbolt
