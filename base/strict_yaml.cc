// Built on yaml-cpp's event parser and not on its node tree: that one keeps duplicate keys in
// silence and resolves aliases, which lets a short file grow without limit.
#include "base/strict_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>
#include <utility>

#include "base/check.h"
#include "base/edit_distance.h"
#include "base/file_env.h"
#include "base/options.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate {

struct YamlNode::Impl {
  struct Child {
    std::string key;  // empty in lists
    int key_line = 0;
    std::shared_ptr<Impl> node;
  };

  std::shared_ptr<const std::string> file;
  Kind kind = Kind::kNull;
  int line = 1;
  bool absent = false;  // stands for a key that is not there
  std::string path;     // "phases[1].rate"; empty for the document itself
  std::string text;     // scalars
  std::vector<Child> children;

  const Child* FindChild(std::string_view key) const {
    for (const Child& child : children) {
      if (child.key == key) return &child;
    }
    return nullptr;
  }
};

namespace {

using Impl = YamlNode::Impl;
using Kind = YamlNode::Kind;

absl::Status ErrorAt(const Impl& node, int line, std::string_view what) {
  return absl::InvalidArgumentError(StrCat(*node.file, ":", line, ": ", what));
}

// Collects one document. After the first error everything else is ignored.
class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(std::shared_ptr<const std::string> file) : file_(std::move(file)) {
    root_ = NewNode(Kind::kNull, 1);
  }

  const absl::Status& status() const { return status_; }
  std::shared_ptr<Impl> root() const { return root_; }
  int documents() const { return documents_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) Fail(mark.line + 1, "a second document; exactly one is expected");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    AddScalar(Kind::kNull, mark, anchor, "");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    AddScalar(Kind::kScalar, mark, anchor, value);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Fail(mark.line + 1, "aliases (*name) are not supported; write the value out");
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct OpenNode {
    std::shared_ptr<Impl> node;
    bool key_is_next = true;  // maps
    std::string key;
    int key_line = 0;
  };

  std::shared_ptr<Impl> NewNode(Kind kind, int line) const {
    auto node = std::make_shared<Impl>();
    node->file = file_;
    node->kind = kind;
    node->line = line;
    return node;
  }

  void Fail(int line, std::string_view what) {
    if (status_.ok()) status_ = ErrorAt(*root_, line, what);
  }

  bool Accepts(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) {
      Fail(mark.line + 1, "anchors (&name) are not supported; write the value out");
    }
    return status_.ok();
  }

  bool KeyIsNext() const {
    return !open_.empty() && open_.back().node->kind == Kind::kMap && open_.back().key_is_next;
  }

  void AddScalar(Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor,
                 const std::string& text) {
    const int line = mark.line + 1;
    if (!Accepts(mark, anchor)) return;
    if (KeyIsNext()) {
      TakeKey(kind, line, text);
      return;
    }
    std::shared_ptr<Impl> node = NewNode(kind, line);
    node->text = text;
    // The parser notices a missing value only at what follows it, lines later.
    if (kind == Kind::kNull && open_.empty()) node->line = 1;
    if (kind == Kind::kNull && !open_.empty() && open_.back().node->kind == Kind::kMap) {
      node->line = open_.back().key_line;
    }
    Attach(std::move(node));
  }

  void TakeKey(Kind kind, int line, const std::string& text) {
    OpenNode& map = open_.back();
    if (kind != Kind::kScalar) {
      Fail(line, "a key is missing before \":\"");
      return;
    }
    if (const Impl::Child* first = map.node->FindChild(text); first != nullptr) {
      Fail(line,
           StrCat("key \"", text, "\" appears twice; the first is in line ", first->key_line));
      return;
    }
    map.key = text;
    map.key_line = line;
    map.key_is_next = false;
  }

  void Attach(std::shared_ptr<Impl> node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = open_.back();
    Impl& into = *parent.node;
    if (into.kind == Kind::kMap) {
      node->path = into.path.empty() ? parent.key : StrCat(into.path, ".", parent.key);
      into.children.push_back({std::move(parent.key), parent.key_line, std::move(node)});
      parent.key_is_next = true;
    } else {
      node->path = StrCat(into.path, "[", into.children.size(), "]");
      into.children.push_back({"", node->line, std::move(node)});
    }
  }

  void Open(Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (!Accepts(mark, anchor)) return;
    if (KeyIsNext()) {
      Fail(mark.line + 1, "a key must be plain text, not a list or map");
      return;
    }
    std::shared_ptr<Impl> node = NewNode(kind, mark.line + 1);
    Attach(node);
    open_.push_back({.node = std::move(node)});
  }

  void Close() {
    if (status_.ok()) open_.pop_back();
  }

  const std::shared_ptr<const std::string> file_;
  absl::Status status_;
  std::shared_ptr<Impl> root_;
  std::vector<OpenNode> open_;
  int documents_ = 0;
};

