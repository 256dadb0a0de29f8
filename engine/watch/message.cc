#include "engine/watch/message.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "engine/watch/wire.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {
namespace {

// A message may keep this much of a block alive that it does not show.
constexpr uint64_t kUnseenBytesMax = 4096;

char* WriteField(char tag, uint64_t value, char* out) {
  if (value == 0) return out;
  *out++ = tag;
  return watch_wire::WriteVarint(value, out);
}

// Events of one block, at least one.
void AppendSlices(absl::Span<const EventPick> picks, std::vector<Bytes>* pieces) {
  const EventBlock& block = *picks.front().block;
  uint64_t begin = EntryOf(picks.front()).begin;
  uint64_t end = begin;
  const auto flush = [&] {
    if (end > begin) pieces->push_back(block.buffer.Slice(begin, end - begin));
  };
  for (const EventPick& pick : picks) {
    const EventBlock::Entry& entry = EntryOf(pick);
    if (entry.begin != end) {
      flush();
      begin = entry.begin;
    }
    end = entry.end;
    if (!entry.pinned.empty()) {
      flush();
      pieces->push_back(entry.pinned);
      begin = end;
    }
  }
  flush();
}

void AppendCopy(absl::Span<const EventPick> picks, uint64_t total, std::vector<Bytes>* pieces) {
  char* out = nullptr;
  Bytes copy = Bytes::Allocate(total, &out);
  for (const EventPick& pick : picks) {
    const EventBlock::Entry& entry = EntryOf(pick);
    std::memcpy(out, pick.block->buffer.data() + entry.begin, entry.end - entry.begin);
    out += entry.end - entry.begin;
  }
  pieces->push_back(std::move(copy));
}

}  // namespace

void HeadMaker::SetHeader(const HeaderFields& fields, int64_t revision) {
  std::array<char, 46> header;
  char* out = header.data() + 2;
  out = WriteField(watch_wire::kHeaderClusterId, fields.cluster.value(), out);
  out = WriteField(watch_wire::kHeaderMemberId, fields.member.value(), out);
  out = WriteField(watch_wire::kHeaderRevision, static_cast<uint64_t>(revision), out);
  out = WriteField(watch_wire::kHeaderRaftTerm, fields.term.value(), out);
  const size_t size = static_cast<size_t>(out - header.data());
  QR_CHECK(size <= header.size());
  header[0] = watch_wire::kWatchResponseHeader;
  header[1] = static_cast<char>(size - 2);
  if (size == header_bytes_ && std::memcmp(header.data(), header_.data(), size) == 0) return;
  std::memcpy(header_.data(), header.data(), size);
  header_bytes_ = size;
  last_head_ = Bytes();
}

Bytes HeadMaker::Make(int64_t watch_id, Fragment fragment) {
  QR_CHECK(header_bytes_ > 0);
  const bool last = fragment == Fragment::kLast;
  if (last && !last_head_.empty() && last_id_ == watch_id) return last_head_;
  std::array<char, 46 + 1 + watch_wire::kVarintBytesMax + 2> head;
  std::memcpy(head.data(), header_.data(), header_bytes_);
  char* out = head.data() + header_bytes_;
  out = WriteField(watch_wire::kWatchResponseWatchId, static_cast<uint64_t>(watch_id), out);
  out = WriteField(watch_wire::kWatchResponseFragment, last ? 0 : 1, out);
  Bytes made = Bytes::Copy({head.data(), static_cast<size_t>(out - head.data())});
  if (last) {
    last_id_ = watch_id;
    last_head_ = made;
  }
  return made;
}

Bytes EncodeControl(const HeaderFields& fields, const ControlMessage& message) {
  etcdserverpb::WatchResponse response;
  etcdserverpb::ResponseHeader* header = response.mutable_header();
  header->set_cluster_id(fields.cluster.value());
  header->set_member_id(fields.member.value());
  header->set_revision(message.revision);
  header->set_raft_term(fields.term.value());
  response.set_watch_id(message.watch_id);
  response.set_created(message.created);
  response.set_canceled(message.canceled);
  response.set_compact_revision(message.compact_revision);
  response.set_cancel_reason(std::string(message.cancel_reason));
  return Bytes::FromString(response.SerializeAsString());
}

std::vector<Bytes> Assemble(Bytes head, absl::Span<const EventPick> picks) {
  std::vector<Bytes> pieces;
  pieces.reserve(2);
  pieces.push_back(std::move(head));
  while (!picks.empty()) {
    const EventBlock* block = picks.front().block;
    size_t count = 0;
    uint64_t shown = 0;
    bool pinned = false;
    for (; count < picks.size() && picks[count].block == block; ++count) {
      const EventBlock::Entry& entry = EntryOf(picks[count]);
      QR_CHECK(entry.end > entry.begin && entry.end <= block->buffer.size());
      shown += entry.end - entry.begin;
      pinned = pinned || !entry.pinned.empty();
    }
    const uint64_t unseen = block->buffer.size() - shown;
    if (!pinned && unseen > kUnseenBytesMax && unseen > 3 * shown) {
      AppendCopy(picks.first(count), shown, &pieces);
    } else {
      AppendSlices(picks.first(count), &pieces);
    }
    picks.remove_prefix(count);
  }
  return pieces;
}

size_t FragmentLength(size_t head_bytes, absl::Span<const EventPick> picks, uint64_t limit_bytes) {
  uint64_t size = head_bytes;
  size_t count = 0;
  for (const EventPick& pick : picks) {
    size += EntryOf(pick).size();
    if (count > 0 && size >= limit_bytes) break;
    ++count;
  }
  return count;
}

}  // namespace quorate::engine
