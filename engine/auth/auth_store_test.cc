// The small parts of authorisation: sets of keys, base64 as Go reads it, tokens, and how the store
// lies in its tables. Its rules beside a model are in auth_model_test.cc, beside a real etcd in
// tests/api/auth_test.py.
#include "engine/auth/auth_store.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/allocator.h"
#include "base/random.h"
#include "base/test_seed.h"
#include "engine/auth/base64.h"
#include "engine/auth/simple_tokens.h"

namespace quorate::engine {
namespace {

using Interval = std::pair<std::string, std::string>;
const std::string kFromKey(1, '\0');

bool Holds(const Interval& interval, const std::string& key) {
  const auto& [begin, end] = interval;
  if (end.empty()) return key == begin;
  return key >= begin && (end == kFromKey || key < end);
}

std::string AnyKey(Random* random) {
  std::string key;
  for (uint64_t i = random->Below(3) + 1; i > 0; --i) {
    key.push_back(static_cast<char>('a' + random->Below(3)));
  }
  return key;
}

Interval AnyInterval(Random* random) {
  const std::string key = AnyKey(random);
  const uint64_t kind = random->Below(6);
  if (kind == 0) return {key, kFromKey};
  if (kind < 3) return {key, ""};
  return {key, AnyKey(random)};
}

// All keys of up to four letters, and their successors: between two bounds of such intervals there
// is always one of them.
std::vector<std::string> AllKeys() {
  std::vector<std::string> keys = {""};
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].size() == 4) break;
    for (const char c : {'a', 'b', 'c', 'd'}) keys.push_back(keys[i] + c);
  }
  for (size_t i = keys.size(); i > 0; --i) keys.push_back(keys[i - 1] + '\0');
  keys.erase(keys.begin());
  return keys;
}

TEST_CASE("key intervals: a request lies in the union of what was granted, or does not") {
  const uint64_t seed = TestSeed();
  INFO("seed " << seed);
  Random random(seed);
  const std::vector<std::string> keys = AllKeys();
  for (int round = 0; round < 300; ++round) {
    KeyIntervals set;
    std::vector<Interval> granted;
    for (uint64_t i = random.Below(6); i > 0; --i) {
      granted.push_back(AnyInterval(&random));
      set.Add(granted.back().first, granted.back().second);
    }
    const auto in_union = [&](const std::string& key) {
      for (const Interval& interval : granted) {
        if (Holds(interval, key)) return true;
      }
      return false;
    };
    for (int i = 0; i < 20; ++i) {
      const Interval asked = AnyInterval(&random);
      bool expected = in_union(asked.first);  // what is asked of an interval without keys, too
      for (const std::string& key : keys) {
        if (Holds(asked, key) && !in_union(key)) expected = false;
      }
      CAPTURE(asked.first, asked.second, granted);
      REQUIRE(set.Contains(asked.first, asked.second) == expected);
    }
  }
}

TEST_CASE("base64: as Go's standard encoding reads it") {
  CHECK(DecodeStdBase64("") == "");
  CHECK(DecodeStdBase64("YQ==") == "a");
  CHECK(DecodeStdBase64("YWI=") == "ab");
  CHECK(DecodeStdBase64("YWJj") == "abc");
  CHECK(DecodeStdBase64("YW\r\nJj\n") == "abc");
  CHECK(DecodeStdBase64("YR==") == "a");  // bits that nobody needs
  for (const char* bad : {"YQ", "YQ=", "YWJjY", "Y===", "====", "YQ==YQ==", "Y Q=", "YWJ*", "=YWJ",
                          "YQ=x", "YWJj=", "YWJj=="}) {
    CAPTURE(bad);
    CHECK(!DecodeStdBase64(bad));
  }
}

constexpr int64_t kSecond = 1'000'000'000;

