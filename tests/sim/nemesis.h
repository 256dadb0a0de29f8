// Nemesis: makes trouble in rounds, of the kinds and as often as the plan says.
#pragma once

#include <memory>

#include "tests/sim/plan.h"

namespace quorate::sim {

class World;

class Nemesis {
 public:
  explicit Nemesis(World* world);
  ~Nemesis();
  void Start();
  void Stop();  // what has begun is not mended

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace quorate::sim
