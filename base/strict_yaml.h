// Strict YAML: a document read with line numbers, where every key must be asked for. Unknown and
// duplicate keys, missing units and impossible values are kInvalidArgument with one line
// "file:line: what is wrong; known: a, b, c". Anchors, aliases and second documents are refused.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quorate {

class YamlNode;

// Parses one document; duplicate keys anywhere are an error.
absl::StatusOr<YamlNode> ParseYamlFile(const std::string& path);
absl::StatusOr<YamlNode> ParseYamlText(std::string_view text, const std::string& name_for_errors);

// A node with its place. Cheap to copy; shares the document.
class YamlNode {
 public:
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind() const;
  int line() const;                                 // 1-based
  absl::Status Error(std::string_view what) const;  // "file:line: what"

  // Scalars. A value of the wrong shape or out of [min, max] is an error that names key and line.
  absl::StatusOr<std::string> AsString() const;
  absl::StatusOr<int64_t> AsInt(int64_t min, int64_t max) const;
  absl::StatusOr<double> AsDouble(double min, double max) const;
  absl::StatusOr<bool> AsBool() const;
  absl::StatusOr<int64_t> AsDurationNs() const;  // Go notation, unit required ("10s"), >= 0
  absl::StatusOr<int64_t> AsBytes() const;       // unit required except for 0 ("256B", "1MiB")
  absl::StatusOr<std::string> AsChoice(const std::vector<std::string>& choices) const;

  // Lists.
  size_t size() const;
  YamlNode at(size_t index) const;

  // Maps. Keys in document order.
  std::vector<std::string> Keys() const;
  bool Has(std::string_view key) const;
  // Absent keys give a kNull node that carries the map's place.
  YamlNode Get(std::string_view key) const;
  // Error naming the first key that is not in `known` (with the list of known ones), or kNotFound
  // wording when this is not a map at all.
  absl::Status CheckKeys(const std::vector<std::string>& known) const;

  struct Impl;
  explicit YamlNode(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace quorate
