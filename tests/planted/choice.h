// Which planted bug is on: the number that the environment variable QUORATE_PLANTED names; 0 =
// none. Only quorate-sim-planted knows of it, see tests/planted/bugs.py.
#pragma once

namespace quorate::planted {

extern const int chosen;

}  // namespace quorate::planted
