// The server's option table: etcd's flags with etcd's names, defaults and environment variables,
// and Quorate's own knobs. Three kinds of etcd flag: it works here; it is accepted without effect
// (the log says why); or it asks for something that is not here yet, and the start is refused
// rather than the wish ignored (a wish that is silently not fulfilled would be worse than no
// start).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/options.h"

namespace quorate::server {

std::vector<OptionSpec> ServerOptionSpecs();

struct ParsedCommandLine {
  OptionValues values;
  std::vector<std::string> warnings;  // unknown ETCD_* variables
  bool help = false;
  bool version = false;
  bool print_config = false;
  std::string config_file;
};

// How a bad command line ends the process: etcd's exit codes (wire facts, lifecycle §4).
struct UsageError {
  int exit_code = 0;  // 0 = no error; 2 = flag syntax, 1 = everything else
  std::string message;
};

// Reads flags, then ETCD_* variables (both for one option: error), or --config-file alone.
// `environment` holds "NAME=value" strings.
UsageError ParseCommandLine(const std::vector<std::string>& args,
                            const std::vector<std::string>& environment, ParsedCommandLine* parsed);

}  // namespace quorate::server
