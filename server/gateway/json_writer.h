// Answers as JSON, the way etcd's gateway writes them: names as declared, fields that are not set
// or zero left out, 64-bit integers as decimal strings, bytes as padded base64, enums by name. Any
// thread.
#pragma once

#include <string>
#include <string_view>

#include "google/protobuf/message.h"

namespace quorate::server {

void AppendJson(const google::protobuf::Message& message, std::string* out);
// With its quotes.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace quorate::server
