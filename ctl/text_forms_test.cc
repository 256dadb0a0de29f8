#include "ctl/text_forms.h"

#include <catch2/catch.hpp>

#include "ctl/go_numbers.h"
#include "ctl/session.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {
namespace {

TEST_CASE("bytes are quoted as Go's %q does") {
  CHECK(GoQuote("plain") == "\"plain\"");
  CHECK(GoQuote("k\x01\xff\"\xc3\xa9") == "\"k\\x01\\xff\\\"\xc3\xa9\"");
  CHECK(GoQuote("a\n\t\\") == "\"a\\n\\t\\\\\"");
  CHECK(HexEscapes("ab") == "\\x61\\x62");
}

TEST_CASE("base64 pads") {
  CHECK(Base64("") == "");
  CHECK(Base64("f") == "Zg==");
  CHECK(Base64("fo") == "Zm8=");
  CHECK(Base64("foo") == "Zm9v");
  CHECK(Base64("\xff\xfe\xfd\xfc") == "//79/A==");
}

TEST_CASE("sizes are for people") {
  CHECK(HumanBytes(0) == "0 B");
  CHECK(HumanBytes(10) == "10 B");
  CHECK(HumanBytes(20480) == "20 kB");
  CHECK(HumanBytes(1500) == "1.5 kB");
  CHECK(HumanBytes(uint64_t{2} << 30) == "2.1 GB");
}

TEST_CASE("ids") {
  CHECK(Hex(0xabc) == "abc");
  CHECK(PaddedHex(0xabc) == "0000000000000abc");
  CHECK(SpacedHex(0xabc) == "             abc");
  CHECK(ParseLeaseId("7fffffffffffffff").value() == INT64_MAX);
  CHECK(ParseMemberId("ffffffffffffffff").value() == UINT64_MAX);
  CHECK(ParseLeaseId("zz").status().message() ==
        "strconv.ParseInt: parsing \"zz\": invalid syntax");
  CHECK(ParseMemberId("11112222333344445").status().message() ==
        "strconv.ParseUint: parsing \"11112222333344445\": value out of range");
  for (const char* text : {"", "-", "+-1", "1 ", "0x1"}) CHECK_FALSE(ParseLeaseId(text).ok());
}

TEST_CASE("a prefix ends before the next key that does not begin with it") {
  CHECK(PrefixEnd("a") == "b");
  CHECK(PrefixEnd(std::string("a\xff")) == "b");
  CHECK(PrefixEnd("\xff\xff") == std::string(1, '\0'));
  CHECK(PrefixEnd("") == std::string(1, '\0'));
}

TEST_CASE("messages are written as Go's encoding/json writes etcd's structs") {
  etcdserverpb::RangeResponse range;
  CHECK(GoJson(range) == "{}");
  range.mutable_header()->set_revision(6);
  auto* pair = range.add_kvs();
  pair->set_key("foo");
  pair->set_version(4);
  range.set_count(1);
  CHECK(GoJson(range) ==
        R"({"header":{"revision":6},"kvs":[{"key":"Zm9v","version":4}],"count":1})");
}

TEST_CASE("a oneof is a struct of its own in Go's JSON") {
  etcdserverpb::TxnResponse txn;
  txn.set_succeeded(true);
  txn.add_responses()->mutable_response_range()->set_count(1);
  CHECK(GoJson(txn) ==
        R"({"succeeded":true,"responses":[{"Response":{"response_range":{"count":1}}}]})");
}

TEST_CASE("member ids may be hexadecimal") {
  etcdserverpb::MemberListResponse members;
  members.mutable_header()->set_cluster_id(0xab);
  members.add_members()->set_id(0xcd);
  CHECK(GoJson(members, IdForm::kHex) ==
        R"({"header":{"cluster_id":"ab"},"members":[{"ID":"cd"}]})");
  CHECK(GoJson(members) == R"({"header":{"cluster_id":171},"members":[{"ID":205}]})");
}

TEST_CASE("tables have boxes, centred headings and cells to the right") {
  CHECK(BoxTable({"A", "LONG NAME"}, {{"1", "x"}, {"234", "y"}}) ==
        "┌─────┬───────────┐\n"
        "│  A  │ LONG NAME │\n"
        "├─────┼───────────┤\n"
        "│   1 │         x │\n"
        "│ 234 │         y │\n"
        "└─────┴───────────┘\n");
}

}  // namespace
}  // namespace quorate::ctl
