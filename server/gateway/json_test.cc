// JSON in and out, by the rules that etcd's gateway was seen to follow.
#include <catch2/catch.hpp>
#include <string>

#include "proto/etcdserverpb.pb.h"
#include "server/gateway/base64.h"
#include "server/gateway/json_reader.h"
#include "server/gateway/json_writer.h"

namespace quorate::server {
namespace {

template <class Message>
std::string Read(std::string_view json) {
  JsonReader reader(json);
  Message message;
  const absl::Status status = reader.Next(&message);
  if (!status.ok()) return "error: " + std::string(status.message());
  std::string out;
  AppendJson(message, &out);
  return out;
}

std::string ReadPut(std::string_view json) { return Read<etcdserverpb::PutRequest>(json); }
std::string ReadTxn(std::string_view json) { return Read<etcdserverpb::TxnRequest>(json); }
bool Fails(std::string_view json) { return ReadPut(json).rfind("error: ", 0) == 0; }

TEST_CASE("json: names, numbers, unknown fields and nulls as etcd takes them", "[gateway]") {
  REQUIRE(ReadPut("{}") == "{}");
  REQUIRE(ReadPut(" { \"key\" : \"Zm9v\" , \"prevKv\" : true } x") ==
          R"({"key":"Zm9v","prev_kv":true})");
  REQUIRE(ReadPut(R"({"prev_kv":true,"ignore_value":false})") == R"({"prev_kv":true})");
  for (const char* number : {"100", "\"100\"", "1e2", "\"1e2\"", "100.0", "1.00E+2", "10000e-2"}) {
    INFO(number);
    REQUIRE(ReadPut("{\"lease\":" + std::string(number) + "}") == R"({"lease":"100"})");
  }
  REQUIRE(ReadPut(R"({"lease":-9223372036854775808})") == R"({"lease":"-9223372036854775808"})");
  REQUIRE(ReadPut(R"({"lease":-0,"key":null,"value":""})") == "{}");
  REQUIRE(ReadPut(R"({"x":{"y":[1,-2.5e-7,"\ud83d\ude00",null,true,{}]},"@type":"z"})") == "{}");
  REQUIRE(ReadPut(R"({"key":"\u005am9v"})") == R"({"key":"Zm9v"})");
}

TEST_CASE("json: what etcd refuses is refused", "[gateway]") {
  for (const char* json : {"",
                           "{",
                           "[1]",
                           "null",
                           "5",
                           R"({"key":5})",
                           R"({"key":{}})",
                           R"({"key":"%%"})",
                           R"({"lease":"1.5"})",
                           R"({"lease":"0x1"})",
                           R"({"lease":" 1"})",
                           R"({"lease":""})",
                           R"({"lease":true})",
                           R"({"lease":9223372036854775808})",
                           R"({"lease":01})",
                           R"({"lease":1e99999999999999999999})",
                           R"({"lease":1.})",
                           R"({"lease":+1})",
                           R"({"prev_kv":"true"})",
                           R"({"prev_kv":1})",
                           R"({"prev_kv":[true]})",
                           R"({"key":"Zm9v","key":"Zm9v"})",
                           R"({"prev_kv":true,"prevKv":true})",
                           R"({"key":"Zm9v",})",
                           R"({'key':'Zm9v'})",
                           R"({key:"Zm9v"})",
                           R"({"key" "Zm9v"})",
                           R"({"x":[1,]})",
                           R"({"x":tru})",
                           R"({"\ud800":1})",
                           R"({"\udc00\ud800":1})",
                           R"({"\x":1})",
                           R"({"\u12g4":1})",
                           "{\"x\":\"a\nb\"}",
                           "{\"x\":\"\xff\"}",
                           "{\"x\":\"\xed\xa0\x80\"}",
                           "{\"x\":\"\xc0\x80\"}",
                           R"({"x":"abc)",
                           R"({"x":"abc\)",
                           R"({"x":[1})"}) {
    INFO(json);
    REQUIRE(Fails(json));
  }
}

