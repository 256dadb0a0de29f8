#include "server/gateway/json_writer.h"

#include <cstdio>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/check.h"
#include "base/text.h"

namespace quorate::server {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kSingular = -1;

void AppendEnum(const FieldDescriptor* field, int number, std::string* out) {
  const auto* known = field->enum_type()->FindValueByNumber(number);
  if (known == nullptr) {
    StrAppend(out, number);
  } else {
    StrAppend(out, "\"", known->name(), "\"");
  }
}

// The value of a singular field or the element `index` of a repeated one.
void AppendValue(const Message& message, const FieldDescriptor* field, int index,
                 std::string* out) {
  const Reflection* r = message.GetReflection();
  const bool one = index == kSingular;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return AppendJson(
          one ? r->GetMessage(message, field) : r->GetRepeatedMessage(message, field, index), out);
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string scratch;
      const std::string& text =
          one ? r->GetStringReference(message, field, &scratch)
              : r->GetRepeatedStringReference(message, field, index, &scratch);
      if (field->type() != FieldDescriptor::TYPE_BYTES) return AppendJsonString(text, out);
      return StrAppend(out, "\"", absl::Base64Escape(ToAbsl(text)), "\"");
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      out->append((one ? r->GetBool(message, field) : r->GetRepeatedBool(message, field, index))
                      ? "true"
                      : "false");
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      return AppendEnum(
          field,
          one ? r->GetEnumValue(message, field) : r->GetRepeatedEnumValue(message, field, index),
          out);
    case FieldDescriptor::CPPTYPE_INT32:
      return StrAppend(
          out, one ? r->GetInt32(message, field) : r->GetRepeatedInt32(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return StrAppend(
          out, one ? r->GetUInt32(message, field) : r->GetRepeatedUInt32(message, field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return StrAppend(
          out, "\"", one ? r->GetInt64(message, field) : r->GetRepeatedInt64(message, field, index),
          "\"");
    case FieldDescriptor::CPPTYPE_UINT64:
      return StrAppend(
          out, "\"",
          one ? r->GetUInt64(message, field) : r->GetRepeatedUInt64(message, field, index), "\"");
    default:
      QR_CHECK_MSG(false, "etcd's answers have no such field: " + field->full_name());
  }
}

}  // namespace

void AppendJson(const Message& message, std::string* out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  out->push_back('{');
  for (const FieldDescriptor* field : fields) {
    if (field != fields.front()) out->push_back(',');
    StrAppend(out, "\"", field->name(), "\":");
    if (!field->is_repeated()) {
      AppendValue(message, field, kSingular, out);
      continue;
    }
    out->push_back('[');
    const int count = message.GetReflection()->FieldSize(message, field);
    for (int i = 0; i < count; ++i) {
      if (i > 0) out->push_back(',');
      AppendValue(message, field, i, out);
    }
    out->push_back(']');
  }
  out->push_back('}');
}

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out->append("\\\"");
        break;
      case '\\':
        out->append("\\\\");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) {
          out->push_back(c);
          break;
        }
        char code[8];
        snprintf(code, sizeof(code), "\\u%04x", static_cast<unsigned>(c));
        out->append(code);
    }
  }
  out->push_back('"');
}

}  // namespace quorate::server
