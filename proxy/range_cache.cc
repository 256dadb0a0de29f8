#include "proxy/range_cache.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace quorate::proxy {
namespace {

const std::string_view kNoEnd("\0", 1);

std::string RequestKey(etcdserverpb::RangeRequest request) {
  request.set_serializable(true);
  return request.SerializeAsString();
}

// Whether `key` lies before the end of the range that begins at `begin`.
bool Before(std::string_view key, std::string_view begin, std::string_view end) {
  if (end.empty()) return key <= begin;
  return end == kNoEnd || key < end;
}

}  // namespace

bool RangesMeet(std::string_view key, std::string_view end, std::string_view other_key,
                std::string_view other_end) {
  return Before(key, other_key, other_end) && Before(other_key, key, end);
}

std::optional<Bytes> RangeCache::Find(const etcdserverpb::RangeRequest& request) {
  const auto found = by_request_.find(RequestKey(request));
  if (found == by_request_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.front().answer;
}

void RangeCache::Add(const etcdserverpb::RangeRequest& request, int64_t revision, Bytes answer) {
  const bool fixed = request.revision() > 0;
  if (fixed ? request.revision() < compacted_revision_ : revision < written_revision_) return;
  std::string key = RequestKey(request);
  if (const auto known = by_request_.find(key); known != by_request_.end()) Remove(known->second);
  bytes_ += answer.size();
  entries_.push_front({key, request.key(), request.range_end(), fixed, std::move(answer)});
  by_request_[std::move(key)] = entries_.begin();
  while (entries_.size() > kEntriesMax || bytes_ > kBytesMax) Remove(std::prev(entries_.end()));
}

void RangeCache::Forget(std::string_view key, std::string_view range_end) {
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto entry = at++;
    if (!entry->fixed && RangesMeet(entry->key, entry->range_end, key, range_end)) Remove(entry);
  }
}

void RangeCache::Clear() {
  entries_.clear();
  by_request_.clear();
  bytes_ = 0;
}

void RangeCache::Wrote(int64_t revision) {
  written_revision_ = std::max(written_revision_, revision);
}

void RangeCache::Compacted(int64_t revision) {
  compacted_revision_ = std::max(compacted_revision_, revision);
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto entry = at++;
    etcdserverpb::RangeRequest request;
    request.ParseFromString(entry->request);
    if (IsCompacted(request.revision())) Remove(entry);
  }
}

void RangeCache::Remove(Entries::iterator at) {
  bytes_ -= at->answer.size();
  by_request_.erase(at->request);
  entries_.erase(at);
}

}  // namespace quorate::proxy
