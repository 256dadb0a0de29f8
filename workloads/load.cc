#include "workloads/load.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "workloads/language_tables.h"

namespace quorate::workload {

using transport::RpcStatus;

void LoadRecord::Merge(const LoadRecord& other) {
  issued += other.issued;
  unsent += other.unsent;
  oldest_unsent_ns = std::max(oldest_unsent_ns, other.oldest_unsent_ns);
  waited_for_client += other.waited_for_client;
  send_delay.Merge(other.send_delay);
  QR_CHECK(operations.size() == other.operations.size());
  for (size_t i = 0; i < operations.size(); ++i) operations[i].Merge(other.operations[i]);
}

LoadRunner::LoadRunner(const LoadSpec& spec, LoadContext context)
    : spec_(spec),
      context_(std::move(context)),
      random_(context_.seed),
      clients_(static_cast<size_t>(context_.clients)),
      leases_(spec, context_.channels, context_.clock, &context_.model->checks()) {
  QR_CHECK(!context_.channels.empty() && context_.clients > 0);
  double weight_sum = 0;
  for (size_t i = 0; i < spec_.operations.size(); ++i) {
    const OperationSpec& operation = spec_.operations[i];
    Row& row = rows_.emplace_back();
    row.spec = operation;
    weight_sum += operation.weight;
    row.weight_end = weight_sum;
    const bool on_keys = operation.type < OpType::kLeaseGrant;
    if (on_keys) {
      row.operation =
          std::make_unique<Operation>(operation, context_.model, &context_.shared->next_key[i]);
    }
    row.recorder = std::make_unique<Recorder>(
        spec_.name, operation.name, std::string(OpTypeName(operation.type)), context_.keep_times,
        context_.interval_ns, context_.board);
    needs_leases_ |= operation.lease || operation.type == OpType::kLeaseKeepAlive;
  }
  for (size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].runner = this;
    clients_[i].channel = i % context_.channels.size();
    clients_[i].writer.id = context_.first_writer + static_cast<uint32_t>(i);
    free_.push_back(&clients_[i]);
  }
  record_.name = spec_.name;
}

LoadRunner::~LoadRunner() { QR_CHECK(outstanding_ == 0); }

void LoadRunner::Prepare(std::function<void(RpcStatus)> ready) {
  const int64_t leases = needs_leases_ ? std::max<int64_t>(1, spec_.leases / context_.shares) : 0;
  leases_.Prepare(leases, std::move(ready));
}

void LoadRunner::Start(int64_t start_ns, int64_t end_ns) {
  start_ns_ = start_ns;
  end_ns_ = end_ns;
  started_ = true;
  for (Row& row : rows_) row.recorder->Start(start_ns);
  if (spec_.loop == Loop::kOpen) {
    gap_ns_ = 1e9 / spec_.rate * static_cast<double>(context_.shares);
    AdvanceArrival();
  }
}

// Arrival i of this share is arrival i * shares + share of the load.
void LoadRunner::AdvanceArrival() {
  double offset_ns;
  if (spec_.arrivals == Arrivals::kPoisson) {
    arrival_ns_ -= gap_ns_ * std::log1p(-random_.Unit());
    offset_ns = arrival_ns_;
  } else {
    offset_ns =
        gap_ns_ * (static_cast<double>(arrivals_) +
                   static_cast<double>(context_.share) / static_cast<double>(context_.shares));
  }
  ++arrivals_;
  next_due_ns_ = start_ns_ + static_cast<int64_t>(offset_ns);
}

bool LoadRunner::TakeOneOfCount() {
  if (count_done_) return false;
  if (spec_.count > 0 && context_.shared->issued.fetch_add(1) >= spec_.count) {
    count_done_ = true;
    return false;
  }
  return true;
}

bool LoadRunner::NextDue(int64_t now_ns, int64_t* intended_ns) {
  if (!started_ || now_ns < start_ns_ || count_done_) return false;
  if (spec_.loop == Loop::kClosed) {
    if (now_ns >= end_ns_ || !TakeOneOfCount()) return false;
    *intended_ns = now_ns;
    return true;
  }
  // An arrival that was due before the end is not sent after it: it is counted as unsent.
  if (now_ns >= end_ns_ || next_due_ns_ > now_ns || !TakeOneOfCount()) return false;
  *intended_ns = next_due_ns_;
  AdvanceArrival();
  return true;
}

int64_t LoadRunner::Poll(int64_t now_ns) {
  while (!resting_.empty() && resting_.front().until_ns <= now_ns) {
    free_.push_back(resting_.front().client);
    resting_.pop_front();
  }
  Pump(now_ns);
  if (!started_ || count_done_ || now_ns >= end_ns_) return INT64_MAX;
  int64_t next = end_ns_;
  if (now_ns < start_ns_) {
    next = start_ns_;
  } else if (spec_.loop == Loop::kOpen && !free_.empty()) {
    next = std::min(next, next_due_ns_);
  }
  if (!resting_.empty()) next = std::min(next, resting_.front().until_ns);
  return next;
}

