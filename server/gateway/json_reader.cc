#include "server/gateway/json_reader.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/status_util.h"
#include "base/text.h"
#include "server/gateway/base64.h"

namespace quorate::server {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

// Arrays and objects within each other. Go's reader takes ten times as many, from a stack that
// grows; protobuf's own parser, which reads the request next, takes 100 messages.
constexpr int kDepthMax = 1'000;
// The digits of any 64-bit integer.
constexpr size_t kDigitsMax = 20;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

size_t DigitsAt(std::string_view text, size_t at) {
  size_t count = 0;
  while (at + count < text.size() && IsDigit(text[at + count])) ++count;
  return count;
}

// How much of the front of `text` is one JSON number; 0 = none is.
size_t NumberSize(std::string_view text) {
  size_t at = !text.empty() && text.front() == '-' ? 1 : 0;
  const size_t whole = DigitsAt(text, at);
  if (whole == 0 || (whole > 1 && text[at] == '0')) return 0;
  at += whole;
  if (at < text.size() && text[at] == '.') {
    const size_t fraction = DigitsAt(text, at + 1);
    if (fraction == 0) return 0;
    at += 1 + fraction;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    size_t exponent = at + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    const size_t digits = DigitsAt(text, exponent);
    if (digits == 0) return 0;
    at = exponent + digits;
  }
  return at;
}

// "12", "-1.20e1" and so on as plain digits with a sign; nullopt unless it is a whole number of at
// most 20 digits.
std::optional<std::string> PlainInteger(std::string_view text) {
  if (text.empty() || NumberSize(text) != text.size()) return std::nullopt;
  const bool negative = text.front() == '-';
  if (negative) text.remove_prefix(1);
  const size_t exponent_at = std::min(text.find_first_of("eE"), text.size());
  int64_t exponent = 0;
  if (exponent_at < text.size()) {
    std::string_view digits = text.substr(exponent_at + 1);
    if (digits.front() == '+') digits.remove_prefix(1);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    if (parsed.ec != std::errc()) exponent = INT32_MAX;
  }
  const std::string_view mantissa = text.substr(0, exponent_at);
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  std::string digits(mantissa.substr(0, point));
  if (point < mantissa.size()) {
    digits.append(mantissa.substr(point + 1));
    exponent -= static_cast<int64_t>(mantissa.size() - point - 1);
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return "0";
  for (; exponent < 0 && !digits.empty(); ++exponent) {
    if (digits.back() != '0') return std::nullopt;
    digits.pop_back();
  }
  if (exponent < 0 || exponent > static_cast<int64_t>(kDigitsMax)) return std::nullopt;
  digits.append(static_cast<size_t>(exponent), '0');
  if (digits.size() > kDigitsMax) return std::nullopt;
  return negative ? "-" + digits : digits;
}

template <class Integer>
std::optional<Integer> ParseInteger(std::string_view text) {
  const std::optional<std::string> plain = PlainInteger(text);
  if (!plain.has_value()) return std::nullopt;
  Integer value = 0;
  const auto parsed = std::from_chars(plain->data(), plain->data() + plain->size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != plain->data() + plain->size()) return std::nullopt;
  return value;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  out->push_back(static_cast<char>(kLead[more] | code >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) {
    out->push_back(static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3f)));
  }
}

// The size of the UTF-8 sequence at the front of `text`; 0 = it is none.
size_t Utf8Size(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Too long for what they say, halves of pairs, beyond the last character.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return size;
}

absl::Status Invalid(const FieldDescriptor* field) {
  return absl::InvalidArgumentError(
      StrCat("proto: invalid value for ", field->type_name(), " field ", field->json_name()));
}

const FieldDescriptor* FindField(const Message& message, std::string_view name) {
  const google::protobuf::Descriptor* type = message.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->name() == name || field->json_name() == name) return field;
  }
  return nullptr;
}

}  // namespace

void JsonReader::SkipBlanks() {
  rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
}

bool JsonReader::AtEnd() {
  SkipBlanks();
  return rest_.empty();
}

bool JsonReader::TryTake(char c) {
  SkipBlanks();
  if (rest_.empty() || rest_.front() != c) return false;
  rest_.remove_prefix(1);
  return true;
}

bool JsonReader::TryTakeWord(std::string_view word) {
  SkipBlanks();
  if (rest_.substr(0, word.size()) != word) return false;
  rest_.remove_prefix(word.size());
  return true;
}

absl::Status JsonReader::Unexpected() const {
  if (rest_.empty()) return absl::InvalidArgumentError("unexpected EOF");
  const auto c = static_cast<unsigned char>(rest_.front());
  const bool printable = c > 0x20 && c < 0x7f;
  return absl::InvalidArgumentError(
      printable ? StrCat("proto: syntax error: unexpected token ", rest_.substr(0, 1))
                : std::string("proto: syntax error"));
}

absl::Status JsonReader::Expect(char c) { return TryTake(c) ? absl::OkStatus() : Unexpected(); }

