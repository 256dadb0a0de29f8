// OptionTable: one table per room or program lists every option with name, type, unit, default,
// bounds and text. From it come command-line flags, environment variables, YAML keys, --help and
// the effective options that a result or a log line records.
// Parse errors are kInvalidArgument with one line that names the flag (or file and line) and, for
// unknown names and choices, the known ones.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quorate {

// Where a value came from; later sources do not silently override earlier ones unless stated.
enum class OptionSource { kDefault, kFlag, kEnvironment, kFile };

struct OptionSpec {
  enum class Type { kBool, kInt, kUint, kBytes, kDuration, kString, kChoice, kStringList };
  std::string name;  // "snapshot-count", without dashes in front
  Type type = Type::kString;
  std::string default_text;          // in the notation a user would write
  std::string help;                  // one or two sentences
  std::string group;                 // heading in --help: "Member", "Clustering", ...
  std::vector<std::string> choices;  // kChoice
  int64_t min = INT64_MIN;           // kInt, kUint, kBytes, kDuration (ns)
  int64_t max = INT64_MAX;
  // Accepted for compatibility, without effect here: `no_effect` says why (logged when set).
  std::string no_effect;
  bool hidden = false;  // left out of --help
};

// Durations are Go's notation ("100ms", "1m30s", "1µs"), returned in ns. Bytes accept a bare number
// or KiB/MiB/GiB (and KB/MB/GB) suffixes. Booleans: true, false, 1, 0, t, f as Go's flag package.
absl::StatusOr<int64_t> ParseGoDuration(std::string_view text);
std::string FormatGoDuration(int64_t ns);  // "1m30s", "100ms", "0s", as Go prints it
absl::StatusOr<int64_t> ParseByteSize(std::string_view text);
absl::StatusOr<bool> ParseGoBool(std::string_view text);

// Values by option name. Not thread-safe; read-only after parsing.
class OptionValues {
 public:
  explicit OptionValues(std::vector<OptionSpec> specs);

  // Sets from text; checks type, bounds and choices. `where` heads the error: "--name",
  // "ETCD_NAME", "file.yml:12". Replaces what any source set before: who must refuse a second
  // source asks Source() first.
  absl::Status Set(std::string_view name, std::string_view text, OptionSource source,
                   std::string_view where);

  // --name=value, --name value, -name; bare --name for booleans; a repeated flag: the last wins;
  // unknown flag: error with the closest known names. Non-flag words are returned in order, and so
  // is everything behind a bare "--". After an error some flags may already be set.
  absl::StatusOr<std::vector<std::string>> ParseFlags(const std::vector<std::string>& args);

  bool GetBool(std::string_view name) const;
  int64_t GetInt(std::string_view name) const;                    // kInt, kUint, kBytes, kDuration
  const std::string& GetString(std::string_view name) const;      // kString, kChoice
  std::vector<std::string> GetList(std::string_view name) const;  // kStringList, split at commas
  OptionSource Source(std::string_view name) const;
  const std::string& Text(std::string_view name) const;  // as given, or the default

  const std::vector<OptionSpec>& specs() const { return specs_; }
  const OptionSpec* Find(std::string_view name) const;
  // --help: groups, flags aligned, defaults and choices shown, lines at most 100 wide.
  std::string HelpText() const;

 private:
  struct Value {
    std::string text;
    OptionSource source = OptionSource::kDefault;
    int64_t number = 0;
  };
  size_t IndexOf(std::string_view name) const;
  std::string ClosestNamesHint(std::string_view name, std::string_view prefix) const;

  std::vector<OptionSpec> specs_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::vector<Value> values_;
};

}  // namespace quorate
