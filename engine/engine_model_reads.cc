// EngineModel: ranges and hashes.
#include <algorithm>
#include <functional>

#include "base/crc32c.h"
#include "engine/engine_model.h"

namespace quorate::engine {

using etcdserverpb::RangeRequest;

Error EngineModel::ReadableAt(int64_t revision, Place place) const {
  if (revision == 0 || (revision < 0 && place == Place::kPlain)) return {};
  if (revision > current_) return errors::kFutureRev;
  if (revision < compacted_) return errors::kCompacted;
  return {};
}

const EngineModel::State& EngineModel::StateFor(int64_t revision, State* storage) const {
  if (revision <= 0) return live_;
  *storage = At(revision);
  return *storage;
}

void EngineModel::FillRange(const RangeRequest& request, const State& state,
                            etcdserverpb::RangeResponse* response) const {
  std::vector<KeyValue> found;
  for (const auto& [key, kv] : state) {
    if (ModelContains(request.key(), request.range_end(), key)) found.push_back(kv);
  }
  response->set_count(static_cast<int64_t>(found.size()));
  if (request.count_only()) return;
  const bool filters = request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
                       request.min_create_revision() != 0 || request.max_create_revision() != 0;
  const bool orders =
      request.sort_order() == RangeRequest::DESCEND ||
      (request.sort_order() == RangeRequest::ASCEND && request.sort_target() != RangeRequest::KEY);
  const size_t limit = request.limit() > 0 ? static_cast<size_t>(request.limit()) : found.size();
  // etcd's quirk: with neither, no more than limit + 1 pairs are looked at.
  if (!filters && !orders && found.size() > limit) found.resize(limit + 1);
  std::erase_if(found, [&](const KeyValue& kv) {
    const auto outside = [](int64_t value, int64_t min, int64_t max) {
      return (min != 0 && value < min) || (max != 0 && value > max);
    };
    return outside(kv.mod_revision(), request.min_mod_revision(), request.max_mod_revision()) ||
           outside(kv.create_revision(), request.min_create_revision(),
                   request.max_create_revision());
  });
  const auto less = [&](const KeyValue& a, const KeyValue& b) {
    switch (request.sort_target()) {
      case RangeRequest::VERSION:
        return a.version() < b.version();
      case RangeRequest::CREATE:
        return a.create_revision() < b.create_revision();
      case RangeRequest::MOD:
        return a.mod_revision() < b.mod_revision();
      case RangeRequest::VALUE:
        return a.value() < b.value();
      default:
        return a.key() < b.key();
    }
  };
  if (request.sort_order() == RangeRequest::DESCEND) {
    std::stable_sort(found.begin(), found.end(),
                     [&](const KeyValue& a, const KeyValue& b) { return less(b, a); });
  } else {
    std::stable_sort(found.begin(), found.end(), less);
  }
  response->set_more(found.size() > limit);
  if (found.size() > limit) found.resize(limit);
  for (KeyValue& kv : found) {
    if (request.keys_only()) {
      kv.clear_value();
      if (request.sort_target() != RangeRequest::VALUE) kv.clear_lease();
    }
    *response->add_kvs() = kv;
  }
}

EngineModel::Answer EngineModel::Range(const RangeRequest& request) const {
  if (const Error error = ReadableAt(request.revision(), Place::kPlain); !error.ok()) {
    return {error, {}};
  }
  etcdserverpb::RangeResponse response;
  FillHeader(response.mutable_header());
  State storage;
  FillRange(request, StateFor(request.revision(), &storage), &response);
  return {{}, response.SerializeAsString()};
}

// Every record of the list <= revision, as etcd hashes them: name of the table, then revision keys
// and pairs.
std::optional<uint32_t> EngineModel::Hash(int64_t revision, int64_t compacted, Asker asker,
                                          Garbage garbage) const {
  std::map<std::string, const Change*> newest, newest_compacted;
  for (const Change& change : changes_) {
    if (change.main <= revision) newest[change.kv.key()] = &change;
    if (change.main <= compacted) newest_compacted[change.kv.key()] = &change;
  }
  bool anything_kept = false;
  for (const auto& [key, change] : newest) {
    const bool of_compaction = asker == Asker::kCompaction && change->main == revision;
    anything_kept = anything_kept || !change->tombstone || of_compaction;
  }
  if (compacted >= 0 && !anything_kept && garbage == Garbage::kMayBeThere) return std::nullopt;
  uint32_t crc = Crc32c(0, "key");
  for (const Change& change : changes_) {
    if (change.main > revision) break;
    if (change.main <= compacted) {
      const bool deleted = newest_compacted[change.kv.key()] != &change || change.tombstone;
      const bool kept = newest[change.kv.key()] == &change && !change.tombstone;
      if (deleted || (anything_kept && !kept)) continue;
    }
    std::string key;
    const auto append = [&key](int64_t number) {
      for (int shift = 56; shift >= 0; shift -= 8)
        key.push_back(static_cast<char>(number >> shift));
    };
    append(change.main);
    key.push_back('_');
    append(change.sub);
    if (change.tombstone) key.push_back('t');
    crc = Crc32c(Crc32c(crc, key), change.kv.SerializeAsString());
  }
  return crc;
}

int64_t EngineModel::CompactionBefore(int64_t revision) const {
  const auto it = compactions_.lower_bound(revision);
  return it == compactions_.begin() ? -1 : *std::prev(it);
}

void EngineModel::KeepCompactionHash(int64_t revision, Garbage garbage) {
  const int64_t previous = CompactionBefore(revision);
  constexpr size_t kKeptMax = 10;
  kept_hashes_[revision] = {previous, Hash(revision, previous, Asker::kCompaction, garbage)};
  if (kept_hashes_.size() > kKeptMax) kept_hashes_.erase(kept_hashes_.begin());
}

std::optional<EngineModel::Answer> EngineModel::HashKv(int64_t revision, Garbage garbage) const {
  etcdserverpb::HashKVResponse response;
  FillHeader(response.mutable_header());
  std::optional<uint32_t> hash;
  if (const auto kept = kept_hashes_.find(revision); kept != kept_hashes_.end()) {
    hash = kept->second.hash;
    response.set_compact_revision(kept->second.previous);
    response.set_hash_revision(revision);
  } else {
    if (revision > current_) return Answer{errors::kFutureRev, {}};
    if (revision > 0 && revision < compacted_) return Answer{errors::kCompacted, {}};
    const int64_t main = revision == 0 ? current_ : revision;
    hash = Hash(main, compacted_, Asker::kQuery, garbage);
    response.set_compact_revision(compacted_);
    response.set_hash_revision(main);
  }
  if (!hash) return std::nullopt;
  response.set_hash(*hash);
  return Answer{{}, response.SerializeAsString()};
}

}  // namespace quorate::engine
