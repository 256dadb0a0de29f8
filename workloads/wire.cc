#include "workloads/wire.h"

#include <cstring>

#include "base/check.h"

namespace quorate::workload {
namespace {

// --- writing

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

// All field numbers of requests but one (Compare.range_end, not used here) fit in one byte.
size_t IntSize(int64_t value) {
  return value == 0 ? 0 : 1 + VarintSize(static_cast<uint64_t>(value));
}
size_t BytesSize(size_t size) { return size == 0 ? 0 : 1 + VarintSize(size) + size; }
// A submessage is written also when it is empty: its presence is the message.
size_t MessageSize(size_t size) { return 1 + VarintSize(size) + size; }

class Writer {
 public:
  explicit Writer(size_t size) : bytes_(Bytes::Allocate(size, &at_)), end_(at_ + size) {}

  void Int(uint32_t field, int64_t value) {
    if (value != 0) AlwaysInt(field, value);
  }
  void AlwaysInt(uint32_t field, int64_t value) {
    Varint(field << 3 | kVarint);
    Varint(static_cast<uint64_t>(value));
  }
  void Flag(uint32_t field, bool value) { Int(field, value ? 1 : 0); }
  void Text(uint32_t field, std::string_view text) {
    if (text.empty()) return;
    std::memcpy(Room(field, text.size()), text.data(), text.size());
  }
  // The place of `size` bytes that the caller fills.
  char* Room(uint32_t field, size_t size) {
    if (size == 0) return at_;
    Begin(field, size);
    at_ += size;
    return at_ - size;
  }
  void Begin(uint32_t field, size_t size) {
    Varint(field << 3 | kLength);
    Varint(size);
  }
  Bytes Finish() {
    QR_CHECK(at_ == end_);
    return std::move(bytes_);
  }

 private:
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<char>(value | 0x80);
    *at_++ = static_cast<char>(value);
  }

  char* at_ = nullptr;
  Bytes bytes_;
  char* end_;
};

size_t PutSize(const PutArgs& args) {
  return BytesSize(args.key.size()) + BytesSize(args.value_size) + IntSize(args.lease) +
         IntSize(args.prev_kv);
}

void WritePut(const PutArgs& args, Writer* out, char** value) {
  out->Text(1, args.key);
  *value = out->Room(2, args.value_size);
  out->Int(3, args.lease);
  out->Flag(4, args.prev_kv);
}

// The two ends of a guarded change: its compare in front, the read of the else branch behind.
constexpr int64_t kTargetMod = 2;
size_t CompareSize(std::string_view key, int64_t mod_revision) {
  // The union member is written also when it is 0.
  return IntSize(kTargetMod) + BytesSize(key.size()) + 1 +
         VarintSize(static_cast<uint64_t>(mod_revision));
}

void WriteCompare(std::string_view key, int64_t mod_revision, Writer* out) {
  out->Begin(1, CompareSize(key, mod_revision));
  out->Int(2, kTargetMod);
  out->Text(3, key);
  out->AlwaysInt(6, mod_revision);
}

template <class F>
Bytes EncodeGuarded(std::string_view key, int64_t mod_revision, uint32_t change_field,
                    size_t change_size, F&& write_change) {
  const size_t read_size = BytesSize(key.size());
  Writer out(MessageSize(CompareSize(key, mod_revision)) + MessageSize(MessageSize(change_size)) +
             MessageSize(MessageSize(read_size)));
  WriteCompare(key, mod_revision, &out);
  out.Begin(2, MessageSize(change_size));
  out.Begin(change_field, change_size);
  write_change(&out);
  out.Begin(3, MessageSize(read_size));
  out.Begin(1, read_size);
  out.Text(1, key);
  return out.Finish();
}

// --- reading

class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  // False at the end and at damage; ok() tells which.
  bool Next() {
    if (at_ == end_) return false;
    uint64_t tag;
    if (!Varint(&tag) || tag >> 3 == 0) return Fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    text_ = {};
    number_ = 0;
    switch (tag & 7) {
      case kVarint:
        return Varint(&number_) || Fail();
      case kLength: {
        uint64_t size;
        return (Varint(&size) && Take(size)) || Fail();
      }
      case kFixed64:
        return Take(8) || Fail();
      case kFixed32:
        return Take(4) || Fail();
      default:
        return Fail();
    }
  }

  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  int64_t number() const { return static_cast<int64_t>(number_); }
  std::string_view text() const { return text_; }

