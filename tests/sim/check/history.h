// What the clients of a simulation saw: one record per request, in the words of the public API and
// nothing else. The checkers judge these records and know nothing of the server's code.
//
// Order is told by step numbers: every invocation and every answer of the whole run has its own, so
// that no two are "at the same time".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/etcdserverpb.pb.h"
#include "proto/raft_internal.pb.h"

namespace quorate::sim {

inline constexpr uint64_t kNever = UINT64_MAX;

struct Operation {
  enum class Outcome {
    kUnknown,  // no answer, or one that does not say: it may have happened, once, or happen yet
    kDone,
    kRefused,  // the server said why, and nothing may have changed
  };
  // Whether the answer must be of the newest state or may be of any earlier one.
  enum class Read { kLinearizable, kSerializable };

  uint64_t id = 0;
  int client = 0;
  uint64_t invoked = 0;        // step number
  uint64_t returned = kNever;  // step number
  int64_t invoked_ns = 0;      // true time
  int64_t returned_ns = INT64_MAX;
  Outcome outcome = Outcome::kUnknown;
  Read read = Read::kLinearizable;

  // Exactly one request, without header. Writes are unique: no two operations of a run ask for the
  // same bytes, which is how an operation is found in the log.
  etcdserverpb::InternalRaftRequest request;
  // kDone: what came back, headers taken out, and the revision that the header told.
  etcdserverpb::ResponseOp response;
  int64_t revision = 0;
  int error_code = 0;  // kRefused and kUnknown: gRPC's code, 0 = no answer at all

  bool IsRead() const;  // leaves no entry in the log
};

// A renewal of a lease that was answered.
struct Renewal {
  int64_t lease = 0;
  int64_t invoked_ns = 0;
  int64_t returned_ns = 0;
  int64_t ttl_seconds = 0;  // 0 = the lease is gone
};

// One watch on one stream, from its creation until the stream broke or it was cancelled. A client
// that goes on elsewhere makes a new one.
struct WatchRecord {
  struct Response {
    int64_t revision = 0;  // of the header
    std::vector<mvccpb::Event> events;
    bool fragment = false;  // more of the same revision follow
  };
  enum class End { kOpen, kBroken, kCompacted };

  uint64_t id = 0;
  std::string key, range_end;
  bool prev_kv = false;
  int64_t start_revision = 0;  // the first revision of interest; resolved, never 0
  std::vector<Response> responses;
  End end = End::kBroken;
  int64_t compact_revision = 0;  // kCompacted
};

struct History {
  std::vector<Operation> operations;
  std::vector<Renewal> renewals;
  std::vector<WatchRecord> watches;
};

// One line per finding; empty = nothing wrong.
using Violations = std::vector<std::string>;

// For messages: "put(k1=v) by client 3, steps 10-17".
std::string Describe(const Operation& operation);

}  // namespace quorate::sim