absl::Status JsonReader::Next(Message* message) {
  SkipBlanks();
  return ReadMessage(message, 0);
}

absl::Status JsonReader::ReadMessage(Message* message, int depth) {
  if (depth > kDepthMax) return absl::InvalidArgumentError("proto: exceeded max depth");
  QR_RETURN_IF_ERROR(Expect('{'));
  if (TryTake('}')) return absl::OkStatus();
  std::set<int> seen;
  std::set<const OneofDescriptor*> seen_oneofs;
  do {
    SkipBlanks();
    std::string name;
    QR_RETURN_IF_ERROR(ReadString(&name));
    QR_RETURN_IF_ERROR(Expect(':'));
    const FieldDescriptor* field = FindField(*message, name);
    if (field == nullptr) {
      QR_RETURN_IF_ERROR(Skip(depth + 1));
      continue;
    }
    if (!seen.insert(field->number()).second) {
      return absl::InvalidArgumentError(StrCat("proto: duplicate field \"", name, "\""));
    }
    if (TryTakeWord("null")) continue;
    const OneofDescriptor* oneof = field->real_containing_oneof();
    if (oneof != nullptr && !seen_oneofs.insert(oneof).second) {
      return absl::InvalidArgumentError(StrCat("proto: error parsing \"", name, "\", oneof ",
                                               oneof->full_name(), " is already set"));
    }
    QR_RETURN_IF_ERROR(ReadField(field, message, depth + 1));
  } while (TryTake(','));
  return Expect('}');
}

absl::Status JsonReader::ReadField(const Field* field, Message* message, int depth) {
  return field->is_repeated() ? ReadList(field, message, depth) : ReadValue(field, message, depth);
}

absl::Status JsonReader::ReadList(const Field* field, Message* message, int depth) {
  QR_RETURN_IF_ERROR(Expect('['));
  if (TryTake(']')) return absl::OkStatus();
  do {
    QR_RETURN_IF_ERROR(ReadValue(field, message, depth + 1));
  } while (TryTake(','));
  return Expect(']');
}

absl::Status JsonReader::ReadValue(const Field* field, Message* message, int depth) {
  SkipBlanks();
  const google::protobuf::Reflection* reflection = message->GetReflection();
  switch (field->cpp_type()) {
    case Field::CPPTYPE_MESSAGE:
      return ReadMessage(field->is_repeated() ? reflection->AddMessage(message, field)
                                              : reflection->MutableMessage(message, field),
                         depth);
    case Field::CPPTYPE_ENUM:
      return ReadEnum(field, message);
    case Field::CPPTYPE_BOOL: {
      const bool value = TryTakeWord("true");
      if (!value && !TryTakeWord("false")) return Invalid(field);
      field->is_repeated() ? reflection->AddBool(message, field, value)
                           : reflection->SetBool(message, field, value);
      return absl::OkStatus();
    }
    case Field::CPPTYPE_STRING: {
      if (field->type() == Field::TYPE_BYTES) return ReadBytes(field, message);
      if (rest_.empty() || rest_.front() != '"') return Invalid(field);
      std::string value;
      QR_RETURN_IF_ERROR(ReadString(&value));
      field->is_repeated() ? reflection->AddString(message, field, std::move(value))
                           : reflection->SetString(message, field, std::move(value));
      return absl::OkStatus();
    }
    default:
      return ReadInteger(field, message);
  }
}

absl::Status JsonReader::ReadInteger(const Field* field, Message* message) {
  std::string quoted;
  std::string_view text;
  if (!rest_.empty() && rest_.front() == '"') {
    QR_RETURN_IF_ERROR(ReadString(&quoted));
    text = quoted;
  } else if (!ReadNumber(&text).ok()) {
    return Invalid(field);
  }
  const google::protobuf::Reflection* reflection = message->GetReflection();
  const auto store = [&](auto value, auto add, auto set) {
    if (!value.has_value()) return Invalid(field);
    (reflection->*(field->is_repeated() ? add : set))(message, field, *value);
    return absl::OkStatus();
  };
  using R = google::protobuf::Reflection;
  switch (field->cpp_type()) {
    case Field::CPPTYPE_INT32:
      return store(ParseInteger<int32_t>(text), &R::AddInt32, &R::SetInt32);
    case Field::CPPTYPE_UINT32:
      return store(ParseInteger<uint32_t>(text), &R::AddUInt32, &R::SetUInt32);
    case Field::CPPTYPE_INT64:
      return store(ParseInteger<int64_t>(text), &R::AddInt64, &R::SetInt64);
    case Field::CPPTYPE_UINT64:
      return store(ParseInteger<uint64_t>(text), &R::AddUInt64, &R::SetUInt64);
    default:
      QR_CHECK_MSG(false, "etcd's requests have no such field: " + field->full_name());
      return absl::OkStatus();
  }
}

