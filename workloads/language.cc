#include "workloads/language.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/file_env.h"
#include "workloads/keys.h"
#include "workloads/language_tables.h"

namespace quorate::workload {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

using Parameters = std::vector<std::pair<std::string, std::string>>;

// Everything a list holds, each item read by `read(node, &item)`.
template <class T, class F>
absl::Status ReadList(const YamlNode& node, std::string_view what, std::vector<T>* out, F&& read) {
  if (node.kind() == YamlNode::Kind::kNull) return absl::OkStatus();
  if (node.kind() != YamlNode::Kind::kList) {
    return node.Error(StrCat("'", what, "' must be a list (lines that begin with '- ')"));
  }
  for (size_t i = 0; i < node.size(); ++i) {
    T item;
    QR_RETURN_IF_ERROR(read(node.at(i), &item));
    out->push_back(std::move(item));
  }
  return absl::OkStatus();
}

template <class T>
absl::Status CheckNewName(const YamlNode& node, std::string_view what, const std::vector<T>& before,
                          const std::string& name) {
  if (name.empty()) return node.Error(StrCat("a ", what, " needs a name that is not empty"));
  for (const T& other : before) {
    if (other.name == name) return node.Error(StrCat("a second ", what, " named '", name, "'"));
  }
  return absl::OkStatus();
}

class Parser {
 public:
  Parser(const Overrides& overrides, Workload* out) : overrides_(overrides), out_(*out) {}

  absl::Status Read(const YamlNode& root) {
    static constexpr std::array<std::string_view, 3> kMore = {"parameters", "keys", "phases"};
    QR_RETURN_IF_ERROR(
        ReadFields(root, WorkloadFields(), "a workload", kEveryVariant, kMore, &out_));
    QR_RETURN_IF_ERROR(ReadList(
        root.Get("keys"), "keys", &out_.key_spaces,
        [&](const YamlNode& node, KeySpaceSpec* space) { return ReadKeySpace(node, space); }));
    if (!root.Has("phases")) return root.Error("a workload needs 'phases'");
    QR_RETURN_IF_ERROR(
        ReadList(root.Get("phases"), "phases", &out_.phases,
                 [&](const YamlNode& node, PhaseSpec* phase) { return ReadPhase(node, phase); }));
    if (out_.phases.empty()) return root.Get("phases").Error("'phases' is empty");
    if (overrides_.seed) out_.seed = *overrides_.seed;
    return CheckOverridesUsed(root);
  }

 private:
  absl::Status ReadKeySpace(const YamlNode& node, KeySpaceSpec* space) {
    QR_RETURN_IF_ERROR(ReadFields(node, KeySpaceFields(), "a key space", kEveryVariant, {}, space));
    QR_RETURN_IF_ERROR(CheckNewName(node, "key space", out_.key_spaces, space->name));
    if (space->prefix.empty()) return node.Get("prefix").Error("the prefix must not be empty");
    for (const KeySpaceSpec& other : out_.key_spaces) {
      if (other.prefix.starts_with(space->prefix) || space->prefix.starts_with(other.prefix)) {
        return node.Get("prefix").Error(StrCat("the prefix '", space->prefix, "' and '",
                                               other.prefix, "' of key space '", other.name,
                                               "' overlap"));
      }
    }
    if (space->groups > space->count) {
      return node.Get("groups").Error(
          StrCat(space->groups, " groups need at least as many keys; count is ", space->count));
    }
    const int64_t min_size = KeySpace::MinKeySize(*space);
    if (std::max(space->size, min_size) > KeySpace::kMaxKeySize ||
        (space->size != 0 && space->size < min_size)) {
      return node.Get("size").Error(StrCat("keys of this space need at least ", min_size,
                                           "B and at most ", KeySpace::kMaxKeySize, "B"));
    }
    return absl::OkStatus();
  }

  absl::Status FindKeySpace(const YamlNode& node, const std::string& name, size_t* place) {
    std::vector<std::string> known;
    for (size_t i = 0; i < out_.key_spaces.size(); ++i) {
      known.push_back(out_.key_spaces[i].name);
      if (known.back() == name) {
        *place = i;
        return absl::OkStatus();
      }
    }
    return node.Error(StrCat("unknown key space '", name, "'; known: ", StrJoin(known, ", ")));
  }

