#include "ctl/text_forms.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/json_text.h"
#include "base/text.h"

namespace quorate::ctl {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string ScalarJson(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool repeated = index >= 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return StrCat(repeated ? r.GetRepeatedInt32(message, &field, index)
                             : r.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return StrCat(repeated ? r.GetRepeatedInt64(message, &field, index)
                             : r.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return StrCat(repeated ? r.GetRepeatedUInt32(message, &field, index)
                             : r.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return StrCat(repeated ? r.GetRepeatedUInt64(message, &field, index)
                             : r.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return StrCat(repeated ? r.GetRepeatedEnumValue(message, &field, index)
                             : r.GetEnumValue(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL: {
      const bool value =
          repeated ? r.GetRepeatedBool(message, &field, index) : r.GetBool(message, &field);
      return value ? "true" : "false";
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string scratch;
      const std::string& text = repeated
                                    ? r.GetRepeatedStringReference(message, &field, index, &scratch)
                                    : r.GetStringReference(message, &field, &scratch);
      if (field.type() == FieldDescriptor::TYPE_BYTES) return StrCat("\"", Base64(text), "\"");
      return JsonString(text);
    }
    default:
      return "null";  // no message of etcd's has floating-point fields
  }
}

std::string ValueJson(const Message& message, const FieldDescriptor& field, int index, IdForm ids) {
  const Reflection& r = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return GoJson(
        index >= 0 ? r.GetRepeatedMessage(message, &field, index) : r.GetMessage(message, &field),
        ids);
  }
  const std::string& name = field.name();
  if (ids == IdForm::kHex && index < 0 &&
      (name == "cluster_id" || name == "member_id" || name == "ID") &&
      field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    return StrCat("\"", Hex(r.GetUInt64(message, &field)), "\"");
  }
  return ScalarJson(message, field, index);
}

void AddField(const Message& message, const FieldDescriptor& field, IdForm ids, std::string* out) {
  const Reflection& r = *message.GetReflection();
  std::string value;
  if (field.is_repeated()) {
    std::vector<std::string> items;
    for (int i = 0; i < r.FieldSize(message, &field); ++i) {
      items.push_back(ValueJson(message, field, i, ids));
    }
    value = StrCat("[", StrJoin(items, ","), "]");
  } else {
    value = ValueJson(message, field, -1, ids);
  }
  std::string pair = StrCat("\"", field.name(), "\":", value);
  if (const auto* oneof = field.real_containing_oneof()) {
    // Go holds a oneof in a struct of its own, under a capitalised name.
    std::string name = oneof->name();
    name[0] = static_cast<char>(name[0] - 'a' + 'A');
    pair = StrCat("\"", name, "\":{", pair, "}");
  }
  if (!out->empty()) *out += ',';
  *out += pair;
}

}  // namespace

std::string GoQuote(std::string_view bytes) {
  std::string out = "\"";
  while (!bytes.empty()) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    const size_t length = Utf8CharSize(bytes);
    char escape[8];
    if (byte == '"' || byte == '\\') {
      out += {'\\', static_cast<char>(byte)};
    } else if (const size_t at = std::string_view("\a\b\f\n\r\t\v").find(bytes.front());
               at != std::string_view::npos) {
      out += {'\\', "abfnrtv"[at]};
    } else if (length == 0 || byte < 0x20 || byte == 0x7f) {
      std::snprintf(escape, sizeof(escape), "\\x%02x", byte);
      out += escape;
    } else {
      out += bytes.substr(0, length);
    }
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return out + "\"";
}

std::string HexEscapes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    char escape[8];
    std::snprintf(escape, sizeof(escape), "\\x%02x", static_cast<unsigned char>(c));
    out += escape;
  }
  return out;
}

std::string Base64(std::string_view bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view three = bytes.substr(i, 3);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (j < three.size() ? static_cast<unsigned char>(three[j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += j <= three.size() ? kDigits[bits >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 10) return StrCat(bytes, " B");
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit < std::size(kUnits) - 1) {
    value /= 1000;
    ++unit;
  }
  value = std::floor(value * 10 + 0.5) / 10;
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

std::string Hex(uint64_t id) { return HexText(id); }

std::string PaddedHex(uint64_t id) {
  const std::string digits = HexText(id);
  return std::string(16 - digits.size(), '0') + digits;
}

std::string SpacedHex(uint64_t id) {
  const std::string digits = HexText(id);
  return std::string(16 - digits.size(), ' ') + digits;
}

std::string BoxTable(const std::vector<std::string>& headings,
                     const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (size_t i = 0; i < headings.size(); ++i) {
    size_t width = headings[i].size();
    for (const auto& row : rows) width = std::max(width, row[i].size());
    widths.push_back(width);
  }
  const auto rule = [&](const char* left, const char* middle, const char* right) {
    std::string line = left;
    for (size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) line += middle;
      for (size_t j = 0; j < widths[i] + 2; ++j) line += "─";
    }
    return line + right + "\n";
  };
  const auto blanks = [](size_t count) { return std::string(count, ' '); };
  std::string out = rule("┌", "┬", "┐") + "│";
  for (size_t i = 0; i < headings.size(); ++i) {
    const size_t room = widths[i] - headings[i].size();
    StrAppend(&out, " ", blanks(room / 2), headings[i], blanks(room - room / 2), " │");
  }
  StrAppend(&out, "\n", rule("├", "┼", "┤"));
  for (const auto& row : rows) {
    out += "│";
    for (size_t i = 0; i < row.size(); ++i) {
      StrAppend(&out, " ", blanks(widths[i] - row[i].size()), row[i], " │");
    }
    out += "\n";
  }
  return out + rule("└", "┴", "┘");
}

std::string RowLines(const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  for (const auto& row : rows) StrAppend(&out, StrJoin(row, ", "), "\n");
  return out;
}

std::string GoJsonFields(const Message& message, IdForm ids) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);  // set ones, by number
  // Go writes struct fields as they stand in the file, which for etcd is by number as well.
  std::string out;
  for (const FieldDescriptor* field : fields) AddField(message, *field, ids, &out);
  return out;
}

std::string GoJson(const Message& message, IdForm ids) {
  return StrCat("{", GoJsonFields(message, ids), "}");
}

}  // namespace quorate::ctl
