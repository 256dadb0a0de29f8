// A workload file as a user writes it: parsed, and if it is one, printed and parsed again to the
// same.
#include <string>

#include "base/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "workloads/language.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using quorate::workload::ParseWorkload;
  using quorate::workload::PrintWorkload;
  quorate::fuzz::FuzzInput input(data, size);
  const auto workload = ParseWorkload(input.Rest(), "input.yaml", {});
  if (!workload.ok()) return 0;
  const std::string printed = PrintWorkload(*workload);
  const auto again = ParseWorkload(printed, "printed.yaml", {});
  QR_CHECK_MSG(again.ok(), printed);
  QR_CHECK_MSG(PrintWorkload(*again) == printed, printed);
  return 0;
}
