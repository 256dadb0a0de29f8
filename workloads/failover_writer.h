// FailoverWriter: clients that put one key after the other and try again, at the next endpoint,
// until they are answered: what a client of a cluster does while members come and go. It tells the
// pauses, spans in which no write of any client was acknowledged, and counts the keys at the end:
// an acknowledged write that is not there was lost. Behind `quorate-bench write`.
//
// Run blocks and runs its own event loop on the calling thread; Interrupt may be called from any
// thread or signal handler and ends the run cleanly.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "transport/client.h"
#include "transport/event_loop.h"
#include "workloads/worker.h"

namespace quorate::workload {

struct FailoverWriterOptions {
  std::vector<std::string> endpoints;
  Credentials credentials;  // for real connections
  ChannelFactory factory;   // the n-th channel is one to endpoint n; empty: real connections
  const Clock* clock = nullptr;
  int64_t clients = 3;                              // client n begins at endpoint n
  int64_t duration_ns = 0;                          // 0: until Interrupt
  int64_t every_ns = 2 * kNanosPerMilli;            // from an answer to the client's next write
  int64_t try_timeout_ns = 100 * kNanosPerMilli;    // of one try; pauses are no finer than this
  int64_t write_timeout_ns = 10 * kNanosPerSecond;  // of all tries of a write, which then failed
  int64_t pause_min_ns = 5 * kNanosPerMilli;        // shorter ones are not listed
};

struct WritePause {
  int64_t begin_wall_ns = 0;  // the last acknowledgement before it
  int64_t length_ns = 0;
};

struct FailoverWriterResult {
  int64_t start_wall_ns = 0;
  int64_t end_wall_ns = 0;
  int64_t acknowledged = 0;
  // Writes that no try brought through within their time, or that were refused as wrong.
  int64_t failed = 0;
  int64_t lost = 0;                      // acknowledged, and not there at the end
  std::map<std::string, int64_t> tries;  // that failed, by what was answered
  std::vector<WritePause> pauses;        // in order, those of pause_min_ns and more
  Histogram latency;                     // of acknowledged writes, from the first try
};

class FailoverWriter {
 public:
  // kInvalidArgument when an endpoint is missing or malformed.
  static absl::StatusOr<std::unique_ptr<FailoverWriter>> Create(FailoverWriterOptions options);

  // Once. kUnavailable when the keys could not be counted at the end.
  absl::StatusOr<FailoverWriterResult> Run();
  void Interrupt() { interrupted_ = true; }

 private:
  struct Client {
    size_t number = 0;
    size_t endpoint = 0;
    int64_t writes = 0;         // begun
    int64_t began_ns = 0;       // the first try of the current write
    size_t tries_in_round = 0;  // since the last rest; a round asks every endpoint once
    Bytes request;
  };

  explicit FailoverWriter(FailoverWriterOptions options);
  void Begin(Client* client);
  void Try(Client* client);
  void OnAnswer(Client* client, const transport::RpcStatus& status);
  void OnFailedTry(Client* client, const transport::RpcStatus& status);
  void EndWrite(Client* client);
  void NoteAcknowledgement(int64_t now_ns);
  void NoteSilence(int64_t until_ns);
  void LookForEnd();
  void ClientIsDone();
  void Count(size_t endpoint);

  FailoverWriterOptions options_;
  const std::string prefix_;
  transport::EventLoop loop_;
  std::vector<std::unique_ptr<transport::Channel>> channels_;
  std::vector<std::unique_ptr<Client>> clients_;
  FailoverWriterResult result_;
  absl::Status status_;
  int64_t start_ns_ = 0;
  int64_t last_acknowledged_ns_ = 0;
  int64_t counting_since_ns_ = 0;
  size_t clients_left_ = 0;
  bool ending_ = false;
  std::atomic<bool> interrupted_{false};
};

std::string FailoverJson(const FailoverWriterResult& result);
std::string FailoverSummary(const FailoverWriterResult& result);

}  // namespace quorate::workload
