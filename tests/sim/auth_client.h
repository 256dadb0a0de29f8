// AuthClient: adds a user and a role, grants and takes away, over and over, while nobody has to say
// who he is. The names are its own and it asks one thing after the other, so it knows what every
// answer must be, and what must be there at rest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/auth/auth_store.h"
#include "tests/sim/kv_client.h"

namespace quorate::sim {

class AuthClient {
 public:
  AuthClient(ClientWorld* world, Place place) : world_(world), place_(place) { TakeNewNames(); }
  void Start() { Later(); }

  // Empty while every answer was right and the member's tables say what the answers said; otherwise
  // what is wrong.
  std::string Judge(const engine::AuthStore& store) const;

 private:
  // What the answers said of the client's user and role.
  struct Known {
    bool user = false, role = false;
    bool assigned = false;  // the role to the user
    bool granted = false;   // to the role its permission
    bool operator==(const Known&) const = default;
  };
  struct Step {
    std::string_view method;
    std::string request;
    bool fits;    // what it asks for is there, or not there yet
    Known after;  // if it fits
  };

  void Later();
  void Go();
  Step Draw();
  void OnAnswer(const Step& step, const CallResult& result);
  // An operation without an answer may happen any time later: its names are given up.
  void TakeNewNames();

  ClientWorld* const world_;
  const Place place_;
  uint64_t names_taken_ = 0;
  std::string user_, role_;
  Known known_;
  std::string wrong_;
};

}  // namespace quorate::sim
