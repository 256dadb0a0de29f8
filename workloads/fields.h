// Field tables: one row per key of the workload language says name, notation, default and meaning,
// how to read it and how to print it. Parser, `check`, `describe` and the error texts that list
// known names all come from the same rows.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/options.h"
#include "base/status_util.h"
#include "base/strict_yaml.h"
#include "base/text.h"
#include "workloads/workload.h"

namespace quorate::workload {

inline constexpr uint32_t kEveryVariant = ~uint32_t{0};

template <class T>
struct Field {
  std::string key;
  std::string notation;  // "duration", "256B or 64B..1KiB"
  std::string help;
  std::function<absl::Status(const YamlNode&, T*)> read;
  std::function<std::string(const T&)> print;  // as YAML would write it
  // Bit per variant (operation type, schedule kind) that knows this key.
  uint32_t variants = kEveryVariant;
  bool required = false;
};

template <class T>
using FieldTable = std::vector<Field<T>>;

// --- notations

std::string FormatByteSize(int64_t bytes);  // "256B", "4KiB"
std::string FormatRate(double per_second);  // "1000/s"
std::string FormatNumber(double number);    // shortest digits that read back
std::string QuoteYaml(std::string_view text);
absl::StatusOr<double> ReadRate(const YamlNode& node);  // unit required: "1000/s"
absl::StatusOr<SizeRange> ReadSizeRange(const YamlNode& node, int64_t min, int64_t max);
std::string FormatSizeRange(const SizeRange& range);

// --- rows

template <class T>
Field<T> IntField(std::string key, int64_t T::*member, std::string help, int64_t min, int64_t max) {
  return {std::move(key), "number", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, node.AsInt(min, max));
            return absl::OkStatus();
          },
          [=](const T& from) { return StrCat(from.*member); }};
}

template <class T>
Field<T> NumberField(std::string key, double T::*member, std::string help, double min, double max) {
  return {std::move(key), "number", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, node.AsDouble(min, max));
            if (!std::isfinite(out->*member)) return node.Error("not a number");
            return absl::OkStatus();
          },
          [=](const T& from) { return FormatNumber(from.*member); }};
}

template <class T>
Field<T> DurationField(std::string key, int64_t T::*member, std::string help, int64_t min_ns) {
  return {std::move(key), "duration", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, node.AsDurationNs());
            if (out->*member < min_ns) {
              return node.Error(StrCat("at least ", FormatGoDuration(min_ns), ", not ",
                                       FormatGoDuration(out->*member)));
            }
            return absl::OkStatus();
          },
          [=](const T& from) { return FormatGoDuration(from.*member); }};
}

template <class T>
Field<T> BytesField(std::string key, int64_t T::*member, std::string help, int64_t max) {
  return {std::move(key), "bytes", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, node.AsBytes());
            if (out->*member > max) {
              return node.Error(StrCat("at most ", FormatByteSize(max)));
            }
            return absl::OkStatus();
          },
          [=](const T& from) { return FormatByteSize(from.*member); }};
}

template <class T>
Field<T> BoolField(std::string key, bool T::*member, std::string help) {
  return {std::move(key), "true or false", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, node.AsBool());
            return absl::OkStatus();
          },
          [=](const T& from) -> std::string { return from.*member ? "true" : "false"; }};
}

template <class T>
Field<T> StringField(std::string key, std::string T::*member, std::string help) {
  return {std::move(key), "text", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, node.AsString());
            return absl::OkStatus();
          },
          [=](const T& from) { return QuoteYaml(from.*member); }};
}

template <class T>
Field<T> RateField(std::string key, double T::*member, std::string help) {
  return {std::move(key), "rate", std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(out->*member, ReadRate(node));
            return absl::OkStatus();
          },
          [=](const T& from) { return FormatRate(from.*member); }};
}

// `names` in the order of the enum's values.
template <class T, class Enum>
Field<T> ChoiceField(std::string key, Enum T::*member, std::vector<std::string> names,
                     std::string help) {
  return {std::move(key), StrJoin(names, " | "), std::move(help),
          [=](const YamlNode& node, T* out) -> absl::Status {
            QR_ASSIGN_OR_RETURN(const std::string text, node.AsChoice(names));
            for (size_t i = 0; i < names.size(); ++i) {
              if (names[i] == text) out->*member = static_cast<Enum>(i);
            }
            return absl::OkStatus();
          },
          [=](const T& from) { return names[static_cast<size_t>(from.*member)]; }};
}

template <class T>
Field<T> Required(Field<T> field) {
  field.required = true;
  return field;
}

template <class T>
Field<T> Only(uint32_t variants, Field<T> field) {
  field.variants = variants;
  return field;
}

// --- reading

template <class T>
std::vector<std::string> KnownKeys(const FieldTable<T>& table, uint32_t variant,
                                   std::span<const std::string_view> more = {}) {
  std::vector<std::string> known;
  for (const auto& field : table) {
    if ((field.variants & variant) != 0) known.push_back(field.key);
  }
  known.insert(known.end(), more.begin(), more.end());
  return known;
}

// Reads every field of `variant` that is there; `more` are keys that the caller reads itself.
// `what` names the section in errors.
template <class T>
absl::Status ReadFields(const YamlNode& node, const FieldTable<T>& table, std::string_view what,
                        uint32_t variant, std::span<const std::string_view> more, T* out) {
  if (node.kind() != YamlNode::Kind::kMap) {
    return node.Error(StrCat(
        what, " must be keys and values, known: ", StrJoin(KnownKeys(table, variant, more), ", ")));
  }
  QR_RETURN_IF_ERROR(node.CheckKeys(KnownKeys(table, variant, more)));
  for (const auto& field : table) {
    if ((field.variants & variant) == 0) continue;
    if (node.Has(field.key)) {
      QR_RETURN_IF_ERROR(field.read(node.Get(field.key), out));
    } else if (field.required) {
      return node.Error(StrCat(what, " needs '", field.key, "' (", field.notation, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace quorate::workload
