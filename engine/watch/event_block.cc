#include "engine/watch/event_block.h"

#include <cstring>
#include <utility>

#include "absl/types/span.h"
#include "base/check.h"
#include "engine/mvcc/wire.h"
#include "engine/watch/wire.h"

namespace quorate::engine {
namespace {

// From this size on a value is shared with the window instead of copied: copying would cost more
// than keeping its chunk for as long as the message lives.
constexpr size_t kPinBytes = 64 << 10;

size_t LengthDelimitedBytes(size_t size) { return 1 + wire::VarintBytes(size) + size; }

size_t DeleteKvBytes(const EventParts& parts) {
  return LengthDelimitedBytes(parts.key.size()) + 1 +
         wire::VarintBytes(static_cast<uint64_t>(parts.main));
}

size_t KvBytes(const EventParts& parts) {
  return parts.kind == RecordKind::kPut ? parts.kv.size() : DeleteKvBytes(parts);
}

size_t EventBodyBytes(const EventParts& parts) {
  size_t size = LengthDelimitedBytes(KvBytes(parts));
  if (parts.kind == RecordKind::kTombstone) size += 2;
  if (parts.previous.has_value()) size += LengthDelimitedBytes(parts.previous->size());
  return size;
}

char* WriteRaw(std::string_view data, char* out) {
  std::memcpy(out, data.data(), data.size());
  return out + data.size();
}

char* WriteLength(char tag, size_t size, char* out) {
  *out++ = tag;
  return watch_wire::WriteVarint(size, out);
}

// All but the put's KeyValue itself and prev_kv.
char* WriteFront(const EventParts& parts, char* out) {
  out = WriteLength(watch_wire::kWatchResponseEvents, EventBodyBytes(parts), out);
  if (parts.kind == RecordKind::kTombstone) {
    *out++ = watch_wire::kEventType;
    *out++ = 1;
  }
  out = WriteLength(watch_wire::kEventKv, KvBytes(parts), out);
  if (parts.kind == RecordKind::kTombstone) {
    out = WriteRaw(parts.key, WriteLength(watch_wire::kKeyValueKey, parts.key.size(), out));
    *out++ = watch_wire::kKeyValueModRevision;
    out = watch_wire::WriteVarint(static_cast<uint64_t>(parts.main), out);
  }
  return out;
}

}  // namespace

size_t EventBytes(const EventParts& parts) { return LengthDelimitedBytes(EventBodyBytes(parts)); }

char* WriteEvent(const EventParts& parts, char* out) {
  out = WriteFront(parts, out);
  if (parts.kind == RecordKind::kPut) out = WriteRaw(parts.kv, out);
  if (parts.previous.has_value()) {
    out = WriteLength(watch_wire::kEventPrevKv, parts.previous->size(), out);
    out = WriteRaw(*parts.previous, out);
  }
  return out;
}

void AppendEvent(const EventParts& parts, std::string* out) {
  const size_t old_size = out->size();
  out->resize(old_size + EventBytes(parts));
  const char* end = WriteEvent(parts, out->data() + old_size);
  QR_CHECK(end == out->data() + out->size());
}

BatchBlocks::BatchBlocks(EventBatchPtr batch, const WatchStore* store)
    : batch_(std::move(batch)), store_(store), needs_(batch_->events.size(), 0) {}

EventParts BatchBlocks::PartsOf(uint32_t event) const {
  const Event& source = batch_->events[event];
  return {.kind = source.record.kind,
          .main = batch_->revision,
          .key = source.key,
          .kv = source.kv,
          .previous = std::nullopt};
}

// What lived before the transaction: a key changed twice in one transaction shows no state between.
std::optional<RecordRef> BatchBlocks::PreviousOf(uint32_t event) const {
  const Event& source = batch_->events[event];
  if (source.previous.has_value() && source.previous->revision.main == batch_->revision) {
    return store_->LiveBefore(source.key, batch_->revision);
  }
  return source.previous;
}

absl::Status BatchBlocks::Build() {
  uint8_t wanted = 0;
  for (const uint8_t bits : needs_) wanted |= bits;
  if ((wanted & Bit(EventVariant::kPlain)) != 0) BuildPlain();
  if ((wanted & Bit(EventVariant::kPrevKv)) != 0) return BuildWithPrevious();
  return absl::OkStatus();
}

void BatchBlocks::BuildPlain() {
  EventBlock& block = blocks_[Slot(EventVariant::kPlain)];
  block.entries.resize(needs_.size());
  size_t total = 0;
  for (uint32_t i = 0; i < needs_.size(); ++i) {
    if (!IsNeeded(i, EventVariant::kPlain)) continue;
    const EventParts parts = PartsOf(i);
    EventBlock::Entry& entry = block.entries[i];
    size_t size = EventBytes(parts);
    if (parts.kind == RecordKind::kPut && parts.kv.size() >= kPinBytes) {
      entry.pinned = Bytes::Pinned(parts.kv, batch_);
      size -= parts.kv.size();
    }
    entry.begin = total;
    entry.end = total += size;
  }
  char* data = nullptr;
  block.buffer = Bytes::Allocate(total, &data);
  for (uint32_t i = 0; i < needs_.size(); ++i) {
    if (!IsNeeded(i, EventVariant::kPlain)) continue;
    const EventParts parts = PartsOf(i);
    const EventBlock::Entry& entry = block.entries[i];
    char* begin = data + entry.begin;
    const char* end = entry.pinned.empty() ? WriteEvent(parts, begin) : WriteFront(parts, begin);
    QR_CHECK(end == data + entry.end);
  }
}

absl::Status BatchBlocks::BuildWithPrevious() {
  std::vector<uint32_t> events;  // what each ref is for
  std::vector<RecordRef> refs;
  for (uint32_t i = 0; i < needs_.size(); ++i) {
    if (!IsNeeded(i, EventVariant::kPrevKv)) continue;
    const std::optional<RecordRef> previous = PreviousOf(i);
    if (!previous.has_value()) continue;
    events.push_back(i);
    refs.push_back(*previous);
  }
  EventBlock& block = blocks_[Slot(EventVariant::kPrevKv)];
  block.entries.resize(needs_.size());
  std::string buffer;
  uint32_t done = 0;  // events before this one are written
  const auto write = [&](std::optional<std::string_view> previous) {
    EventParts parts = PartsOf(done);
    parts.previous = previous;
    block.entries[done].begin = buffer.size();
    AppendEvent(parts, &buffer);
    block.entries[done++].end = buffer.size();
  };
  const auto write_until = [&](uint32_t event) {
    while (done < event) {
      if (IsNeeded(done, EventVariant::kPrevKv)) {
        write(std::nullopt);
      } else {
        ++done;
      }
    }
  };
  if (!refs.empty()) {
    const absl::Status status =
        store_->Records().Read(refs, [&](size_t index, std::optional<std::string_view> kv) {
          write_until(events[index]);
          write(kv);
        });
    if (!status.ok()) return status;
  }
  write_until(static_cast<uint32_t>(needs_.size()));
  block.buffer = Bytes::FromString(std::move(buffer));
  return absl::OkStatus();
}

}  // namespace quorate::engine