// "phases[1].rate: what is wrong with its value" in its line.
absl::Status ValueError(const Impl& node, std::string_view what) {
  return ErrorAt(node, node.line,
                 node.path.empty() ? std::string(what) : StrCat(node.path, ": ", what));
}

// The text of a scalar; `expected` says what a user should have written.
absl::StatusOr<std::string_view> ScalarText(const Impl& node, std::string_view expected) {
  switch (node.kind) {
    case Kind::kScalar:
      return std::string_view(node.text);
    case Kind::kNull:
      return ValueError(
          node, StrCat(node.absent ? "is missing" : "has no value", "; expected ", expected));
    case Kind::kList:
      return ValueError(node, StrCat("is a list; expected ", expected));
    case Kind::kMap:
      return ValueError(node, StrCat("is a map; expected ", expected));
  }
  return ValueError(node, expected);
}

template <class Number>
absl::StatusOr<Number> ParseNumber(const Impl& node, Number min, Number max,
                                   std::string_view expected) {
  QR_ASSIGN_OR_RETURN(const std::string_view text, ScalarText(node, expected));
  Number value{};
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec == std::errc::invalid_argument || parsed.ptr != end) {
    return ValueError(node, StrCat("\"", text, "\" is not ", expected));
  }
  if (parsed.ec != std::errc() || !(value >= min && value <= max)) {
    return ValueError(node, StrCat(text, " is out of range; possible: ", min, " to ", max));
  }
  return value;
}

}  // namespace