 private:
  bool Fail() { return ok_ = false; }
  bool Take(uint64_t size) {
    if (size > static_cast<uint64_t>(end_ - at_)) return false;
    text_ = {at_, static_cast<size_t>(size)};
    at_ += size;
    return true;
  }
  bool Varint(uint64_t* value) {
    uint64_t result = 0;
    for (int shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      result |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) {
        *value = result;
        return true;
      }
    }
    return false;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
  uint32_t field_ = 0;
  uint64_t number_ = 0;
  std::string_view text_;
};

bool HeaderRevision(std::string_view header, int64_t* revision) {
  Reader reader(header);
  while (reader.Next()) {
    if (reader.field() == 3) *revision = reader.number();
  }
  return reader.ok();
}

bool DecodeEvent(std::string_view bytes, EventView* out) {
  *out = EventView();
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) out->deleted = reader.number() == 1;
    if (reader.field() == 2 && !DecodeKeyValue(reader.text(), &out->kv)) return false;
    if (reader.field() == 3) {
      out->has_prev = true;
      if (!DecodeKeyValue(reader.text(), &out->prev)) return false;
    }
  }
  return reader.ok();
}

}  // namespace

Bytes EncodeRange(const RangeArgs& args) {
  Writer out(BytesSize(args.key.size()) + BytesSize(args.end.size()) + IntSize(args.limit) +
             IntSize(args.revision) + IntSize(args.serializable) + IntSize(args.keys_only) +
             IntSize(args.count_only));
  out.Text(1, args.key);
  out.Text(2, args.end);
  out.Int(3, args.limit);
  out.Int(4, args.revision);
  out.Flag(7, args.serializable);
  out.Flag(8, args.keys_only);
  out.Flag(9, args.count_only);
  return out.Finish();
}

Bytes EncodePut(const PutArgs& args, char** value) {
  Writer out(PutSize(args));
  WritePut(args, &out, value);
  return out.Finish();
}

Bytes EncodeDelete(std::string_view key, bool prev_kv) {
  Writer out(BytesSize(key.size()) + IntSize(prev_kv));
  out.Text(1, key);
  out.Flag(3, prev_kv);
  return out.Finish();
}

Bytes EncodeGuardedPut(const PutArgs& args, int64_t mod_revision, char** value) {
  return EncodeGuarded(args.key, mod_revision, 2, PutSize(args),
                       [&](Writer* out) { WritePut(args, out, value); });
}

Bytes EncodeGuardedDelete(std::string_view key, int64_t mod_revision) {
  return EncodeGuarded(key, mod_revision, 3, BytesSize(key.size()),
                       [&](Writer* out) { out->Text(1, key); });
}

Bytes EncodeCompact(int64_t revision, bool physical) {
  Writer out(IntSize(revision) + IntSize(physical));
  out.Int(1, revision);
  out.Flag(2, physical);
  return out.Finish();
}

Bytes EncodeLeaseGrant(int64_t ttl_s, int64_t id) {
  Writer out(IntSize(ttl_s) + IntSize(id));
  out.Int(1, ttl_s);
  out.Int(2, id);
  return out.Finish();
}

Bytes EncodeLeaseId(int64_t id) {
  Writer out(IntSize(id));
  out.Int(1, id);
  return out.Finish();
}

Bytes EncodeWatchCreate(const WatchArgs& args) {
  const size_t size = BytesSize(args.key.size()) + BytesSize(args.end.size()) +
                      IntSize(args.start_revision) + IntSize(args.progress_notify) +
                      IntSize(args.prev_kv) + IntSize(args.watch_id) + IntSize(args.fragment);
  Writer out(MessageSize(size));
  out.Begin(1, size);
  out.Text(1, args.key);
  out.Text(2, args.end);
  out.Int(3, args.start_revision);
  out.Flag(4, args.progress_notify);
  out.Flag(6, args.prev_kv);
  out.Int(7, args.watch_id);
  out.Flag(8, args.fragment);
  return out.Finish();
}

