// Recorder: the numbers of one kind of operation in one phase on one thread: counts, errors apart,
// raw histograms, and a time series. Latency counts from when the operation was due, service time
// from when it was sent. Not thread-safe; Merge joins the threads' records.
// ProgressBoard: what the live display reads; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/histogram.h"
#include "transport/rpc.h"

namespace quorate::workload {

// One step of the series, as raw as the whole: threads merge without loss.
struct SeriesStep {
  int64_t index = 0;  // steps since the start of the phase
  uint64_t errors = 0;
  int64_t max_ns = 0;
  std::vector<std::pair<int64_t, uint64_t>> buckets;  // (low_ns, count) of latency
  uint64_t count() const;
  int64_t QuantileNs(double quantile) const;  // upper end of the bucket; 0 when empty
  void Merge(const SeriesStep& other);
};

struct OperationRecord {
  std::string load;
  std::string name;
  std::string op;
  uint64_t ok = 0;
  uint64_t conflicts = 0;  // guarded changes whose guard did not hold: ordinary answers too
  uint64_t pairs = 0;      // key-value pairs read
  uint64_t request_bytes = 0;
  uint64_t response_bytes = 0;
  std::map<std::string, uint64_t> errors;  // by code and text
  Histogram latency;
  Histogram service;
  std::vector<SeriesStep> series;

  uint64_t error_count() const;
  void Merge(const OperationRecord& other);
};

struct Progress {
  uint64_t ok = 0;
  uint64_t errors = 0;
  uint64_t events = 0;
  Histogram latency;
};

class ProgressBoard {
 public:
  void AddOperations(uint64_t ok, uint64_t errors, const Histogram& latency);
  void AddEvents(uint64_t events);
  Progress Take();  // since the last Take

 private:
  std::mutex mutex_;
  Progress progress_;
};

enum class KeepTimes { kNo, kYes };  // kNo: a warm-up, counted only

class Recorder {
 public:
  static constexpr size_t kErrorTextsMax = 50;

  // `board` may be null.
  Recorder(std::string load, std::string name, std::string op, KeepTimes keep, int64_t interval_ns,
           ProgressBoard* board);

  void Start(int64_t start_ns) { start_ns_ = start_ns; }
  // The answer came at `now_ns`.
  void Answered(int64_t now_ns, int64_t latency_ns, int64_t service_ns);
  void Failed(int64_t now_ns, const transport::RpcStatus& status);
  OperationRecord& counters() { return record_; }
  // Closes steps that are over and tells the board; call once per step or more often.
  void Tick(int64_t now_ns);
  // Closes the last step and hands the record out.
  OperationRecord Finish();

 private:
  void MoveTo(int64_t now_ns);
  void CloseStep();
  void Show();

  const KeepTimes keep_;
  const int64_t interval_ns_;
  ProgressBoard* const board_;
  int64_t start_ns_ = 0;
  OperationRecord record_;
  int64_t step_ = 0;
  int64_t step_end_ns_ = 0;
  uint64_t step_errors_ = 0;
  Histogram step_latency_;
  Histogram unshown_;  // not yet on the board
  uint64_t unshown_errors_ = 0;
};

std::string_view CodeName(transport::RpcCode code);  // "Unavailable", as gRPC writes it

// Series of several threads, sorted and merged by index.
std::vector<SeriesStep> MergeSeries(std::vector<SeriesStep> steps);

}  // namespace quorate::workload