absl::StatusOr<YamlNode> ParseYamlText(std::string_view text, const std::string& name_for_errors) {
  Builder builder(std::make_shared<const std::string>(name_for_errors));
  // yaml-cpp lets the end of the text close a quoted scalar; a document end marker does not.
  std::istringstream stream(StrCat(text, "\n...\n"));
  try {
    YAML::Parser parser(stream);
    while (builder.status().ok() && parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    // An error found before the parser stumbled stands earlier in the text.
    QR_RETURN_IF_ERROR(builder.status());
    return absl::InvalidArgumentError(
        StrCat(name_for_errors, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
  QR_RETURN_IF_ERROR(builder.status());
  return YamlNode(builder.root());
}

absl::StatusOr<YamlNode> ParseYamlFile(const std::string& path) {
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFileToString(PosixFileEnv(), path));
  return ParseYamlText(text, path);
}

YamlNode::Kind YamlNode::kind() const { return impl_->kind; }
int YamlNode::line() const { return impl_->line; }
absl::Status YamlNode::Error(std::string_view what) const {
  return ErrorAt(*impl_, impl_->line, what);
}

absl::StatusOr<std::string> YamlNode::AsString() const {
  QR_ASSIGN_OR_RETURN(const std::string_view text, ScalarText(*impl_, "a text"));
  return std::string(text);
}

absl::StatusOr<int64_t> YamlNode::AsInt(int64_t min, int64_t max) const {
  return ParseNumber<int64_t>(*impl_, min, max, "a whole number");
}

absl::StatusOr<double> YamlNode::AsDouble(double min, double max) const {
  return ParseNumber<double>(*impl_, min, max, "a number");
}

absl::StatusOr<bool> YamlNode::AsBool() const {
  QR_ASSIGN_OR_RETURN(const std::string_view text, ScalarText(*impl_, "true or false"));
  if (text == "true") return true;
  if (text == "false") return false;
  return ValueError(*impl_, StrCat("unknown value \"", text, "\"; known: true, false"));
}

absl::StatusOr<int64_t> YamlNode::AsDurationNs() const {
  QR_ASSIGN_OR_RETURN(const std::string_view text, ScalarText(*impl_, "a duration such as 10s"));
  const absl::StatusOr<int64_t> duration_ns = ParseGoDuration(text);
  if (!duration_ns.ok()) return ValueError(*impl_, ToStd(duration_ns.status().message()));
  if (text.find_first_not_of("0") == std::string_view::npos) {
    return ValueError(*impl_, StrCat("\"", text, "\": missing unit; write 0s"));
  }
  if (*duration_ns < 0) {
    return ValueError(*impl_, StrCat(text, " is out of range; a duration cannot be negative"));
  }
  return duration_ns;
}

absl::StatusOr<int64_t> YamlNode::AsBytes() const {
  QR_ASSIGN_OR_RETURN(const std::string_view text, ScalarText(*impl_, "a size such as 256B"));
  const absl::StatusOr<int64_t> bytes = ParseByteSize(text);
  if (!bytes.ok()) return ValueError(*impl_, ToStd(bytes.status().message()));
  const bool has_unit = text.back() == 'B';
  if (!has_unit && *bytes != 0) {
    return ValueError(*impl_, StrCat("\"", text, "\": missing unit; known: B, KiB, MiB, GiB, ",
                                     "TiB, KB, MB, GB, TB"));
  }
  return bytes;
}

absl::StatusOr<std::string> YamlNode::AsChoice(const std::vector<std::string>& choices) const {
  const std::string known = StrJoin(choices, ", ");
  QR_ASSIGN_OR_RETURN(const std::string_view text, ScalarText(*impl_, StrCat("one of: ", known)));
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return std::string(text);
  return ValueError(*impl_, StrCat("unknown value \"", text, "\"; known: ", known));
}

size_t YamlNode::size() const { return impl_->children.size(); }

YamlNode YamlNode::at(size_t index) const {
  QR_CHECK(index < impl_->children.size());
  return YamlNode(impl_->children[index].node);
}

std::vector<std::string> YamlNode::Keys() const {
  std::vector<std::string> keys;
  if (impl_->kind != Kind::kMap) return keys;
  for (const Impl::Child& child : impl_->children) keys.push_back(child.key);
  return keys;
}

bool YamlNode::Has(std::string_view key) const {
  return impl_->kind == Kind::kMap && impl_->FindChild(key) != nullptr;
}

YamlNode YamlNode::Get(std::string_view key) const {
  if (impl_->kind == Kind::kMap) {
    const Impl::Child* child = impl_->FindChild(key);
    if (child != nullptr) return YamlNode(child->node);
  }
  auto absent = std::make_shared<Impl>();
  absent->file = impl_->file;
  absent->line = impl_->line;
  absent->absent = true;
  absent->path = impl_->path.empty() ? std::string(key) : StrCat(impl_->path, ".", key);
  return YamlNode(std::move(absent));
}

absl::Status YamlNode::CheckKeys(const std::vector<std::string>& known) const {
  const std::string known_text = StrCat("known: ", StrJoin(known, ", "));
  if (impl_->kind != Kind::kMap) {
    const std::string_view found = impl_->kind == Kind::kList     ? "is a list"
                                   : impl_->kind == Kind::kScalar ? "is a single value"
                                   : impl_->absent                ? "is missing"
                                                                  : "has no value";
    return ValueError(*impl_, StrCat(found, "; expected a map with keys; ", known_text));
  }
  for (const Impl::Child& child : impl_->children) {
    if (std::find(known.begin(), known.end(), child.key) != known.end()) continue;
    const std::vector<std::string_view> names(known.begin(), known.end());
    const std::vector<std::string_view> closest = ClosestNames(child.key, names);
    const std::string hint = closest.empty() ? "" : StrCat(" (did you mean ", closest[0], "?)");
    return ErrorAt(*impl_, child.key_line,
                   StrCat("unknown key \"", child.key, "\"", hint, "; ", known_text));
  }
  return absl::OkStatus();
}

}  // namespace quorate
