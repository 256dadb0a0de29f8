// How etcdctl writes values: Go's %q, --hex, humanized sizes, durations, tables of boxes, and
// messages as Go's encoding/json writes etcd's generated structs.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quorate::ctl {

// "k\x01\"" in quotes; valid UTF-8 that can be printed stays.
std::string GoQuote(std::string_view bytes);
std::string HexEscapes(std::string_view bytes);  // \x66\x6f
std::string Base64(std::string_view bytes);
std::string HumanBytes(uint64_t bytes);  // "20 kB", "2.1 GB"
std::string PaddedHex(uint64_t id);      // 16 digits
std::string SpacedHex(uint64_t id);      // 16 places, blanks in front
std::string Hex(uint64_t id);

// One table with headings in capitals, cells to the right.
std::string BoxTable(const std::vector<std::string>& headings,
                     const std::vector<std::vector<std::string>>& rows);

// Rows with commas between the cells: what -w simple has in place of a table.
std::string RowLines(const std::vector<std::vector<std::string>>& rows);

enum class IdForm { kDecimal, kHex };  // of cluster_id, member_id and ID

// Fields by their proto names, those with zero values left out, bytes in base64, enums as numbers.
std::string GoJson(const google::protobuf::Message& message, IdForm ids = IdForm::kDecimal);
// The fields of `message` without the braces around: `"a":1,"b":2`.
std::string GoJsonFields(const google::protobuf::Message& message, IdForm ids = IdForm::kDecimal);

}  // namespace quorate::ctl
