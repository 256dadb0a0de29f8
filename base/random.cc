// xoshiro256** 1.0 and its seeding by splitmix64, after Blackman and Vigna, "Scrambled linear
// pseudorandom number generators" (2018). Bounded draws after Lemire, "Fast random integer
// generation in an interval" (2019).
#include "base/random.h"

#include <bit>

#include "base/check.h"

namespace quorate {

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
}

uint64_t Random::Next() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::Below(uint64_t bound) {
  QR_CHECK(bound > 0);
  __extension__ using Wide = unsigned __int128;
  Wide product = Wide{Next()} * bound;
  auto low = static_cast<uint64_t>(product);
  if (low < bound) {
    // The few lowest products would make some results likelier than others: draw again.
    const uint64_t unfair = (0 - bound) % bound;
    while (low < unfair) {
      product = Wide{Next()} * bound;
      low = static_cast<uint64_t>(product);
    }
  }
  return static_cast<uint64_t>(product >> 64);
}

int64_t Random::Between(int64_t low, int64_t high) {
  QR_CHECK(low <= high);
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  // A span of 0 means all 2^64 values.
  const uint64_t offset = span == 0 ? Next() : Below(span);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

double Random::Unit() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

}  // namespace quorate
