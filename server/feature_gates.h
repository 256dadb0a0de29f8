// etcd's feature gates (--feature-gates=Name=true,...): which there are, of which stage, and which
// are on. Any thread.
#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace quorate::server {

struct FeatureGate {
  std::string_view name;
  std::string_view stage;  // "ALPHA", "BETA"
  bool on;                 // when nobody says anything
  // What the gate switches, if it is not here: accepted and changes nothing, for this reason.
  std::string_view no_effect;
};

// AllAlpha and AllBeta included, which switch every gate of their stage that is not named.
std::span<const FeatureGate> KnownFeatureGates();

class FeatureGates {
 public:
  // kInvalidArgument names the gate that is unknown, with the known ones, or the value that is no
  // boolean. Of a gate that is named twice the last word counts.
  static absl::StatusOr<FeatureGates> Parse(std::string_view text);

  // Of a known gate.
  bool On(std::string_view name) const;

 private:
  std::set<std::string, std::less<>> on_;
};

}  // namespace quorate::server
