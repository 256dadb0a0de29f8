#include "backends/log/verify.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "backends/log/segment.h"
#include "base/status_util.h"
#include "base/text.h"

namespace quorate::log {
namespace {

constexpr std::string_view kSegmentEnding = ".seg";

class Verifier {
 public:
  explicit Verifier(const LogOptions& options) : options_(options) {}

  absl::StatusOr<LogReport> Run() {
    QR_ASSIGN_OR_RETURN(const std::vector<std::string> names, options_.env->List(options_.dir));
    std::vector<std::string> segments;
    for (const std::string& name : names) {
      if (name.ends_with(kSegmentEnding)) segments.push_back(StrCat(options_.dir, "/", name));
    }
    if (segments.empty()) return absl::NotFoundError(StrCat("no log in ", options_.dir));
    for (size_t i = 0; i < segments.size(); ++i) {
      const absl::Status status = LookThrough(segments[i], i + 1 == segments.size());
      if (!status.ok()) report_.problems.emplace_back(ToStd(status.message()));
    }
    report_.segments = segments.size();
    JudgeWhole();
    return std::move(report_);
  }

 private:
  absl::Status LookThrough(const std::string& path, bool is_last) {
    QR_ASSIGN_OR_RETURN(const std::string data, ReadFileToString(options_.env, path));
    QR_ASSIGN_OR_RETURN(const SegmentHeader header, DecodeSegmentHeader(data, path));
    uint64_t offset = kHeaderBlockBytes;
    while (offset < data.size()) {
      const absl::StatusOr<Record> record =
          DecodeRecord(std::string_view(data).substr(offset), {header.incarnation, offset});
      if (record.ok() && record->fields.type != RecordType::kEnd) {
        ++report_.records;
        offset += record->bytes;
        continue;
      }
      const Later later = FindNext(data, offset, header.incarnation);
      const bool damaged = later.after_sync || (!is_last && (later.next || !record.ok()));
      const std::string_view what =
          record.ok() ? std::string_view("a record is missing") : ToStd(record.status().message());
      const std::string text = StrCat(path, ": offset ", offset, ": ", what);
      if (damaged) {
        report_.problems.push_back(text);
      } else if (!record.ok() || later.next) {
        report_.notes.push_back(StrCat(text, ": the torn tail of an append that a crash cut off"));
      }
      if (!damaged || !later.next) break;
      offset = *later.next;
    }
    return absl::OkStatus();
  }

  struct Later {
    std::optional<uint64_t> next;  // the next intact record
    bool after_sync = false;       // one of those behind was written after this place was synced
  };
  static Later FindNext(std::string_view data, uint64_t offset, uint64_t incarnation) {
    Later later;
    for (uint64_t at = offset + kRecordAlignment; at + kRecordHeaderBytes <= data.size();
         at += kRecordAlignment) {
      if (data[at + 8] == 0) continue;  // cheap: no record is of type 0
      const absl::StatusOr<Record> record = DecodeRecord(data.substr(at), {incarnation, at});
      if (!record.ok() || record->fields.type == RecordType::kEnd) continue;
      if (!later.next) later.next = at;
      later.after_sync = record->fields.synced_offset > offset;
      if (later.after_sync) break;
    }
    return later;
  }

  // What only shows when segments are taken together is told by opening the log.
  void JudgeWhole() {
    const auto opened = OpenSegmentedLog(options_);
    if (opened.ok()) return;
    const std::string text(ToStd(opened.status().message()));
    const auto told = [&](const std::string& problem) {
      // Both begin with file and offset.
      const size_t end = problem.find(": ", problem.find(": offset ") + 1);
      return end != std::string::npos && text.starts_with(problem.substr(0, end));
    };
    if (std::none_of(report_.problems.begin(), report_.problems.end(), told)) {
      report_.problems.push_back(text);
    }
  }

  const LogOptions options_;
  LogReport report_;
};

}  // namespace

absl::StatusOr<LogReport> VerifyLog(const LogOptions& options) {
  LogOptions read_only = options;
  read_only.read_only = true;
  return Verifier(read_only).Run();
}

}  // namespace quorate::log
