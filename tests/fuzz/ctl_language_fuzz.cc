// A line of a transaction or of `watch -i`, as a user types it to quoratectl.
#include "ctl/txn_language.h"
#include "tests/fuzz/fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quorate::fuzz::FuzzInput input(data, size);
  const std::string_view line = input.Rest();
  (void)quorate::ctl::SplitWords(line);
  (void)quorate::ctl::ParseCompare(line);
  (void)quorate::ctl::ParseOperation(line);
  return 0;
}
