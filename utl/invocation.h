// What a command of quorateutl works with, and how it answers. Outputs and exit codes are etcdutl's
// (wire facts, etcdutl.tsv).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/options.h"

namespace quorate::utl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitBadFeature = 4;  // a format that does not exist, or not for this command
inline constexpr int kExitBadArguments = 128;

enum class Format { kSimple, kJson, kFields, kTable, kProtobuf };

struct Invocation {
  OptionValues values;
  std::vector<std::string> words;  // behind the command
  Format format = Format::kSimple;
};

struct Command {
  std::string name;       // its words: "snapshot status"
  std::string arguments;  // what follows: "<filename>"
  std::string help;       // one line
  std::vector<OptionSpec> flags;
  std::vector<std::string> required;  // flags without which it does not run
  int (*run)(const Invocation& invocation);
};

// One per file *_commands.cc, in the order of --help.
std::vector<Command> SnapshotCommands();
std::vector<Command> StorageCommands();
std::vector<Command> DumpCommands();
std::vector<Command> VerifyCommands();

void Out(std::string_view text);
// "Error: text" on standard error; answers `code`.
int Fail(int code, std::string_view text);
int Fail(const absl::Status& status);  // kExitError with its message

// One figure of an answer of a few figures, in every format.
struct Figure {
  std::string heading;     // of a table: "TOTAL KEYS"
  std::string field;       // "Keys"
  std::string field_text;  // what stands behind it
  std::string json_name;   // "totalKey"
  std::string json;        // its JSON
  std::string shown;       // simple and table
};
Figure NumberFigure(std::string heading, std::string field, std::string json_name, int64_t value);
int Print(const Invocation& invocation, const std::vector<Figure>& figures);

}  // namespace quorate::utl
