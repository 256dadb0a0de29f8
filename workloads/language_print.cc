// Workload to YAML, and the reference of the language.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "workloads/language.h"
#include "workloads/language_tables.h"

namespace quorate::workload {
namespace {

constexpr size_t kLineWidth = 100;

// One section's lines: the first with "- " in front when it is an item of a list.
class Lines {
 public:
  Lines(std::string* out, size_t indent, bool item) : out_(out), indent_(indent), item_(item) {}

  void Add(std::string_view key, std::string_view value) {
    const size_t dash = item_ ? 2 : 0;
    out_->append(indent_ - (first_ ? dash : 0), ' ');
    if (first_ && item_) *out_ += "- ";
    first_ = false;
    StrAppend(out_, key, ":", value.empty() ? "" : " ", value, "\n");
  }

  template <class T>
  void AddFields(const FieldTable<T>& table, uint32_t variant, const T& from,
                 const std::vector<std::string_view>& skip = {}) {
    for (const auto& field : table) {
      if ((field.variants & variant) == 0) continue;
      if (std::find(skip.begin(), skip.end(), field.key) != skip.end()) continue;
      Add(field.key, field.print(from));
    }
  }

 private:
  std::string* out_;
  size_t indent_;
  bool item_;
  bool first_ = true;
};

void PrintLoad(const LoadSpec& load, std::string* out) {
  Lines lines(out, 8, true);
  lines.Add("name", QuoteYaml(load.name));
  std::vector<std::string_view> skip;
  if (load.loop == Loop::kClosed) skip = {"rate", "arrivals"};
  lines.AddFields(LoadFields(), kEveryVariant, load, skip);
  lines.Add("operations", "");
  for (const OperationSpec& operation : load.operations) {
    Lines item(out, 12, true);
    item.Add("op", OpTypeName(operation.type));
    item.AddFields(OperationFields(), VariantOf(operation.type), operation);
  }
}

void PrintPhase(const PhaseSpec& phase, std::string* out) {
  Lines lines(out, 4, true);
  lines.AddFields(PhaseFields(), kEveryVariant, phase);
  if (!phase.loads.empty()) lines.Add("loads", "");
  for (const LoadSpec& load : phase.loads) PrintLoad(load, out);
  if (!phase.watchers.empty()) lines.Add("watchers", "");
  for (const WatcherSpec& watcher : phase.watchers) {
    Lines(out, 8, true).AddFields(WatcherFields(), kEveryVariant, watcher);
  }
  if (!phase.schedule.empty()) lines.Add("schedule", "");
  for (const ScheduleSpec& item : phase.schedule) {
    Lines entry(out, 8, true);
    entry.Add("do", ScheduleKindNames()[static_cast<size_t>(item.kind)]);
    entry.AddFields(ScheduleFields(), VariantOf(item.kind), item);
  }
}

// `text` in lines of at most kLineWidth, each behind `indent` blanks.
void Wrap(std::string_view text, size_t indent, std::string* out) {
  size_t column = 0;
  while (!text.empty()) {
    const size_t word_end = std::min(text.find(' '), text.size());
    if (column != 0 && column + 1 + word_end > kLineWidth) {
      *out += '\n';
      column = 0;
    }
    if (column == 0) {
      out->append(indent, ' ');
      column = indent;
    } else {
      *out += ' ';
      ++column;
    }
    out->append(text.substr(0, word_end));
    column += word_end;
    text.remove_prefix(std::min(word_end + 1, text.size()));
  }
  *out += '\n';
}

template <class T>
void DescribeSection(std::string_view title, std::string_view what, const FieldTable<T>& table,
                     const T& defaults, const std::vector<std::string>& variant_names,
                     std::string* out) {
  StrAppend(out, "\n", title, "\n");
  Wrap(what, 2, out);
  for (const auto& field : table) {
    StrAppend(out, "  ", field.key, ": ", field.notation);
    if (field.required) {
      *out += "   (required)";
    } else if (const std::string value = field.print(defaults); value != "\"\"") {
      StrAppend(out, "   (default ", value == "0/s" ? "none" : value, ")");
    }
    std::vector<std::string> only;
    for (size_t i = 0; i < variant_names.size(); ++i) {
      if ((field.variants >> i & 1) != 0) only.push_back(variant_names[i]);
    }
    if (only.size() < variant_names.size()) StrAppend(out, "   [", StrJoin(only, ", "), "]");
    *out += '\n';
    Wrap(field.help, 6, out);
  }
}

}  // namespace

std::string PrintWorkload(const Workload& workload) {
  std::string out;
  Lines lines(&out, 0, false);
  lines.AddFields(WorkloadFields(), kEveryVariant, workload);
  if (!workload.parameters.empty()) {
    lines.Add("parameters", "");
    for (const auto& [name, value] : workload.parameters) {
      Lines(&out, 2, false).Add(name, QuoteYaml(value));
    }
  }
  if (!workload.key_spaces.empty()) lines.Add("keys", "");
  for (const KeySpaceSpec& space : workload.key_spaces) {
    Lines(&out, 4, true).AddFields(KeySpaceFields(), kEveryVariant, space);
  }
  lines.Add("phases", "");
  for (const PhaseSpec& phase : workload.phases) PrintPhase(phase, &out);
  return out;
}

std::string DescribeLanguage() {
  std::string out = "The workload language of quorate-bench\n\n";
  Wrap(
      "A workload is a YAML file: key spaces, and phases that follow each other. A phase runs its "
      "loads, watchers and schedule together. Every answer is verified and each watch is checked "
      "for gaps, order and duplicates while it is measured; a run with a wrong answer is void.",
      0, &out);
  out += '\n';
  Wrap(
      "Units are part of a value: durations 100ms, 5s, 1m30s; sizes 256B, 1KiB, 4MiB; rates "
      "1000/s. Unknown or repeated keys, missing units and impossible values are errors that name "
      "file and line. A default that the file states under 'parameters' stands where $(name) "
      "is written, and `--set name=value` changes it.",
      0, &out);
  out += "\nThe file\n";
  Wrap(
      "Besides the keys below: 'parameters' (name: default), 'keys' (a list of key spaces) and "
      "'phases' (a list).",
      2, &out);
  std::string section;
  DescribeSection("", "", WorkloadFields(), Workload(), {}, &section);
  out += section.substr(section.find("  name"));
  DescribeSection("Key spaces ('keys:', a list)",
                  "Key number n of a space is: prefix, group when there is more than one, n with "
                  "zeros in front.",
                  KeySpaceFields(), KeySpaceSpec(), {}, &out);
  DescribeSection("Phases ('phases:', a list)",
                  "Also 'loads', 'watchers' and 'schedule' (lists). A phase with a single load may "
                  "have that load's keys itself instead of 'loads'.",
                  PhaseFields(), PhaseSpec(), {}, &out);
  DescribeSection("Loads ('loads:', a list, or in the phase)",
                  "Also 'name' and 'operations' (a list).", LoadFields(), LoadSpec(), {}, &out);
  DescribeSection("Operations ('operations:', a list)",
                  StrCat("Each begins with 'op': ", StrJoin(OpTypeNames(), ", "),
                         ". A txn is what an API server does: if the key still has the revision "
                         "that the client knows, then put it, else read it. Keys in brackets "
                         "belong to these operations only."),
                  OperationFields(), OperationSpec(), OpTypeNames(), &out);
  DescribeSection("Watchers ('watchers:', a list)",
                  "Opened before the phase begins, closed after they delivered everything.",
                  WatcherFields(), WatcherSpec(), {}, &out);
  DescribeSection("Schedule ('schedule:', a list)",
                  StrCat("Each begins with 'do': ", StrJoin(ScheduleKindNames(), ", "), "."),
                  ScheduleFields(), ScheduleSpec(), ScheduleKindNames(), &out);
  return out;
}

}  // namespace quorate::workload