void LoadRunner::Pump(int64_t now_ns) {
  // A channel may answer inside Send: its client joins the free ones and this loop takes it.
  if (pumping_) return;
  pumping_ = true;
  int64_t intended_ns;
  while (!free_.empty() && NextDue(now_ns, &intended_ns)) {
    Client* client = free_.front();
    free_.pop_front();
    if (starved_ && spec_.loop == Loop::kOpen && intended_ns < now_ns) ++record_.waited_for_client;
    Send(client, intended_ns, now_ns);
  }
  starved_ = free_.empty();
  pumping_ = false;
}

size_t LoadRunner::DrawOperation() {
  if (rows_.size() == 1) return 0;
  const double drawn = random_.Unit() * rows_.back().weight_end;
  size_t i = 0;
  while (i + 1 < rows_.size() && rows_[i].weight_end <= drawn) ++i;
  if (rows_[i].spec.type != OpType::kLeaseRevoke || leases_.HasRevocable()) return i;
  // Nothing to revoke yet: grant one instead (the parser saw to it that the load can).
  for (i = 0; rows_[i].spec.type != OpType::kLeaseGrant;) ++i;
  return i;
}

void LoadRunner::Send(Client* client, int64_t intended_ns, int64_t now_ns) {
  client->operation = DrawOperation();
  client->intended_ns = intended_ns;
  client->sent_ns = now_ns;
  ++outstanding_;
  ++record_.issued;
  if (spec_.loop == Loop::kOpen && context_.keep_times == KeepTimes::kYes) {
    record_.send_delay.Add(now_ns - intended_ns);
  }
  Row& row = rows_[client->operation];
  if (row.operation == nullptr) return SendLease(client, row.spec.type);
  const int64_t lease = row.spec.lease ? leases_.NextStanding() : 0;
  Bytes request =
      row.operation->Build(random_, intended_ns, lease, &client->writer, &client->pending);
  row.recorder->counters().request_bytes += request.size();
  context_.channels[client->channel]->Call(row.operation->path(), std::move(request),
                                           spec_.timeout_ns, {},
                                           [client](RpcStatus status, Bytes answer) {
                                             client->runner->Answered(client, status, answer);
                                           });
}

void LoadRunner::SendLease(Client* client, OpType type) {
  const LeaseKeeper::Done done = [client](const RpcStatus& status, bool right) {
    LoadRunner* runner = client->runner;
    const Verdict verdict{right ? Verdict::Kind::kOk : Verdict::Kind::kWrong, 0};
    runner->Complete(client, status, verdict, runner->context_.clock->MonotonicNs());
  };
  if (type == OpType::kLeaseGrant) return leases_.Grant(client->channel, done);
  if (type == OpType::kLeaseRevoke) return leases_.Revoke(client->channel, done);
  leases_.KeepAlive(client->channel, done);
}

void LoadRunner::Answered(Client* client, const RpcStatus& status, const Bytes& answer) {
  // The clock first: verifying takes time that is not the server's.
  const int64_t now_ns = context_.clock->MonotonicNs();
  Row& row = rows_[client->operation];
  Verdict verdict;
  if (status.ok()) {
    row.recorder->counters().response_bytes += answer.size();
    verdict = row.operation->Judge(client->pending, answer.view());
  } else {
    row.operation->Failed(client->pending, status.code);
  }
  Complete(client, status, verdict, now_ns);
}

void LoadRunner::Complete(Client* client, const RpcStatus& status, Verdict verdict,
                          int64_t now_ns) {
  Recorder& recorder = *rows_[client->operation].recorder;
  if (!status.ok()) {
    recorder.Failed(now_ns, status);
  } else if (verdict.kind != Verdict::Kind::kWrong) {
    recorder.Answered(now_ns, now_ns - client->intended_ns, now_ns - client->sent_ns);
    recorder.counters().pairs += verdict.pairs;
    if (verdict.kind == Verdict::Kind::kConflict) ++recorder.counters().conflicts;
  }
  --outstanding_;
  const bool rests = !status.ok() && spec_.loop == Loop::kClosed;
  if (rests) {
    resting_.push_back({now_ns + kPauseAfterErrorNs, client});
  } else {
    free_.push_back(client);
  }
  const bool was_starved = starved_;
  Pump(now_ns);
  if ((rests || outstanding_ == 0 || (was_starved && !starved_)) && context_.rearm) {
    context_.rearm();
  }
}

bool LoadRunner::Finished(int64_t now_ns) const {
  return outstanding_ == 0 && (count_done_ || now_ns >= end_ns_);
}

void LoadRunner::Tick(int64_t now_ns) {
  for (Row& row : rows_) row.recorder->Tick(now_ns);
  leases_.Tick(now_ns);
}

void LoadRunner::CountUnsent(LoadRecord* record) {
  if (spec_.loop == Loop::kClosed || count_done_) return;
  if (next_due_ns_ < end_ns_) record->oldest_unsent_ns = end_ns_ - next_due_ns_;
  for (; next_due_ns_ < end_ns_; AdvanceArrival()) ++record->unsent;
}

LoadRecord LoadRunner::TakeRecord() {
  QR_CHECK(outstanding_ == 0);
  CountUnsent(&record_);
  for (Row& row : rows_) record_.operations.push_back(row.recorder->Finish());
  return std::move(record_);
}

}  // namespace quorate::workload
