#include "tests/planted/choice.h"

#include <cstdlib>

namespace quorate::planted {
namespace {

int Choice() {
  const char* number = std::getenv("QUORATE_PLANTED");
  return number == nullptr ? 0 : std::atoi(number);
}

}  // namespace

const int chosen = Choice();

}  // namespace quorate::planted
