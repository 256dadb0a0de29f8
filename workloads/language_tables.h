// The rows of the workload language (see fields.h), shared by parser, printer and reference.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "workloads/fields.h"
#include "workloads/workload.h"

namespace quorate::workload {

const std::vector<std::string>& OpTypeNames();        // in enum order: "put", "get", ...
const std::vector<std::string>& ScheduleKindNames();  // "compact", "defragment"
std::string_view OpTypeName(OpType type);

const FieldTable<Workload>& WorkloadFields();
const FieldTable<KeySpaceSpec>& KeySpaceFields();
const FieldTable<PhaseSpec>& PhaseFields();
const FieldTable<LoadSpec>& LoadFields();            // without `name`, which only a listed load has
const FieldTable<OperationSpec>& OperationFields();  // variants: bit per OpType
const FieldTable<WatcherSpec>& WatcherFields();
const FieldTable<ScheduleSpec>& ScheduleFields();  // variants: bit per ScheduleKind

inline uint32_t VariantOf(OpType type) { return uint32_t{1} << static_cast<int>(type); }
inline uint32_t VariantOf(ScheduleKind kind) { return uint32_t{1} << static_cast<int>(kind); }

}  // namespace quorate::workload