  absl::Status ReadPhase(const YamlNode& node, PhaseSpec* phase) {
    // A phase with one load says that load's keys itself.
    std::vector<std::string_view> more = {"watchers", "schedule", "loads"};
    const bool inline_load = !(node.kind() == YamlNode::Kind::kMap && node.Has("loads"));
    if (inline_load) {
      more.push_back("operations");
      for (const auto& field : LoadFields()) more.push_back(field.key);
    }
    QR_RETURN_IF_ERROR(ReadFields(node, PhaseFields(), "a phase", kEveryVariant, more, phase));
    QR_RETURN_IF_ERROR(CheckNewName(node, "phase", out_.phases, phase->name));
    if (overrides_.duration_ns && phase->measure && phase->duration_ns > 0) {
      phase->duration_ns = *overrides_.duration_ns;
      duration_used_ = true;
    }
    QR_RETURN_IF_ERROR(ReadLoads(node, inline_load, phase));
    QR_RETURN_IF_ERROR(ReadList(node.Get("watchers"), "watchers", &phase->watchers,
                                [&](const YamlNode& child, WatcherSpec* watcher) {
                                  return ReadWatcher(child, *phase, watcher);
                                }));
    QR_RETURN_IF_ERROR(ReadList(node.Get("schedule"), "schedule", &phase->schedule,
                                [&](const YamlNode& child, ScheduleSpec* item) {
                                  return ReadScheduleItem(child, *phase, item);
                                }));
    if (phase->duration_ns == 0 &&
        std::none_of(phase->loads.begin(), phase->loads.end(),
                     [](const LoadSpec& load) { return load.count > 0; })) {
      return node.Error(StrCat("phase '", phase->name,
                               "' never ends: it needs a 'duration', or a load with a 'count'"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadLoads(const YamlNode& node, bool inline_load, PhaseSpec* phase) {
    if (!inline_load) {
      return ReadList(node.Get("loads"), "loads", &phase->loads,
                      [&](const YamlNode& child, LoadSpec* load) -> absl::Status {
                        QR_RETURN_IF_ERROR(ReadListedLoad(child, load));
                        QR_RETURN_IF_ERROR(CheckNewName(child, "load", phase->loads, load->name));
                        return CheckLoad(child, *phase, load);
                      });
    }
    if (!node.Has("operations")) {
      for (const auto& field : LoadFields()) {
        if (node.Has(field.key)) {
          return node.Get(field.key).Error(StrCat("'", field.key, "' without 'operations'"));
        }
      }
      return absl::OkStatus();
    }
    LoadSpec load;
    for (const auto& field : LoadFields()) {
      if (node.Has(field.key)) QR_RETURN_IF_ERROR(field.read(node.Get(field.key), &load));
    }
    QR_RETURN_IF_ERROR(ReadOperations(node, &load));
    QR_RETURN_IF_ERROR(CheckLoad(node, *phase, &load));
    phase->loads.push_back(std::move(load));
    return absl::OkStatus();
  }

  absl::Status ReadListedLoad(const YamlNode& node, LoadSpec* load) {
    static constexpr std::array<std::string_view, 2> kMore = {"name", "operations"};
    QR_RETURN_IF_ERROR(ReadFields(node, LoadFields(), "a load", kEveryVariant, kMore, load));
    if (node.Has("name")) {
      QR_ASSIGN_OR_RETURN(load->name, node.Get("name").AsString());
    }
    return ReadOperations(node, load);
  }

  absl::Status ReadOperations(const YamlNode& node, LoadSpec* load) {
    QR_RETURN_IF_ERROR(ReadList(node.Get("operations"), "operations", &load->operations,
                                [&](const YamlNode& child, OperationSpec* operation) {
                                  return ReadOperation(child, load->operations, operation);
                                }));
    double sum = 0;
    for (const OperationSpec& operation : load->operations) sum += operation.weight;
    if (load->operations.empty() || sum <= 0) {
      return node.Error("a load needs 'operations' with a weight above 0");
    }
    return absl::OkStatus();
  }

  absl::Status ReadOperation(const YamlNode& node, const std::vector<OperationSpec>& before,
                             OperationSpec* operation) {
    static constexpr std::array<std::string_view, 1> kMore = {"op"};
    if (node.kind() != YamlNode::Kind::kMap || !node.Has("op")) {
      return node.Error(StrCat("an operation needs 'op': ", StrJoin(OpTypeNames(), ", ")));
    }
    QR_ASSIGN_OR_RETURN(const std::string op, node.Get("op").AsChoice(OpTypeNames()));
    const auto& names = OpTypeNames();
    operation->type =
        static_cast<OpType>(std::find(names.begin(), names.end(), op) - names.begin());
    operation->name = op;
    QR_RETURN_IF_ERROR(ReadFields(node, OperationFields(), StrCat("operation '", op, "'"),
                                  VariantOf(operation->type), kMore, operation));
    QR_RETURN_IF_ERROR(CheckNewName(node, "operation", before, operation->name));
    if (node.Has("keys")) {
      QR_RETURN_IF_ERROR(FindKeySpace(node.Get("keys"), operation->keys, &operation->key_space));
      const int64_t count = out_.key_spaces[operation->key_space].count;
      if (operation->scope == Scope::kSlice && operation->slice > count) {
        return node.Error(StrCat("a slice of ", operation->slice, " keys of a space of ", count));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckLoad(const YamlNode& node, const PhaseSpec& phase, LoadSpec* load) {
    if (load->loop == Loop::kOpen) {
      if (load->rate == 0) return node.Error("an open loop needs its 'rate', such as 1000/s");
      if (overrides_.rate && phase.measure) {
        load->rate = *overrides_.rate;
        rate_used_ = true;
      }
    } else if (load->rate != 0) {
      return node.Get("rate").Error("a closed loop has no rate: its clients set the pace");
    }
    if (load->connections > load->clients) {
      return node.Error(StrCat(load->connections, " connections for ", load->clients,
                               " clients: at most one each"));
    }
    double weights[kOpTypeCount] = {};
    bool lease_puts = false;
    for (const OperationSpec& operation : load->operations) {
      weights[static_cast<size_t>(operation.type)] += operation.weight;
      lease_puts |= operation.lease;
    }
    const auto weight = [&](OpType type) { return weights[static_cast<size_t>(type)]; };
    if (weight(OpType::kLeaseRevoke) > weight(OpType::kLeaseGrant)) {
      return node.Error(
          "lease-revoke ends leases that lease-grant made: give lease-grant at least its weight");
    }
    if (lease_puts && load->lease_ttl_ns < phase.duration_ns + 60 * kSecond) {
      return node.Error(StrCat("leases of ", FormatGoDuration(load->lease_ttl_ns),
                               " could end before phase '", phase.name,
                               "' does and take its keys along: lease_ttl must be longer than "
                               "duration + 1m"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadWatcher(const YamlNode& node, const PhaseSpec& phase, WatcherSpec* watcher) {
    QR_RETURN_IF_ERROR(
        ReadFields(node, WatcherFields(), "a group of watchers", kEveryVariant, {}, watcher));
    QR_RETURN_IF_ERROR(FindKeySpace(node.Get("keys"), watcher->keys, &watcher->key_space));
    if (!node.Has("name")) watcher->name = watcher->keys;
    QR_RETURN_IF_ERROR(CheckNewName(node, "group of watchers", phase.watchers, watcher->name));
    if (watcher->streams > watcher->count || watcher->connections > watcher->streams) {
      return node.Error(StrCat("connections <= streams <= count must hold; they are ",
                               watcher->connections, ", ", watcher->streams, ", ", watcher->count));
    }
    return absl::OkStatus();
  }

  absl::Status ReadScheduleItem(const YamlNode& node, const PhaseSpec& phase, ScheduleSpec* item) {
    static constexpr std::array<std::string_view, 1> kMore = {"do"};
    const auto& names = ScheduleKindNames();
    if (node.kind() != YamlNode::Kind::kMap || !node.Has("do")) {
      return node.Error(StrCat("a schedule item needs 'do': ", StrJoin(names, ", ")));
    }
    QR_ASSIGN_OR_RETURN(const std::string kind, node.Get("do").AsChoice(names));
    item->kind =
        static_cast<ScheduleKind>(std::find(names.begin(), names.end(), kind) - names.begin());
    QR_RETURN_IF_ERROR(ReadFields(node, ScheduleFields(), StrCat("schedule item '", kind, "'"),
                                  VariantOf(item->kind), kMore, item));
    if (item->every_ns == 0 && !node.Has("at")) {
      return node.Error("a schedule item needs 'at', 'every' or both");
    }
    if (phase.duration_ns > 0 && item->at_ns > phase.duration_ns && !overrides_.duration_ns) {
      return node.Error(StrCat("at ", FormatGoDuration(item->at_ns), " phase '", phase.name,
                               "' is over: it lasts ", FormatGoDuration(phase.duration_ns)));
    }
    return absl::OkStatus();
  }

  absl::Status CheckOverridesUsed(const YamlNode& root) const {
    if (overrides_.duration_ns && !duration_used_) {
      return root.Error("--duration: no measured phase of this workload has a duration");
    }
    if (overrides_.rate && !rate_used_) {
      return root.Error("--rate: no measured phase of this workload has an open loop");
    }
    return absl::OkStatus();
  }

  const Overrides& overrides_;
  Workload& out_;
  bool duration_used_ = false;
  bool rate_used_ = false;
};

bool IsParameterNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

absl::Status CheckParameter(const YamlNode& node, const std::string& name,
                            const std::string& value) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), IsParameterNameChar)) {
    return node.Error(StrCat("a parameter's name has letters, digits and '_', not '", name, "'"));
  }
  constexpr std::string_view kAllowed = " ./_+-:%";
  for (const char c : value) {
    if (!IsParameterNameChar(c) && kAllowed.find(c) == std::string_view::npos) {
      return node.Error(StrCat("the value '", value, "' of parameter '", name,
                               "' has a character other than letters, digits and ", kAllowed));
    }
  }
  return absl::OkStatus();
}

// The file's parameters with the command line's values in force.
absl::StatusOr<Parameters> ReadParameters(const YamlNode& root, const Overrides& overrides) {
  Parameters parameters;
  const YamlNode node = root.Get("parameters");
  std::vector<std::string> known;
  if (node.kind() != YamlNode::Kind::kNull) {
    if (node.kind() != YamlNode::Kind::kMap) {
      return node.Error("'parameters' must be names with default values");
    }
    for (const std::string& name : node.Keys()) {
      QR_ASSIGN_OR_RETURN(std::string value, node.Get(name).AsString());
      known.push_back(name);
      parameters.emplace_back(name, std::move(value));
    }
  }
  for (const auto& [name, value] : overrides.parameters) {
    const auto place = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (place == parameters.end()) {
      return node.Error(
          StrCat("--set ", name, ": no such parameter; known: ", StrJoin(known, ", ")));
    }
    place->second = value;
  }
  for (const auto& [name, value] : parameters) {
    QR_RETURN_IF_ERROR(CheckParameter(node.Get(name), name, value));
  }
  return parameters;
}

}  // namespace

absl::StatusOr<std::string> SubstituteParameters(std::string_view text,
                                                 const std::string& name_for_errors,
                                                 const Parameters& parameters) {
  std::string out;
  int line = 1;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool comment =
        c == '#' && quote == 0 &&
        (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\n' || text[i - 1] == '\t');
    if (comment) {
      const size_t end = std::min(text.find('\n', i), text.size());
      out.append(text.substr(i, end - i));
      i = end - 1;
      continue;
    }
    if (c == '\n') ++line;
    // An apostrophe inside a word opens no quotation.
    const bool may_open =
        i == 0 || std::string_view(" \n\t[{,:(").find(text[i - 1]) != std::string_view::npos;
    if ((c == '"' || c == '\'') && (quote == c || (quote == 0 && may_open))) {
      quote = quote == 0 ? c : 0;
    }
    if (c != '$' || i + 1 >= text.size() || text[i + 1] != '(') {
      out += c;
      continue;
    }
    const size_t end = text.find(')', i);
    const std::string name(text.substr(i + 2, end == std::string_view::npos ? 20 : end - i - 2));
    const auto place = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    if (end == std::string_view::npos || place == parameters.end()) {
      std::vector<std::string> known;
      for (const auto& entry : parameters) known.push_back(entry.first);
      return absl::InvalidArgumentError(
          ToAbsl(StrCat(name_for_errors, ":", line, ": unknown parameter '", name,
                        "'; known: ", StrJoin(known, ", "))));
    }
    out += place->second;
    i = end;
  }
  return out;
}

absl::StatusOr<Workload> ParseWorkload(std::string_view text, const std::string& name_for_errors,
                                       const Overrides& overrides) {
  // Twice: once for the parameters, once with their values in place. Line numbers stay the same.
  Workload workload;
  {
    QR_ASSIGN_OR_RETURN(const YamlNode root, ParseYamlText(text, name_for_errors));
    if (root.kind() != YamlNode::Kind::kMap) {
      return root.Error("a workload is keys and values; `quorate-bench describe` shows them");
    }
    QR_ASSIGN_OR_RETURN(workload.parameters, ReadParameters(root, overrides));
  }
  QR_ASSIGN_OR_RETURN(const std::string full,
                      SubstituteParameters(text, name_for_errors, workload.parameters));
  QR_ASSIGN_OR_RETURN(const YamlNode root, ParseYamlText(full, name_for_errors));
  workload.file = name_for_errors;
  QR_RETURN_IF_ERROR(Parser(overrides, &workload).Read(root));
  return workload;
}

absl::StatusOr<Workload> ReadWorkloadFile(const std::string& path, const Overrides& overrides) {
  QR_ASSIGN_OR_RETURN(const std::string text, ReadFileToString(PosixFileEnv(), path));
  return ParseWorkload(text, path, overrides);
}

}  // namespace quorate::workload