TEST_CASE("simple tokens: live by use, end with time, user and clearing") {
  SimpleTokens tokens({.ttl_ns = 10 * kSecond});
  tokens.SetNow(0);
  tokens.Assign("aaaaaaaaaaaaaaaa", LogIndex(7), "ann");
  tokens.Assign("bbbbbbbbbbbbbbbb", LogIndex(8), "ben");
  CHECK(SimpleTokens::Text("aaaaaaaaaaaaaaaa", LogIndex(7)) == "aaaaaaaaaaaaaaaa.7");
  CHECK(tokens.Find("aaaaaaaaaaaaaaaa.7") == "ann");
  for (const char* wrong : {"aaaaaaaaaaaaaaab.7", "aaaaaaaaaaaaaaaa.8", "aaaaaaaaaaaaaaaa.07", ".7",
                            "aaaaaaaaaaaaaaaa.", "aaaaaaaaaaaaaaaa.7.7", "aaaaaaaaaaaaaaaa",
                            "aaaaaaaaaaaaaaaa.+7", "aaaaaaaaaaaaaaaa.99999999999999999999999"}) {
    CAPTURE(wrong);
    CHECK(!tokens.Find(wrong));
  }
  CHECK(SimpleTokens::IndexOf("x.18446744073709551615") == LogIndex(UINT64_MAX));
  CHECK(!SimpleTokens::IndexOf("x.18446744073709551616"));

  tokens.SetNow(9 * kSecond);
  CHECK(tokens.Find("aaaaaaaaaaaaaaaa.7") == "ann");  // lives on from here
  tokens.SetNow(11 * kSecond);
  CHECK(!tokens.Find("bbbbbbbbbbbbbbbb.8"));
  CHECK(tokens.size() == 1);
  tokens.SetNow(18 * kSecond);
  CHECK(tokens.Find("aaaaaaaaaaaaaaaa.7") == "ann");

  tokens.Assign("cccccccccccccccc", LogIndex(9), "ann");
  tokens.Assign("dddddddddddddddd", LogIndex(10), "ben");
  tokens.InvalidateUser("ann");
  CHECK(!tokens.Find("aaaaaaaaaaaaaaaa.7"));
  CHECK(!tokens.Find("cccccccccccccccc.9"));
  CHECK(tokens.Find("dddddddddddddddd.10") == "ben");
  tokens.Clear();
  CHECK(!tokens.Find("dddddddddddddddd.10"));
  tokens.SetNow(100 * kSecond);
  CHECK(tokens.size() == 0);
}

TEST_CASE("auth store: lies in its tables as etcd's does") {
  const std::unique_ptr<Allocator> allocator = *CreateAllocator("malloc", {});
  Window window({}, allocator.get());
  AuthStore auth(&window);
  auth.Begin();
  etcdserverpb::AuthUserAddRequest add;
  add.set_name("root");
  add.set_hashedpassword("aGFzaA==");
  REQUIRE(auth.UserAdd(add).ok());
  REQUIRE(auth.UserGrantRole("root", "root").ok());
  REQUIRE(auth.Enable().ok());
  REQUIRE(auth.RoleAdd("r").ok());
  etcdserverpb::AuthRoleGrantPermissionRequest grant;
  grant.set_name("r");
  grant.mutable_perm()->set_permtype(authpb::Permission::WRITE);
  grant.mutable_perm()->set_key("k");
  REQUIRE(auth.RoleGrantPermission(grant).ok());

  std::map<std::pair<kv::Table, std::string>, std::string> tables;
  window.EndEntry(LogIndex(1), Term(1));
  for (const auto& chunk : window.TakeSealed(Engine::Seal::kNow)) {
    for (const kv::WriteOp& op : chunk->ops()) {
      tables[{op.table, std::string(op.key)}] = std::string(op.value_or_end);
    }
  }
  // A user is written with its options also when there are none in them.
  CHECK((tables[{kv::Table::kAuthUsers, "root"}] ==
         std::string("\x0a\x04root\x12\x04hash\x1a\x04root\x22\0", 20)));
  CHECK((tables[{kv::Table::kAuthRoles, "r"}] == "\x0a\x01r\x12\x05\x08\x01\x12\x01k"));
  CHECK((tables[{kv::Table::kAuth, "authEnabled"}] == "\x01"));
  CHECK((tables[{kv::Table::kAuth, "authRevision"}] == std::string("\0\0\0\0\0\0\0\5", 8)));
}

}  // namespace
}  // namespace quorate::engine
