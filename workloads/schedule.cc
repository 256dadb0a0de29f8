#include "workloads/schedule.h"

#include <utility>

#include "base/text.h"
#include "workloads/language_tables.h"
#include "workloads/recorder.h"
#include "workloads/wire.h"

namespace quorate::workload {

ScheduleRunner::ScheduleRunner(std::vector<ScheduleSpec> items, transport::Channel* channel,
                               const Clock* clock, Model* model)
    : channel_(channel), clock_(clock), model_(model) {
  for (ScheduleSpec& spec : items) items_.push_back({std::move(spec)});
}

void ScheduleRunner::Start(int64_t start_ns, int64_t end_ns) {
  start_ns_ = start_ns;
  end_ns_ = end_ns;
  started_ = true;
  for (Item& item : items_) {
    const bool from_step = item.spec.at_ns == 0 && item.spec.every_ns > 0;
    item.next_ns = start_ns + (from_step ? item.spec.every_ns : item.spec.at_ns);
  }
}

int64_t ScheduleRunner::Poll(int64_t now_ns) {
  if (!started_) return INT64_MAX;
  int64_t next = INT64_MAX;
  for (Item& item : items_) {
    if (!item.running && item.next_ns <= now_ns && now_ns < end_ns_) Run(&item, now_ns);
    if (!item.running && item.next_ns < end_ns_) next = std::min(next, item.next_ns);
  }
  return next;
}

void ScheduleRunner::Run(Item* item, int64_t now_ns) {
  const bool compact = item->spec.kind == ScheduleKind::kCompact;
  item->next_ns = INT64_MAX;
  if (item->spec.every_ns > 0) {
    const int64_t first = item->spec.at_ns == 0 ? item->spec.every_ns : item->spec.at_ns;
    const int64_t steps = (now_ns - start_ns_ - first) / item->spec.every_ns + 1;
    item->next_ns = start_ns_ + first + steps * item->spec.every_ns;
  }
  ScheduleRecord record;
  record.kind = ScheduleKindNames()[static_cast<size_t>(item->spec.kind)];
  record.at_ns = now_ns - start_ns_;
  if (compact) {
    record.revision = model_->newest_revision() - item->spec.retain;
    // Nothing to drop yet.
    if (record.revision <= model_->compacted_revision() || record.revision <= 1) return;
    model_->NoteCompaction(record.revision);
  }
  item->running = true;
  ++outstanding_;
  channel_->Call(compact ? kCompactPath : kDefragmentPath,
                 compact ? EncodeCompact(record.revision, item->spec.physical) : Bytes(),
                 kTimeoutNs, {},
                 [this, item, record, now_ns](transport::RpcStatus status, Bytes) mutable {
                   record.took_ns = clock_->MonotonicNs() - now_ns;
                   if (!status.ok())
                     record.error = StrCat(CodeName(status.code), ": ", status.message);
                   records_.push_back(std::move(record));
                   item->running = false;
                   --outstanding_;
                 });
}

}  // namespace quorate::workload
