// The few messages of etcd's API that the driver sends and reads, encoded and decoded by hand: one
// allocation per request, none per answer (views into it). Field numbers as in
// proto/etcdserverpb.proto and proto/mvccpb.proto; wire_test.cc holds both against the generated
// classes. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace quorate::workload {

// --- paths

inline constexpr std::string_view kRangePath = "/etcdserverpb.KV/Range";
inline constexpr std::string_view kPutPath = "/etcdserverpb.KV/Put";
inline constexpr std::string_view kDeletePath = "/etcdserverpb.KV/DeleteRange";
inline constexpr std::string_view kTxnPath = "/etcdserverpb.KV/Txn";
inline constexpr std::string_view kCompactPath = "/etcdserverpb.KV/Compact";
inline constexpr std::string_view kWatchPath = "/etcdserverpb.Watch/Watch";
inline constexpr std::string_view kLeaseGrantPath = "/etcdserverpb.Lease/LeaseGrant";
inline constexpr std::string_view kLeaseRevokePath = "/etcdserverpb.Lease/LeaseRevoke";
inline constexpr std::string_view kLeaseKeepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive";
inline constexpr std::string_view kStatusPath = "/etcdserverpb.Maintenance/Status";
inline constexpr std::string_view kDefragmentPath = "/etcdserverpb.Maintenance/Defragment";

// --- requests

struct RangeArgs {
  std::string_view key;
  std::string_view end;
  int64_t limit = 0;
  int64_t revision = 0;
  bool serializable = false;
  bool keys_only = false;
  bool count_only = false;
};
Bytes EncodeRange(const RangeArgs& args);

struct PutArgs {
  std::string_view key;
  size_t value_size = 0;
  int64_t lease = 0;
  bool prev_kv = false;
};
// *value is where the caller writes the value, before the Bytes is shared.
Bytes EncodePut(const PutArgs& args, char** value);

Bytes EncodeDelete(std::string_view key, bool prev_kv);

// If mod_revision(key) == mod_revision then put (or delete) it, else read it.
Bytes EncodeGuardedPut(const PutArgs& args, int64_t mod_revision, char** value);
Bytes EncodeGuardedDelete(std::string_view key, int64_t mod_revision);

Bytes EncodeCompact(int64_t revision, bool physical);
Bytes EncodeLeaseGrant(int64_t ttl_s, int64_t id);
Bytes EncodeLeaseId(int64_t id);  // LeaseRevokeRequest and LeaseKeepAliveRequest

struct WatchArgs {
  std::string_view key;
  std::string_view end;
  int64_t start_revision = 0;
  int64_t watch_id = 0;
  bool progress_notify = false;
  bool prev_kv = false;
  bool fragment = false;
};
Bytes EncodeWatchCreate(const WatchArgs& args);

// --- answers; each Decode answers false when the bytes are no such message

struct KeyValueView {
  std::string_view key;
  std::string_view value;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
};
bool DecodeKeyValue(std::string_view bytes, KeyValueView* out);

struct RangeView {
  int64_t revision = 0;
  int64_t count = 0;
  bool more = false;
  int64_t kvs = 0;
};
bool DecodeRange(std::string_view bytes, RangeView* out);
// After DecodeRange: the pairs in order; stops early when `each` answers false.
bool ForEachKeyValue(std::string_view range_response,
                     const std::function<bool(const KeyValueView&)>& each);

struct PutView {
  int64_t revision = 0;
  bool has_prev = false;
  KeyValueView prev;
};
bool DecodePut(std::string_view bytes, PutView* out);

struct DeleteView {
  int64_t revision = 0;
  int64_t deleted = 0;
  bool has_prev = false;
  KeyValueView prev;  // the last one
};
bool DecodeDelete(std::string_view bytes, DeleteView* out);

struct TxnView {
  int64_t revision = 0;
  bool succeeded = false;
  int64_t responses = 0;
  // Of the first response: whether it answers a range, put or delete, and its content.
  enum class First { kNone, kRange, kPut, kDelete } first = First::kNone;
  std::string_view first_bytes;
};
bool DecodeTxn(std::string_view bytes, TxnView* out);

struct LeaseView {
  int64_t revision = 0;
  int64_t id = 0;
  int64_t ttl_s = 0;
};
bool DecodeLease(std::string_view bytes, LeaseView* out);              // grant and keep-alive
bool DecodeHeaderRevision(std::string_view bytes, int64_t* revision);  // field 1 of any answer

struct StatusView {
  int64_t revision = 0;
  std::string_view version;
  int64_t db_size = 0;
  uint64_t member_id = 0;
  uint64_t leader = 0;
};
bool DecodeStatus(std::string_view bytes, StatusView* out);

struct EventView {
  bool deleted = false;
  KeyValueView kv;
  bool has_prev = false;
  KeyValueView prev;
};
struct WatchView {
  int64_t revision = 0;
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
  bool fragment = false;
  int64_t events = 0;
};
bool DecodeWatch(std::string_view bytes, WatchView* out);
// After DecodeWatch: the events in order; stops early when `each` answers false.
bool ForEachEvent(std::string_view watch_response,
                  const std::function<bool(const EventView&)>& each);

}  // namespace quorate::workload