bool DecodeKeyValue(std::string_view bytes, KeyValueView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        out->key = reader.text();
        break;
      case 2:
        out->create_revision = reader.number();
        break;
      case 3:
        out->mod_revision = reader.number();
        break;
      case 4:
        out->version = reader.number();
        break;
      case 5:
        out->value = reader.text();
        break;
      case 6:
        out->lease = reader.number();
        break;
      default:
        break;
    }
  }
  return reader.ok();
}

bool DecodeRange(std::string_view bytes, RangeView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !HeaderRevision(reader.text(), &out->revision)) return false;
    if (reader.field() == 2) ++out->kvs;
    if (reader.field() == 3) out->more = reader.number() != 0;
    if (reader.field() == 4) out->count = reader.number();
  }
  return reader.ok();
}

bool ForEachKeyValue(std::string_view range_response,
                     const std::function<bool(const KeyValueView&)>& each) {
  Reader reader(range_response);
  while (reader.Next()) {
    if (reader.field() != 2) continue;
    KeyValueView kv;
    if (!DecodeKeyValue(reader.text(), &kv)) return false;
    if (!each(kv)) return true;
  }
  return reader.ok();
}

bool DecodePut(std::string_view bytes, PutView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !HeaderRevision(reader.text(), &out->revision)) return false;
    if (reader.field() == 2) {
      out->has_prev = true;
      if (!DecodeKeyValue(reader.text(), &out->prev)) return false;
    }
  }
  return reader.ok();
}

bool DecodeDelete(std::string_view bytes, DeleteView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !HeaderRevision(reader.text(), &out->revision)) return false;
    if (reader.field() == 2) out->deleted = reader.number();
    if (reader.field() == 3) {
      out->has_prev = true;
      out->prev = KeyValueView();
      if (!DecodeKeyValue(reader.text(), &out->prev)) return false;
    }
  }
  return reader.ok();
}

bool DecodeTxn(std::string_view bytes, TxnView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !HeaderRevision(reader.text(), &out->revision)) return false;
    if (reader.field() == 2) out->succeeded = reader.number() != 0;
    if (reader.field() == 3 && out->responses++ == 0) {
      Reader first(reader.text());
      while (first.Next()) {
        if (first.field() < 1 || first.field() > 3) continue;
        out->first = static_cast<TxnView::First>(first.field());
        out->first_bytes = first.text();
      }
      if (!first.ok()) return false;
    }
  }
  return reader.ok();
}

bool DecodeLease(std::string_view bytes, LeaseView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !HeaderRevision(reader.text(), &out->revision)) return false;
    if (reader.field() == 2) out->id = reader.number();
    if (reader.field() == 3) out->ttl_s = reader.number();
  }
  return reader.ok();
}

bool DecodeHeaderRevision(std::string_view bytes, int64_t* revision) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !HeaderRevision(reader.text(), revision)) return false;
  }
  return reader.ok();
}

bool DecodeStatus(std::string_view bytes, StatusView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) {
      Reader header(reader.text());
      while (header.Next()) {
        if (header.field() == 2) out->member_id = static_cast<uint64_t>(header.number());
        if (header.field() == 3) out->revision = header.number();
      }
      if (!header.ok()) return false;
    }
    if (reader.field() == 2) out->version = reader.text();
    if (reader.field() == 3) out->db_size = reader.number();
    if (reader.field() == 4) out->leader = static_cast<uint64_t>(reader.number());
  }
  return reader.ok();
}

bool DecodeWatch(std::string_view bytes, WatchView* out) {
  Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        if (!HeaderRevision(reader.text(), &out->revision)) return false;
        break;
      case 2:
        out->watch_id = reader.number();
        break;
      case 3:
        out->created = reader.number() != 0;
        break;
      case 4:
        out->canceled = reader.number() != 0;
        break;
      case 5:
        out->compact_revision = reader.number();
        break;
      case 6:
        out->cancel_reason = reader.text();
        break;
      case 7:
        out->fragment = reader.number() != 0;
        break;
      case 11:
        ++out->events;
        break;
      default:
        break;
    }
  }
  return reader.ok();
}

bool ForEachEvent(std::string_view watch_response,
                  const std::function<bool(const EventView&)>& each) {
  Reader reader(watch_response);
  while (reader.Next()) {
    if (reader.field() != 11) continue;
    EventView event;
    if (!DecodeEvent(reader.text(), &event)) return false;
    if (!each(event)) return true;
  }
  return reader.ok();
}

}  // namespace quorate::workload
