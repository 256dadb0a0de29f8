#include "server/feature_gates.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/options.h"
#include "base/text.h"

namespace quorate::server {
namespace {

constexpr FeatureGate kGates[] = {
    {"AllAlpha", "ALPHA", false, ""},
    {"AllBeta", "BETA", false, ""},
    {"CompactHashCheck", "ALPHA", false, ""},
    {"FastLeaseKeepAlive", "BETA", true,
     "renewals never wait for applied entries longer than need"},
    {"InitialCorruptCheck", "ALPHA", false, ""},
    {"LeaseCheckpoint", "ALPHA", false, ""},
    {"LeaseCheckpointPersist", "ALPHA", false, "checkpoints are always part of the lease"},
    {"PriorityRequest", "ALPHA", false, "requests have no priorities here"},
    {"SetMemberLocalAddr", "ALPHA", false,
     "the system chooses the address that peers are called from"},
    {"StopGRPCServiceOnDefrag", "ALPHA", false, "clients are served during a defragmentation"},
    {"TxnModeWriteWithSharedBuffer", "BETA", true, "it tunes etcd's buffers, which are not here"},
};

}  // namespace

std::span<const FeatureGate> KnownFeatureGates() { return kGates; }

absl::StatusOr<FeatureGates> FeatureGates::Parse(std::string_view text) {
  std::map<std::string, bool, std::less<>> said;
  for (std::string_view item : StrSplit(text, ',')) {
    if (item.empty()) continue;
    const auto [name, value] = SplitOnce(item, '=');
    const auto known =
        std::find_if(std::begin(kGates), std::end(kGates),
                     [&, n = name](const FeatureGate& gate) { return gate.name == n; });
    if (known == std::end(kGates)) {
      std::vector<std::string_view> names;
      for (const FeatureGate& gate : kGates) names.push_back(gate.name);
      return absl::InvalidArgumentError(
          StrCat("unrecognized feature gate: ", name, "; known: ", StrJoin(names, ", ")));
    }
    const absl::StatusOr<bool> on = ParseGoBool(value);
    if (!on.ok()) return absl::InvalidArgumentError(StrCat(item, " wants true or false"));
    said[std::string(name)] = *on;
  }
  FeatureGates gates;
  for (const FeatureGate& gate : kGates) {
    bool on = gate.on;
    const auto of_stage = said.find(gate.stage == "ALPHA" ? "AllAlpha" : "AllBeta");
    if (of_stage != said.end()) on = of_stage->second;
    if (const auto own = said.find(gate.name); own != said.end()) on = own->second;
    if (on) gates.on_.emplace(gate.name);
  }
  return gates;
}

bool FeatureGates::On(std::string_view name) const {
  QR_CHECK(std::any_of(std::begin(kGates), std::end(kGates),
                       [&](const FeatureGate& gate) { return gate.name == name; }));
  return on_.contains(name);
}

}  // namespace quorate::server
