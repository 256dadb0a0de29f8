// JsonReader: requests in JSON as Go's protojson reads them for etcd's gateway. Strict JSON (RFC
// 8259), lenient about the message: names as declared or in lowerCamelCase, unknown fields and
// unknown enum names ignored, numbers also as strings, base64 of either alphabet with or without
// padding. A field given twice, or two of one oneof, are errors.
// One thread.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace quorate::server {

class JsonReader {
 public:
  // Reads one object after the other from `text`, which outlives the reader.
  explicit JsonReader(std::string_view text) : rest_(text) {}

  // Nothing but blanks is left.
  bool AtEnd();
  // Fills *message, which is empty, from the next object; what follows is left for the next call.
  // kInvalidArgument says what is wrong with it, and nothing more can be read.
  absl::Status Next(google::protobuf::Message* message);

 private:
  using Field = google::protobuf::FieldDescriptor;

  void SkipBlanks();
  bool TryTake(char c);
  bool TryTakeWord(std::string_view word);
  absl::Status Expect(char c);
  absl::Status Unexpected() const;

  absl::Status ReadMessage(google::protobuf::Message* message, int depth);
  absl::Status ReadField(const Field* field, google::protobuf::Message* message, int depth);
  absl::Status ReadList(const Field* field, google::protobuf::Message* message, int depth);
  absl::Status ReadValue(const Field* field, google::protobuf::Message* message, int depth);
  absl::Status ReadInteger(const Field* field, google::protobuf::Message* message);
  absl::Status ReadEnum(const Field* field, google::protobuf::Message* message);
  absl::Status ReadBytes(const Field* field, google::protobuf::Message* message);
  absl::Status ReadString(std::string* out);
  absl::Status ReadEscape(std::string* out);
  absl::Status ReadUnicode(std::string* out);
  absl::Status ReadHex(uint32_t* code);
  absl::Status ReadNumber(std::string_view* out);
  absl::Status Skip(int depth);

  std::string_view rest_;
};

}  // namespace quorate::server
