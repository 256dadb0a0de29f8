#include "workloads/disk_probe.h"

#include <memory>
#include <span>
#include <string_view>

#include "base/json_text.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::workload {
namespace {

absl::Status AppendAndSync(File* file, const Clock* clock, std::string_view record, int64_t count,
                           Histogram* times) {
  uint64_t offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin_ns = clock->MonotonicNs();
    QR_RETURN_IF_ERROR(file->WriteAt(offset, std::span(&record, 1)));
    QR_RETURN_IF_ERROR(file->Sync());
    times->Add(clock->MonotonicNs() - begin_ns);
    offset += record.size();
  }
  return absl::OkStatus();
}

absl::Status WriteZeros(File* file, uint64_t size) {
  const std::string block(1 << 20, '\0');
  for (uint64_t offset = 0; offset < size; offset += block.size()) {
    const std::string_view piece(block);
    QR_RETURN_IF_ERROR(file->WriteAt(offset, std::span(&piece, 1)));
  }
  return file->Sync();
}

void AppendTimes(std::string_view name, const Histogram& times, std::string* out) {
  StrAppend(out, "\"", name, "\": {\"count\": ", times.count(),
            ", \"median_ns\": ", times.QuantileNs(0.5), ", \"p99_ns\": ", times.QuantileNs(0.99),
            ", \"max_ns\": ", times.max_ns(), ", \"buckets\": [");
  bool first = true;
  for (const auto& [low, count] : times.NonEmpty()) {
    StrAppend(out, first ? "" : ", ", "[", low, ", ", count, "]");
    first = false;
  }
  *out += "]}";
}

}  // namespace

absl::StatusOr<DiskProbe> ProbeDisk(FileEnv* env, const Clock* clock, const std::string& dir,
                                    int64_t bytes, int64_t count) {
  const std::string path = StrCat(dir, "/quorate-disk-probe.", clock->WallNs());
  const std::string record(static_cast<size_t>(bytes), 'x');
  DiskProbe probe;
  const auto run = [&]() -> absl::Status {
    {
      QR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                          env->Create(path, WriteMode::kBuffered));
      QR_RETURN_IF_ERROR(env->SyncDir(dir));
      QR_RETURN_IF_ERROR(AppendAndSync(file.get(), clock, record, count, &probe.growing));
    }
    QR_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, env->Create(path, WriteMode::kBuffered));
    QR_RETURN_IF_ERROR(WriteZeros(file.get(), static_cast<uint64_t>(bytes * count)));
    return AppendAndSync(file.get(), clock, record, count, &probe.preallocated);
  };
  const absl::Status status = run();
  const absl::Status removed = env->Exists(path) ? env->Remove(path) : absl::OkStatus();
  QR_RETURN_IF_ERROR(status);
  QR_RETURN_IF_ERROR(removed);
  return probe;
}

std::string DiskProbeJson(const DiskProbe& probe, const std::string& dir, int64_t bytes) {
  std::string out = StrCat("{\"format\": \"quorate-disk/1\", \"dir\": ", JsonString(dir),
                           ", \"bytes\": ", bytes, ", ");
  AppendTimes("growing", probe.growing, &out);
  out += ", ";
  AppendTimes("preallocated", probe.preallocated, &out);
  return out + "}\n";
}

}  // namespace quorate::workload
