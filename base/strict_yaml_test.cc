#include "base/strict_yaml.h"

#include <catch2/catch.hpp>

#include "base/file_env.h"
#include "base/temp_dir.h"

namespace quorate {
namespace {

using Catch::Contains;

YamlNode Parse(std::string_view text) {
  const auto node = ParseYamlText(text, "w.yml");
  INFO(node.status().ToString());
  REQUIRE(node.ok());
  return *node;
}

std::string ParseError(std::string_view text) {
  const auto node = ParseYamlText(text, "w.yml");
  REQUIRE_FALSE(node.ok());
  REQUIRE(absl::IsInvalidArgument(node.status()));
  return std::string(node.status().message());
}

template <class T>
std::string ErrorOf(const absl::StatusOr<T>& result) {
  REQUIRE_FALSE(result.ok());
  REQUIRE(absl::IsInvalidArgument(result.status()));
  return std::string(result.status().message());
}

constexpr std::string_view kDocument = R"(# a comment
name: first run
rate: 2000
zipf: 0.99
warm-up: 1.5s
size: 256B
verify: true
keys:
  kind: uniform
  count: "17"
phases:
  - put
  - {op: range, weight: 3}
nothing:
)";

TEST_CASE("Values are read with their types and places") {
  const YamlNode root = Parse(kDocument);
  REQUIRE(root.kind() == YamlNode::Kind::kMap);
  REQUIRE(root.Keys() == std::vector<std::string>{"name", "rate", "zipf", "warm-up", "size",
                                                  "verify", "keys", "phases", "nothing"});
  REQUIRE(*root.Get("name").AsString() == "first run");
  REQUIRE(*root.Get("rate").AsInt(1, 10'000) == 2000);
  REQUIRE(*root.Get("zipf").AsDouble(0, 1) == 0.99);
  REQUIRE(*root.Get("warm-up").AsDurationNs() == 1'500'000'000);
  REQUIRE(*root.Get("size").AsBytes() == 256);
  REQUIRE(*root.Get("verify").AsBool());
  REQUIRE(*root.Get("keys").Get("kind").AsChoice({"uniform", "zipf"}) == "uniform");
  REQUIRE(*root.Get("keys").Get("count").AsInt(0, 100) == 17);
  REQUIRE(root.Get("keys").Get("count").line() == 10);
  const YamlNode phases = root.Get("phases");
  REQUIRE(phases.kind() == YamlNode::Kind::kList);
  REQUIRE(phases.size() == 2);
  REQUIRE(*phases.at(0).AsString() == "put");
  REQUIRE(*phases.at(1).Get("weight").AsInt(0, 9) == 3);
  REQUIRE(phases.at(1).line() == 13);
  REQUIRE(root.Get("nothing").kind() == YamlNode::Kind::kNull);
  REQUIRE(root.Has("nothing"));
  REQUIRE_FALSE(root.Has("absent"));
  REQUIRE(root.Get("rate").Error("too fast").message() == "w.yml:3: too fast");
}

TEST_CASE("Unknown keys are named with line and the known ones") {
  const YamlNode root = Parse("name: x\nrat: 5\n");
  REQUIRE(root.CheckKeys({"name", "rate", "rat"}).ok());
  REQUIRE(root.CheckKeys({"name", "rate"}).message() ==
          "w.yml:2: unknown key \"rat\" (did you mean rate?); known: name, rate");
  REQUIRE(Parse("a:\n- x\n").Get("a").CheckKeys({"k"}).message() ==
          "w.yml:2: a: is a list; expected a map with keys; known: k");
  REQUIRE(Parse("a: 1\n").Get("b").CheckKeys({"k"}).message() ==
          "w.yml:1: b: is missing; expected a map with keys; known: k");
}

TEST_CASE("Duplicate keys are refused at any depth") {
  REQUIRE(ParseError("a: 1\nb: 2\na: 3\n") ==
          "w.yml:3: key \"a\" appears twice; the first is in line 1");
  REQUIRE(ParseError("list:\n- {x: 1, y: 2}\n- x: 1\n  y:\n    z: 1\n    z: 2\n") ==
          "w.yml:6: key \"z\" appears twice; the first is in line 5");
  REQUIRE(ParseError("\"a\": 1\na: 1\n") ==
          "w.yml:2: key \"a\" appears twice; the first is in line 1");
}

TEST_CASE("Wrong values are named with key, line and what is possible") {
  const YamlNode root = Parse(
                            "a:\n  rate: fast\n  n: 11\n  list: [1]\n  none:\n  bare: 10\n"
                            "  zero: 0\n  minus: -5s\n  map: {}\n  huge: 99999999999999999999\n"
                            "  nan: nan\n")
                            .Get("a");
  REQUIRE(ErrorOf(root.Get("rate").AsInt(0, 9)) ==
          "w.yml:2: a.rate: \"fast\" is not a whole number");
  REQUIRE(ErrorOf(root.Get("n").AsInt(1, 10)) ==
          "w.yml:3: a.n: 11 is out of range; possible: 1 to 10");
  REQUIRE(ErrorOf(root.Get("n").AsDouble(0, 1)) ==
          "w.yml:3: a.n: 11 is out of range; possible: 0 to 1");
  REQUIRE(ErrorOf(root.Get("list").AsString()) == "w.yml:4: a.list: is a list; expected a text");
  REQUIRE_THAT(ErrorOf(root.Get("list").at(0).AsBool()), Contains("w.yml:4: a.list[0]: "));
  REQUIRE(ErrorOf(root.Get("none").AsBool()) ==
          "w.yml:5: a.none: has no value; expected true or false");
  REQUIRE(ErrorOf(root.Get("gone").AsBytes()) ==
          "w.yml:2: a.gone: is missing; expected a size such as 256B");
  REQUIRE_THAT(ErrorOf(root.Get("bare").AsDurationNs()), Contains("missing unit"));
  REQUIRE_THAT(ErrorOf(root.Get("bare").AsBytes()), Contains("missing unit; known: B, KiB"));
  REQUIRE_THAT(ErrorOf(root.Get("zero").AsDurationNs()), Contains("missing unit"));
  REQUIRE(*root.Get("zero").AsBytes() == 0);
  REQUIRE_THAT(ErrorOf(root.Get("minus").AsDurationNs()), Contains("cannot be negative"));
  REQUIRE(ErrorOf(root.Get("map").AsDouble(0, 1)) == "w.yml:9: a.map: is a map; expected a number");
  REQUIRE_THAT(ErrorOf(root.Get("huge").AsInt(0, 9)), Contains("out of range; possible: 0 to 9"));
  REQUIRE_FALSE(root.Get("nan").AsDouble(0, 1).ok());
  REQUIRE(ErrorOf(root.Get("rate").AsChoice({"x", "y"})) ==
          "w.yml:2: a.rate: unknown value \"fast\"; known: x, y");
  REQUIRE(ErrorOf(root.Get("rate").AsBool()) ==
          "w.yml:2: a.rate: unknown value \"fast\"; known: true, false");
}

TEST_CASE("What is not one plain YAML document is refused with its line") {
  REQUIRE_THAT(ParseError("a: [1, 2\nb: 3\n"), Contains("w.yml:"));
  REQUIRE_THAT(ParseError("a: [1, 2\nb: 3\n"), Contains("not valid YAML"));
  REQUIRE_THAT(ParseError("a: 1\n---\nb: 2\n"), Contains("second document"));
  REQUIRE_THAT(ParseError("a: &x 1\nb: *x\n"), Contains("w.yml:1: anchors"));
  REQUIRE_THAT(ParseError("? [1, 2]\n: 3\n"), Contains("plain text"));
  REQUIRE_THAT(ParseError("a: \"\n"), Contains("not valid YAML"));
  REQUIRE_FALSE(ParseYamlText(std::string(100'000, '['), "w.yml").ok());
}

TEST_CASE("An empty document is a null node") {
  REQUIRE(Parse("").kind() == YamlNode::Kind::kNull);
  REQUIRE(Parse("# only a comment\n").CheckKeys({"a", "b"}).message() ==
          "w.yml:1: has no value; expected a map with keys; known: a, b");
}

TEST_CASE("Files are read by path, a missing one is kNotFound") {
  TempDir dir;
  const std::string path = dir.path() + "/x.yml";
  REQUIRE(absl::IsNotFound(ParseYamlFile(path).status()));
  REQUIRE(WriteFileAtomically(PosixFileEnv(), path, "a: 5\n").ok());
  const auto node = ParseYamlFile(path);
  REQUIRE(node.ok());
  REQUIRE(node->Get("a").Error("x").message() == path + ":1: x");
}

}  // namespace
}  // namespace quorate
