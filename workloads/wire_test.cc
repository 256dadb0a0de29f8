// The hand-written codec against the generated classes.
#include "workloads/wire.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "proto/etcdserverpb.pb.h"

namespace quorate::workload {
namespace {

template <class T>
T Parse(const Bytes& bytes) {
  T message;
  REQUIRE(message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  // Nothing unknown in it, and the same bytes as the generated code writes.
  std::string again;
  REQUIRE(message.SerializeToString(&again));
  CHECK(again == bytes.view());
  return message;
}

void SetHeader(etcdserverpb::ResponseHeader* header, int64_t revision) {
  header->set_cluster_id(~uint64_t{0});
  header->set_member_id(77);
  header->set_revision(revision);
  header->set_raft_term(3);
}

mvccpb::KeyValue Pair(const std::string& key, const std::string& value, int64_t revision) {
  mvccpb::KeyValue kv;
  kv.set_key(key);
  kv.set_value(value);
  kv.set_create_revision(2);
  kv.set_mod_revision(revision);
  kv.set_version(4);
  kv.set_lease(-5);
  return kv;
}

TEST_CASE("requests are what the generated classes read") {
  const auto range = Parse<etcdserverpb::RangeRequest>(EncodeRange({.key = "a",
                                                                    .end = "b",
                                                                    .limit = 500,
                                                                    .revision = 1'000'000,
                                                                    .serializable = true,
                                                                    .keys_only = true,
                                                                    .count_only = true}));
  CHECK(range.key() == "a");
  CHECK(range.range_end() == "b");
  CHECK(range.limit() == 500);
  CHECK(range.revision() == 1'000'000);
  CHECK((range.serializable() && range.keys_only() && range.count_only()));

  char* value = nullptr;
  const Bytes put_bytes =
      EncodePut({.key = "key", .value_size = 300, .lease = -1, .prev_kv = true}, &value);
  std::memset(value, 'v', 300);
  const auto put = Parse<etcdserverpb::PutRequest>(put_bytes);
  CHECK(put.key() == "key");
  CHECK(put.value() == std::string(300, 'v'));
  CHECK(put.lease() == -1);
  CHECK(put.prev_kv());

  const auto del = Parse<etcdserverpb::DeleteRangeRequest>(EncodeDelete("key", true));
  CHECK(del.key() == "key");
  CHECK(del.prev_kv());
  CHECK(Parse<etcdserverpb::CompactionRequest>(EncodeCompact(9, true)).physical());
  CHECK(Parse<etcdserverpb::LeaseGrantRequest>(EncodeLeaseGrant(60, 5)).ttl() == 60);
  CHECK(Parse<etcdserverpb::LeaseRevokeRequest>(EncodeLeaseId(5)).id() == 5);
  CHECK(EncodeRange({}).size() == 0);
}

TEST_CASE("guarded changes") {
  const int64_t revision = GENERATE(0, 1, 12'345);
  char* value = nullptr;
  const Bytes bytes = EncodeGuardedPut({.key = "key", .value_size = 200}, revision, &value);
  std::memset(value, 'v', 200);
  const auto txn = Parse<etcdserverpb::TxnRequest>(bytes);
  REQUIRE(txn.compare_size() == 1);
  CHECK(txn.compare(0).target() == etcdserverpb::Compare::MOD);
  CHECK(txn.compare(0).result() == etcdserverpb::Compare::EQUAL);
  CHECK(txn.compare(0).key() == "key");
  CHECK(txn.compare(0).target_union_case() == etcdserverpb::Compare::kModRevision);
  CHECK(txn.compare(0).mod_revision() == revision);
  REQUIRE(txn.success_size() == 1);
  CHECK(txn.success(0).request_put().value() == std::string(200, 'v'));
  REQUIRE(txn.failure_size() == 1);
  CHECK(txn.failure(0).request_range().key() == "key");

  const auto remove = Parse<etcdserverpb::TxnRequest>(EncodeGuardedDelete("key", revision));
  CHECK(remove.success(0).request_delete_range().key() == "key");
}

TEST_CASE("watch requests") {
  const auto watch = Parse<etcdserverpb::WatchRequest>(EncodeWatchCreate({.key = "a",
                                                                          .end = "b",
                                                                          .start_revision = 17,
                                                                          .watch_id = 200,
                                                                          .progress_notify = true,
                                                                          .prev_kv = true,
                                                                          .fragment = true}));
  const auto& create = watch.create_request();
  CHECK(create.key() == "a");
  CHECK(create.range_end() == "b");
  CHECK(create.start_revision() == 17);
  CHECK(create.watch_id() == 200);
  CHECK((create.progress_notify() && create.prev_kv() && create.fragment()));
}

TEST_CASE("answers are read as the generated classes write them") {
  etcdserverpb::RangeResponse range;
  SetHeader(range.mutable_header(), 99);
  *range.add_kvs() = Pair("a", "1", 7);
  *range.add_kvs() = Pair("b", "2", 8);
  range.set_more(true);
  range.set_count(12);
  RangeView view;
  std::string bytes = range.SerializeAsString();
  REQUIRE(DecodeRange(bytes, &view));
  CHECK((view.revision == 99 && view.count == 12 && view.more && view.kvs == 2));
  std::vector<std::string> seen;
  REQUIRE(ForEachKeyValue(bytes, [&](const KeyValueView& kv) {
    seen.emplace_back(std::string(kv.key) + "=" + std::string(kv.value));
    CHECK(kv.create_revision == 2);
    CHECK(kv.version == 4);
    CHECK(kv.lease == -5);
    return true;
  }));
  CHECK(seen == std::vector<std::string>{"a=1", "b=2"});

  etcdserverpb::PutResponse put;
  SetHeader(put.mutable_header(), 5);
  *put.mutable_prev_kv() = Pair("a", "old", 4);
  PutView put_view;
  bytes = put.SerializeAsString();
  REQUIRE(DecodePut(bytes, &put_view));
  CHECK((put_view.revision == 5 && put_view.has_prev && put_view.prev.value == "old"));

  etcdserverpb::DeleteRangeResponse del;
  SetHeader(del.mutable_header(), 6);
  del.set_deleted(1);
  *del.add_prev_kvs() = Pair("a", "old", 4);
  DeleteView del_view;
  bytes = del.SerializeAsString();
  REQUIRE(DecodeDelete(bytes, &del_view));
  CHECK((del_view.revision == 6 && del_view.deleted == 1 && del_view.prev.mod_revision == 4));

  etcdserverpb::TxnResponse txn;
  SetHeader(txn.mutable_header(), 8);
  txn.set_succeeded(true);
  *txn.add_responses()->mutable_response_range() = range;
  TxnView txn_view;
  bytes = txn.SerializeAsString();
  REQUIRE(DecodeTxn(bytes, &txn_view));
  CHECK((txn_view.succeeded && txn_view.revision == 8 && txn_view.responses == 1));
  CHECK(txn_view.first == TxnView::First::kRange);
  CHECK(txn_view.first_bytes == range.SerializeAsString());

  etcdserverpb::LeaseGrantResponse lease;
  SetHeader(lease.mutable_header(), 8);
  lease.set_id(1234);
  lease.set_ttl(60);
  LeaseView lease_view;
  bytes = lease.SerializeAsString();
  REQUIRE(DecodeLease(bytes, &lease_view));
  CHECK((lease_view.id == 1234 && lease_view.ttl_s == 60));

  etcdserverpb::StatusResponse status;
  SetHeader(status.mutable_header(), 44);
  status.set_version("3.4.23");
  status.set_dbsize(4096);
  status.set_leader(77);
  StatusView status_view;
  bytes = status.SerializeAsString();
  REQUIRE(DecodeStatus(bytes, &status_view));
  CHECK((status_view.revision == 44 && status_view.version == "3.4.23"));
  CHECK((status_view.member_id == 77 && status_view.leader == 77 && status_view.db_size == 4096));
}

TEST_CASE("watch answers") {
  etcdserverpb::WatchResponse watch;
  SetHeader(watch.mutable_header(), 31);
  watch.set_watch_id(-1);
  watch.set_canceled(true);
  watch.set_compact_revision(12);
  watch.set_cancel_reason("why");
  watch.set_fragment(true);
  auto* event = watch.add_events();
  *event->mutable_kv() = Pair("a", "1", 30);
  *event->mutable_prev_kv() = Pair("a", "0", 20);
  event = watch.add_events();
  event->set_type(mvccpb::Event::DELETE);
  event->mutable_kv()->set_key("b");
  event->mutable_kv()->set_mod_revision(31);
  const std::string bytes = watch.SerializeAsString();
  WatchView view;
  REQUIRE(DecodeWatch(bytes, &view));
  CHECK((view.revision == 31 && view.watch_id == -1 && view.canceled && view.fragment));
  CHECK((view.compact_revision == 12 && view.cancel_reason == "why" && view.events == 2));
  int events = 0;
  REQUIRE(ForEachEvent(bytes, [&](const EventView& each) {
    CHECK(each.deleted == (events == 1));
    CHECK(each.has_prev == (events == 0));
    CHECK(each.kv.mod_revision == 30 + events);
    return ++events < 5;
  }));
  CHECK(events == 2);
}

TEST_CASE("damaged answers are refused and read nothing behind their end") {
  etcdserverpb::RangeResponse range;
  SetHeader(range.mutable_header(), 99);
  *range.add_kvs() = Pair("abcdefgh", std::string(100, 'v'), 7);
  const std::string bytes = range.SerializeAsString();
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    RangeView view;
    if (!DecodeRange({cut.data(), cut.size()}, &view)) ++refused;
  }
  CHECK(refused > static_cast<int>(bytes.size()) - 5);
  RangeView view;
  CHECK_FALSE(DecodeRange("\x0b", &view));
  CHECK_FALSE(DecodeRange(std::string(11, '\xff'), &view));
}

}  // namespace
}  // namespace quorate::workload
