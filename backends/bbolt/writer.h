// Writer: a bbolt database in one pass over sorted input. Pages are filled and written bottom-up,
// so memory is bounded by the largest value and by one unfinished page per level of a tree; nothing
// that was written is read again. The layout: docs/formats/snapshot.md.
//
// One thread. Errors are the file's; after one the file is of no use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "backends/bbolt/format.h"
#include "base/file_env.h"

namespace quorate::bbolt {

class Writer {
 public:
  // `file` is empty and outlives the writer.
  explicit Writer(File* file);

  // Buckets come in ascending order of their names, pairs in ascending order of their keys.
  void BeginBucket(std::string_view name);
  absl::Status Add(std::string_view key, std::string_view value);  // key: 1..kKeyBytesMax bytes
  absl::Status EndBucket();
  // The file is a whole database when it returns; not synced.
  absl::Status Finish();

  // Bytes of all pages made so far; after Finish, of the file.
  uint64_t bytes() const { return next_page_ * kPageBytes; }

 private:
  struct Child {
    std::string first_key;
    uint64_t page;
  };
  // Children that wait for a branch page: those of one level of a tree.
  struct Level {
    std::vector<Child> children;
    uint64_t bytes = kHeaderBytes;  // that they would take as one page
    uint64_t pages = 0;             // already made of it
  };

  absl::Status AddElement(std::string_view key, std::string_view value, uint32_t flags);
  // The page that is being filled, with room for its header.
  std::string TakeLeaf(size_t* elements);
  absl::Status FlushLeaf();
  absl::Status AddChild(size_t level, std::string first_key, uint64_t page);
  // Makes a branch page of the first `count` children of a level.
  absl::Status FlushBranch(size_t level, size_t count);
  // What is left of the tree; its root is then *root.
  absl::Status FinishTree(uint64_t* root);
  void BeginTree();
  // Gives `page` (with room for its header in front) the next id and writes it.
  absl::Status Emit(std::string page, uint16_t flags, size_t count, uint64_t* id);
  absl::Status Write(std::string_view bytes);
  absl::Status FlushOutput();

  File* const file_;
  uint64_t next_page_;
  std::string output_;  // waits to be written at written_
  uint64_t written_;

  // The leaf page that is being filled.
  std::string elements_;  // flags, offset in data_, key and value sizes; 16 bytes each
  std::string data_;
  std::string first_key_;
  std::string last_key_;  // of the tree, to check the order
  std::vector<Level> levels_;

  bool in_bucket_ = false;
  std::string bucket_;  // name of the current or last one
  struct Bucket {
    std::string name;
    std::string value;
  };
  std::vector<Bucket> buckets_;
};

}  // namespace quorate::bbolt
