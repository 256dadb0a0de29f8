// RangeCache: answers to reads, for serializable reads that ask the same again. An answer is
// forgotten when a write to its keys goes through this proxy; writes that go other ways are not
// seen, which a serializable read allows. As etcd's proxy (server/proxy/grpcproxy/cache), but that
// an answer which a write has overtaken does not come in.
// One thread.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "base/bytes.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::proxy {

class RangeCache {
 public:
  static constexpr size_t kEntriesMax = 2048;             // etcd's
  static constexpr size_t kBytesMax = size_t{256} << 20;  // of answers

  // Serializable or not, they are the same request.
  std::optional<Bytes> Find(const etcdserverpb::RangeRequest& request);
  // `revision`: of the answer's header. Dropped when a write known here is newer, or its revision
  // compacted.
  void Add(const etcdserverpb::RangeRequest& request, int64_t revision, Bytes answer);
  // Forgets what may have changed in [key, range_end), in etcd's notation.
  void Forget(std::string_view key, std::string_view range_end);
  void Clear();
  // A write through here was answered with this revision.
  void Wrote(int64_t revision);
  int64_t written_revision() const { return written_revision_; }
  void Compacted(int64_t revision);
  // A read at that revision fails, as a compaction through here has told.
  bool IsCompacted(int64_t revision) const {
    return revision > 0 && revision < compacted_revision_;
  }
  size_t size() const { return by_request_.size(); }

 private:
  struct Entry {
    std::string request;
    std::string key;
    std::string range_end;
    bool fixed = false;  // at a revision: writes do not change it
    Bytes answer;
  };
  using Entries = std::list<Entry>;  // the one used last is in front

  void Remove(Entries::iterator at);

  Entries entries_;
  absl::flat_hash_map<std::string, Entries::iterator> by_request_;
  size_t bytes_ = 0;
  int64_t written_revision_ = 0;
  int64_t compacted_revision_ = 0;
};

// Whether [key, end) and [other_key, other_end) meet. An empty end is a single key, "\0" no end.
bool RangesMeet(std::string_view key, std::string_view end, std::string_view other_key,
                std::string_view other_end);

}  // namespace quorate::proxy
