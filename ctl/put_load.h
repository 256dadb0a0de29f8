// PutLoad: many clients that put new keys, at a rate or as fast as they can: what `check` measures
// with. (`quorate-bench` is the tool for measuring in earnest.)
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ctl/interruption.h"
#include "transport/client.h"

namespace quorate::ctl {

struct PutLoadOptions {
  std::vector<transport::ChannelOptions> channels;  // the servers; clients are dealt out to them
  transport::MetadataList metadata;                 // of each call
  size_t clients = 1;                               // each has a connection and one put in flight
  // With a rate: so many puts are due each second for `duration_ns`. Who finds no idle client
  // waits; beyond one per client no more become due. Without one (0): `puts`, as fast as it goes.
  int64_t puts_per_second = 0;
  int64_t duration_ns = 0;
  int64_t puts = 0;
  std::string prefix;
  size_t key_bytes = 0;  // behind the prefix
  size_t value_bytes = 0;
  std::function<void(int64_t done)> on_progress;  // a few times a second; may be empty
};

struct PutLoadResult {
  std::vector<double> latencies_s;  // of puts that went well, from sending on
  std::map<std::string, int64_t> errors;
  double seconds = 0;

  double PutsPerSecond() const;
  double Slowest() const;  // 0 when there are none
  double StandardDeviation() const;
};

// Ends early, with what there is, when the interruption is raised.
PutLoadResult RunPutLoad(const PutLoadOptions& options, Interruption* interruption);

}  // namespace quorate::ctl