TEST_CASE("json: enums by name or number, unknown names dropped; oneofs once", "[gateway]") {
  REQUIRE(ReadTxn(R"({"compare":[{"target":"VALUE","result":1,"value":"YQ=="},
                                 {"target":"FOO","key":"Zm9v"},{"target":77}]})") ==
          R"({"compare":[{"result":"GREATER","target":"VALUE","value":"YQ=="},)"
          R"({"key":"Zm9v"},{"target":77}]})");
  REQUIRE(ReadTxn(R"({"success":[{"requestRange":{}},{"request_put":null}]})") ==
          R"({"success":[{"request_range":{}},{}]})");
  REQUIRE(ReadTxn(R"({"success":null})") == "{}");
  for (const char* json : {R"({"success":[null]})", R"({"success":{}})",
                           R"({"success":[{"request_range":{},"request_put":{}}]})",
                           R"({"compare":[{"version":1,"value":"YQ=="}]})"}) {
    INFO(json);
    REQUIRE(ReadTxn(json).rfind("error: ", 0) == 0);
  }
}

TEST_CASE("json: values that nest without end are an error and no crash", "[gateway]") {
  REQUIRE(Fails("{\"x\":" + std::string(1'000'000, '[')));
  std::string txn;
  for (int i = 0; i < 50'000; ++i) txn += R"({"success":[{"request_txn":)";
  REQUIRE(ReadTxn(txn).rfind("error: ", 0) == 0);
}

TEST_CASE("json: one object after the other", "[gateway]") {
  JsonReader reader(" {\"key\":\"YQ==\"}{} \n {\"key\":\"Yg\"}\n oops");
  etcdserverpb::PutRequest a, b, c, d;
  REQUIRE(reader.Next(&a).ok());
  REQUIRE(reader.Next(&b).ok());
  REQUIRE((!reader.AtEnd() && reader.Next(&c).ok()));
  REQUIRE((a.key() == "a" && b.key().empty() && c.key() == "b"));
  REQUIRE(!reader.AtEnd());
  REQUIRE(!reader.Next(&d).ok());
}

TEST_CASE("json: base64 of both alphabets, padded or not", "[gateway]") {
  REQUIRE(DecodeJsonBytes("") == "");
  REQUIRE(DecodeJsonBytes("/+8=") == "\xff\xef");
  REQUIRE(DecodeJsonBytes("_-8") == "\xff\xef");
  REQUIRE(DecodeJsonBytes("Zm9v") == "foo");
  REQUIRE(DecodeJsonBytes("Zm\r\n9v\n") == "foo");
  REQUIRE(DecodeJsonBytes("Zh==") == "f");
  for (const char* text :
       {"Z", "Zg=", "Z g==", "Zg===", "====", "=Zg", "Zg=a", "Zm9v=", "/-8=", "%"}) {
    INFO(text);
    REQUIRE(!DecodeJsonBytes(text).has_value());
  }
}

TEST_CASE("json: answers hold what is set, in the field's own spelling", "[gateway]") {
  etcdserverpb::StatusResponse status;
  status.mutable_header()->set_cluster_id(UINT64_MAX);
  status.set_version("a\"b\\\n\x01 <\xc3\xa9>");
  status.set_raftterm(7);
  status.add_errors("one");
  status.add_errors("");
  std::string out;
  AppendJson(status, &out);
  REQUIRE(out == R"({"header":{"cluster_id":"18446744073709551615"},"version":"a\"b\\\n\u0001 <)"
                 "\xc3\xa9"
                 R"(>","raftTerm":"7","errors":["one",""]})");
  etcdserverpb::HashResponse hash;
  hash.set_hash(4294967295);
  out.clear();
  AppendJson(hash, &out);
  REQUIRE(out == R"({"hash":4294967295})");
}

}  // namespace
}  // namespace quorate::server