absl::Status JsonReader::ReadEnum(const Field* field, Message* message) {
  const google::protobuf::Reflection* reflection = message->GetReflection();
  std::optional<int> value;
  if (!rest_.empty() && rest_.front() == '"') {
    std::string name;
    QR_RETURN_IF_ERROR(ReadString(&name));
    const EnumValueDescriptor* known = field->enum_type()->FindValueByName(name);
    if (known == nullptr) return absl::OkStatus();
    value = known->number();
  } else {
    std::string_view text;
    if (ReadNumber(&text).ok()) value = ParseInteger<int32_t>(text);
  }
  if (!value.has_value()) return Invalid(field);
  field->is_repeated() ? reflection->AddEnumValue(message, field, *value)
                       : reflection->SetEnumValue(message, field, *value);
  return absl::OkStatus();
}

absl::Status JsonReader::ReadBytes(const Field* field, Message* message) {
  if (rest_.empty() || rest_.front() != '"') return Invalid(field);
  std::string text;
  QR_RETURN_IF_ERROR(ReadString(&text));
  std::optional<std::string> value = DecodeJsonBytes(text);
  if (!value.has_value()) return Invalid(field);
  const google::protobuf::Reflection* reflection = message->GetReflection();
  field->is_repeated() ? reflection->AddString(message, field, *std::move(value))
                       : reflection->SetString(message, field, *std::move(value));
  return absl::OkStatus();
}

absl::Status JsonReader::ReadNumber(std::string_view* out) {
  const size_t size = NumberSize(rest_);
  if (size == 0) return Unexpected();
  *out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return absl::OkStatus();
}

absl::Status JsonReader::ReadString(std::string* out) {
  if (rest_.empty() || rest_.front() != '"') return Unexpected();
  rest_.remove_prefix(1);
  while (!rest_.empty()) {
    const auto c = static_cast<unsigned char>(rest_.front());
    if (c == '"') {
      rest_.remove_prefix(1);
      return absl::OkStatus();
    }
    if (c < 0x20) return Unexpected();
    if (c == '\\') {
      rest_.remove_prefix(1);
      QR_RETURN_IF_ERROR(ReadEscape(out));
      continue;
    }
    const size_t size = Utf8Size(rest_);
    if (size == 0) return absl::InvalidArgumentError("proto: syntax error: invalid UTF-8");
    out->append(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  return Unexpected();
}

absl::Status JsonReader::ReadEscape(std::string* out) {
  constexpr std::string_view kNames = "\"\\/bfnrt";
  constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  if (rest_.empty()) return Unexpected();
  const size_t which = kNames.find(rest_.front());
  if (which != std::string_view::npos) {
    out->push_back(kMeanings[which]);
    rest_.remove_prefix(1);
    return absl::OkStatus();
  }
  return ReadUnicode(out);
}

absl::Status JsonReader::ReadUnicode(std::string* out) {
  uint32_t code;
  QR_RETURN_IF_ERROR(ReadHex(&code));
  if (code >= 0xd800 && code < 0xe000) {
    // The first half of a pair; the second must follow.
    uint32_t second = 0;
    if (code >= 0xdc00 || rest_.substr(0, 1) != "\\") return Unexpected();
    rest_.remove_prefix(1);
    QR_RETURN_IF_ERROR(ReadHex(&second));
    if (second < 0xdc00 || second >= 0xe000) return Unexpected();
    code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
  }
  AppendUtf8(code, out);
  return absl::OkStatus();
}

// "u12ab"
absl::Status JsonReader::ReadHex(uint32_t* code) {
  constexpr size_t kSize = 5;
  if (rest_.substr(0, 1) != "u") return Unexpected();
  if (rest_.size() < kSize) return absl::InvalidArgumentError("unexpected EOF");
  *code = 0;
  const auto parsed = std::from_chars(rest_.data() + 1, rest_.data() + kSize, *code, 16);
  if (parsed.ec != std::errc() || parsed.ptr != rest_.data() + kSize) return Unexpected();
  rest_.remove_prefix(kSize);
  return absl::OkStatus();
}

absl::Status JsonReader::Skip(int depth) {
  if (depth > kDepthMax) return absl::InvalidArgumentError("proto: exceeded max depth");
  SkipBlanks();
  if (TryTakeWord("null") || TryTakeWord("true") || TryTakeWord("false")) return absl::OkStatus();
  if (rest_.empty()) return Unexpected();
  std::string text;
  if (rest_.front() == '"') return ReadString(&text);
  const bool object = TryTake('{');
  if (!object && !TryTake('[')) {
    std::string_view number;
    return ReadNumber(&number);
  }
  const char end = object ? '}' : ']';
  if (TryTake(end)) return absl::OkStatus();
  do {
    if (object) {
      SkipBlanks();
      QR_RETURN_IF_ERROR(ReadString(&text));
      QR_RETURN_IF_ERROR(Expect(':'));
    }
    QR_RETURN_IF_ERROR(Skip(depth + 1));
  } while (TryTake(','));
  return Expect(end);
}

}  // namespace quorate::server
