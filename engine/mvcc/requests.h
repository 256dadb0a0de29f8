// Requests as the store's operations take them: views into the log entry or the message they came
// in. A put, by far the most frequent entry, is read from its bytes without a message object.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/errors.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::engine {

struct PutArguments {
  std::string_view key;
  std::string_view value;
  int64_t lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;

  static PutArguments Of(const etcdserverpb::PutRequest& request);
  Error Check() const;  // what Engine::CheckPut says
};

// The put of a log entry that holds a header and one put in the usual encoding. nullopt for
// anything else, well-formed or not: then the whole message has to be parsed.
std::optional<PutArguments> ParsePutEntry(std::string_view internal_raft_request);

}  // namespace quorate::engine
