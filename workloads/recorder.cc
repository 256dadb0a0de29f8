#include "workloads/recorder.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/text.h"

namespace quorate::workload {

uint64_t SeriesStep::count() const {
  uint64_t sum = 0;
  for (const auto& [low, count] : buckets) sum += count;
  return sum;
}

int64_t SeriesStep::QuantileNs(double quantile) const {
  const double exact_rank = std::ceil(quantile * static_cast<double>(count()));
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(exact_rank));
  uint64_t seen = 0;
  for (const auto& [low, times] : buckets) {
    seen += times;
    if (seen < rank) continue;
    return std::min(Histogram::BucketHighNs(Histogram::BucketOf(low)), max_ns);
  }
  return max_ns;
}

void SeriesStep::Merge(const SeriesStep& other) {
  errors += other.errors;
  max_ns = std::max(max_ns, other.max_ns);
  std::vector<std::pair<int64_t, uint64_t>> merged;
  merged.reserve(buckets.size() + other.buckets.size());
  auto a = buckets.begin();
  auto b = other.buckets.begin();
  while (a != buckets.end() || b != other.buckets.end()) {
    if (b == other.buckets.end() || (a != buckets.end() && a->first < b->first)) {
      merged.push_back(*a++);
    } else if (a == buckets.end() || b->first < a->first) {
      merged.push_back(*b++);
    } else {
      merged.emplace_back(a->first, a->second + b->second);
      ++a;
      ++b;
    }
  }
  buckets = std::move(merged);
}

std::vector<SeriesStep> MergeSeries(std::vector<SeriesStep> steps) {
  std::stable_sort(steps.begin(), steps.end(),
                   [](const SeriesStep& a, const SeriesStep& b) { return a.index < b.index; });
  std::vector<SeriesStep> merged;
  for (SeriesStep& step : steps) {
    if (!merged.empty() && merged.back().index == step.index) {
      merged.back().Merge(step);
    } else {
      merged.push_back(std::move(step));
    }
  }
  return merged;
}

uint64_t OperationRecord::error_count() const {
  uint64_t sum = 0;
  for (const auto& [text, count] : errors) sum += count;
  return sum;
}

void OperationRecord::Merge(const OperationRecord& other) {
  ok += other.ok;
  conflicts += other.conflicts;
  pairs += other.pairs;
  request_bytes += other.request_bytes;
  response_bytes += other.response_bytes;
  for (const auto& [text, count] : other.errors) errors[text] += count;
  latency.Merge(other.latency);
  service.Merge(other.service);
  series.insert(series.end(), other.series.begin(), other.series.end());
  series = MergeSeries(std::move(series));
}

void ProgressBoard::AddOperations(uint64_t ok, uint64_t errors, const Histogram& latency) {
  std::lock_guard lock(mutex_);
  progress_.ok += ok;
  progress_.errors += errors;
  progress_.latency.Merge(latency);
}

void ProgressBoard::AddEvents(uint64_t events) {
  std::lock_guard lock(mutex_);
  progress_.events += events;
}

Progress ProgressBoard::Take() {
  std::lock_guard lock(mutex_);
  return std::exchange(progress_, Progress());
}

Recorder::Recorder(std::string load, std::string name, std::string op, KeepTimes keep,
                   int64_t interval_ns, ProgressBoard* board)
    : keep_(keep), interval_ns_(interval_ns), board_(board) {
  record_.load = std::move(load);
  record_.name = std::move(name);
  record_.op = std::move(op);
}

void Recorder::Answered(int64_t now_ns, int64_t latency_ns, int64_t service_ns) {
  if (now_ns >= step_end_ns_) MoveTo(now_ns);
  ++record_.ok;
  step_latency_.Add(latency_ns);
  if (board_ != nullptr) unshown_.Add(latency_ns);
  if (keep_ == KeepTimes::kYes) record_.service.Add(service_ns);
}

void Recorder::Failed(int64_t now_ns, const transport::RpcStatus& status) {
  if (now_ns >= step_end_ns_) MoveTo(now_ns);
  ++step_errors_;
  ++unshown_errors_;
  std::string text = StrCat(CodeName(status.code), ": ", status.message);
  if (record_.errors.size() >= kErrorTextsMax && !record_.errors.contains(text)) {
    text = StrCat(CodeName(status.code), ": (other texts)");
  }
  ++record_.errors[text];
}

void Recorder::Tick(int64_t now_ns) {
  if (now_ns >= step_end_ns_) MoveTo(now_ns);
  Show();
}

void Recorder::Show() {
  if (board_ == nullptr || (unshown_.count() == 0 && unshown_errors_ == 0)) return;
  board_->AddOperations(unshown_.count(), unshown_errors_, unshown_);
  unshown_.Clear();
  unshown_errors_ = 0;
}

void Recorder::MoveTo(int64_t now_ns) {
  CloseStep();
  step_ = std::max<int64_t>(0, now_ns - start_ns_) / interval_ns_;
  step_end_ns_ = start_ns_ + (step_ + 1) * interval_ns_;
}

void Recorder::CloseStep() {
  if (step_latency_.count() == 0 && step_errors_ == 0) return;
  if (keep_ == KeepTimes::kYes) {
    record_.latency.Merge(step_latency_);
    record_.series.push_back(
        {step_, step_errors_, step_latency_.max_ns(), step_latency_.NonEmpty()});
  }
  step_latency_.Clear();
  step_errors_ = 0;
}

OperationRecord Recorder::Finish() {
  CloseStep();
  Show();
  return std::move(record_);
}

std::string_view CodeName(transport::RpcCode code) {
  static constexpr std::string_view kNames[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "code outside the list";
}

}  // namespace quorate::workload
