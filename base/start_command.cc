#include "base/start_command.h"

#include <cstdio>
#include <utility>

#include "absl/status/statusor.h"
#include "base/text.h"

namespace quorate {

int RunStartCommand(std::vector<OptionSpec> flags, const char* usage,
                    const std::vector<std::string>& args,
                    const std::function<absl::Status(const OptionValues&)>& serve) {
  OptionValues values(std::move(flags));
  const absl::StatusOr<std::vector<std::string>> words = values.ParseFlags(args);
  if (words.ok() && (values.GetBool("help") || words->empty())) {
    std::printf("%s%s", usage, values.HelpText().c_str());
    return 0;
  }
  absl::Status status = words.status();
  if (status.ok() && *words != std::vector<std::string>{"start"}) {
    status = absl::InvalidArgumentError(StrCat("unknown command \"", words->front(), "\""));
  }
  if (status.ok()) status = serve(values);
  std::fprintf(stderr, "Error: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace quorate
