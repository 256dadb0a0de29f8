// The workload language: strict YAML to a Workload, and back. Errors are kInvalidArgument with one
// line "file:line: what is wrong", which lists the known names where a name is wrong. `describe`
// prints the language from the same tables that parse it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "workloads/workload.h"

namespace quorate::workload {

// What a command line changes. `parameters` replace the file's defaults by name; duration and rate
// replace those of every measured phase (of its open loops).
struct Overrides {
  std::vector<std::pair<std::string, std::string>> parameters;
  std::optional<int64_t> duration_ns;
  std::optional<double> rate;
  std::optional<int64_t> seed;
};

absl::StatusOr<Workload> ReadWorkloadFile(const std::string& path, const Overrides& overrides);
absl::StatusOr<Workload> ParseWorkload(std::string_view text, const std::string& name_for_errors,
                                       const Overrides& overrides);

// The effective workload as YAML that parses to the same workload.
std::string PrintWorkload(const Workload& workload);

// The reference of the language, for people.
std::string DescribeLanguage();

// $(name) in scalars of `text` becomes the parameter's value; comments stay as they are. Unknown
// names are an error with the known ones.
absl::StatusOr<std::string> SubstituteParameters(
    std::string_view text, const std::string& name_for_errors,
    const std::vector<std::pair<std::string, std::string>>& parameters);

}  // namespace quorate::workload
