// What a run leaves: a JSON document with everything raw, and a table for people. What was not
// measured is absent, never zero; a run that is void or partial says so in "outcome".
#pragma once

#include <string>

#include "base/histogram.h"
#include "workloads/check_log.h"
#include "workloads/driver.h"
#include "workloads/workload.h"

namespace quorate::workload {

// Format "quorate-bench/1". Times in ns; histograms as [[low_ns, count], ...] in the buckets of
// base/histogram.h.
std::string ResultJson(const Workload& workload, const RunResult& result, const CheckLog& checks);

std::string SummaryText(const Workload& workload, const RunResult& result, const CheckLog& checks);

std::string_view OutcomeName(RunResult::Outcome outcome);
std::string FormatLatency(int64_t ns);  // "431us", "12.3ms"

}  // namespace quorate::workload
