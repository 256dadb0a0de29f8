#include "tests/wire/descriptor_rows.h"

#include <google/protobuf/descriptor.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/authpb.pb.h"
#include "proto/etcdserverpb.pb.h"
#include "proto/health.pb.h"
#include "proto/leasepb.pb.h"
#include "proto/membershippb.pb.h"
#include "proto/metadata.pb.h"
#include "proto/mvccpb.pb.h"
#include "proto/raft_internal.pb.h"
#include "proto/raftpb.pb.h"
#include "proto/snappb.pb.h"
#include "proto/v3electionpb.pb.h"
#include "proto/v3lockpb.pb.h"
#include "proto/versionpb.pb.h"
#include "proto/walpb.pb.h"

namespace quorate::wire {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::ServiceDescriptor;

// versionpb has extensions only. Naming one keeps the linker from dropping the file, as naming a
// message does for the others.
const FileDescriptor* VersionFile() {
  static const void* volatile keep = &versionpb::etcd_version_msg;
  (void)keep;
  return google::protobuf::DescriptorPool::generated_pool()->FindFileByName(
      "proto/versionpb.proto");
}

std::vector<const FileDescriptor*> TableFiles() {
  return {
      authpb::User::descriptor()->file(),
      etcdserverpb::RangeRequest::descriptor()->file(),
      etcdserverpb::InternalRaftRequest::descriptor()->file(),
      etcdserverpb::Metadata::descriptor()->file(),
      leasepb::Lease::descriptor()->file(),
      membershippb::Member::descriptor()->file(),
      mvccpb::KeyValue::descriptor()->file(),
      raftpb::Entry::descriptor()->file(),
      snappb::snapshot::descriptor()->file(),
      v3electionpb::LeaderKey::descriptor()->file(),
      v3lockpb::LockRequest::descriptor()->file(),
      VersionFile(),
      walpb::Record::descriptor()->file(),
  };
}

std::vector<std::vector<std::string>> ReadTable(const std::string& path, size_t columns) {
  std::ifstream in(path);
  if (!in) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    std::abort();
  }
  std::vector<std::vector<std::string>> rows;
  std::string line;
  std::getline(in, line);  // the heading
  while (std::getline(in, line)) {
    rows.push_back(absl::StrSplit(line, '\t'));
    if (rows.back().size() != columns) {
      std::fprintf(stderr, "%s: a row has %zu columns instead of %zu: %s\n", path.c_str(),
                   rows.back().size(), columns, line.c_str());
      std::abort();
    }
  }
  return rows;
}

std::string Row(const std::vector<std::string>& cells) { return absl::StrJoin(cells, " | "); }

// The name inside its package: "RangeRequest.SortOrder".
template <typename D>
std::string LocalName(const D& descriptor) {
  const std::string& package = descriptor.file()->package();
  return descriptor.full_name().substr(package.size() + 1);
}

std::string Syntax(const FileDescriptor& file) {
  return file.syntax() == FileDescriptor::SYNTAX_PROTO2 ? "proto2" : "proto3";
}

std::string DefaultText(const FieldDescriptor& field) {
  if (field.is_repeated()) return "[]";
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "unset";
    case FieldDescriptor::CPPTYPE_ENUM:
      return field.default_value_enum()->name();
    case FieldDescriptor::CPPTYPE_BOOL:
      return field.default_value_bool() ? "true" : "false";
    case FieldDescriptor::CPPTYPE_STRING:
      return absl::StrCat(field.type() == FieldDescriptor::TYPE_BYTES ? "b" : "", "\"",
                          field.default_value_string(), "\"");
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(field.default_value_int32());
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(field.default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(field.default_value_uint32());
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(field.default_value_uint64());
    default:
      return "a type that no table row has";
  }
}

std::string WireType(const FieldDescriptor& field) {
  if (field.is_packed()) return "2(packed)";
  switch (field.type()) {
    case FieldDescriptor::TYPE_MESSAGE:
    case FieldDescriptor::TYPE_BYTES:
    case FieldDescriptor::TYPE_STRING:
      return "2";
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
    case FieldDescriptor::TYPE_DOUBLE:
      return "1";
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
    case FieldDescriptor::TYPE_FLOAT:
      return "5";
    default:
      return "0";
  }
}

std::string FieldRow(const FieldDescriptor& field, const std::string& owner) {
  std::string type_name;
  if (field.message_type() != nullptr) type_name = field.message_type()->full_name();
  if (field.enum_type() != nullptr) type_name = field.enum_type()->full_name();
  const auto* oneof = field.real_containing_oneof();
  std::string presence = "-";
  if (!field.is_repeated()) {
    // An extension with `optional` has presence, which has_presence() of 3.21 does not say.
    presence = field.has_presence() || field.has_optional_keyword() ? "explicit" : "implicit";
  }
  std::string packed = "-";
  if (field.is_repeated()) packed = field.is_packed() ? "true" : "false";
  const std::string json_name =
      field.is_extension() ? absl::StrCat("[", field.full_name(), "]") : field.json_name();
  return Row({field.file()->package(), owner, field.name(), absl::StrCat(field.number()),
              field.type_name(), type_name, field.is_repeated() ? "repeated" : "optional",
              Syntax(*field.file()), presence, oneof == nullptr ? "" : oneof->name(), json_name,
              DefaultText(field), packed, field.options().deprecated() ? "true" : "false", "", "",
              WireType(field)});
}

std::string FieldlessRow(const Descriptor& message, const std::string& mark,
                         const std::string& number) {
  return Row({message.file()->package(), LocalName(message), mark, number, "", "", "",
              Syntax(*message.file()), "", "", "", "", "", "", "", "", ""});
}

void AddMessage(const Descriptor& message, Rows* rows) {
  if (message.field_count() == 0) rows->insert(FieldlessRow(message, "(none)", ""));
  for (int i = 0; i < message.field_count(); ++i) {
    rows->insert(FieldRow(*message.field(i), LocalName(message)));
  }
  for (int i = 0; i < message.reserved_range_count(); ++i) {
    for (int n = message.reserved_range(i)->start; n < message.reserved_range(i)->end; ++n) {
      rows->insert(FieldlessRow(message, "(reserved)", absl::StrCat(n)));
    }
  }
  for (int i = 0; i < message.nested_type_count(); ++i) AddMessage(*message.nested_type(i), rows);
}

void AddEnum(const EnumDescriptor& type, Rows* rows) {
  for (int i = 0; i < type.value_count(); ++i) {
    rows->insert(Row({type.file()->package(), LocalName(type), type.value(i)->name(),
                      absl::StrCat(type.value(i)->number()), Syntax(*type.file())}));
  }
}

void AddEnumsOf(const Descriptor& message, Rows* rows) {
  for (int i = 0; i < message.enum_type_count(); ++i) AddEnum(*message.enum_type(i), rows);
  for (int i = 0; i < message.nested_type_count(); ++i) AddEnumsOf(*message.nested_type(i), rows);
}

void AddServices(const FileDescriptor& file, Rows* rows) {
  for (int i = 0; i < file.service_count(); ++i) {
    const ServiceDescriptor& service = *file.service(i);
    for (int j = 0; j < service.method_count(); ++j) {
      const auto& method = *service.method(j);
      rows->insert(
          Row({absl::StrCat("/", service.full_name(), "/", method.name()), service.full_name(),
               method.name(), method.input_type()->full_name(), method.output_type()->full_name(),
               method.client_streaming() ? "true" : "false",
               method.server_streaming() ? "true" : "false"}));
    }
  }
}

}  // namespace

Rows TableMessages(const std::string& directory) {
  Rows rows;
  for (auto cells : ReadTable(absl::StrCat(directory, "/messages.tsv"), 19)) {
    cells.erase(cells.begin());  // file
    cells.pop_back();            // since
    rows.insert(Row(cells));
  }
  return rows;
}

Rows TableEnums(const std::string& directory) {
  Rows rows;
  for (auto cells : ReadTable(absl::StrCat(directory, "/enums.tsv"), 7)) {
    cells.erase(cells.begin());
    cells.pop_back();
    rows.insert(Row(cells));
  }
  return rows;
}

Rows TableServices(const std::string& directory) {
  Rows rows;  // a method with several HTTP bindings stands in several lines
  for (auto cells : ReadTable(absl::StrCat(directory, "/services.tsv"), 12)) {
    cells.erase(cells.begin());
    cells.resize(7);
    rows.insert(Row(cells));
  }
  return rows;
}

Rows CompiledMessages() {
  Rows rows;
  for (const FileDescriptor* file : TableFiles()) {
    for (int i = 0; i < file->message_type_count(); ++i) AddMessage(*file->message_type(i), &rows);
    for (int i = 0; i < file->extension_count(); ++i) {
      const FieldDescriptor& field = *file->extension(i);
      rows.insert(FieldRow(field, absl::StrCat("extend ", field.containing_type()->full_name())));
    }
  }
  return rows;
}

Rows CompiledEnums() {
  Rows rows;
  for (const FileDescriptor* file : TableFiles()) {
    for (int i = 0; i < file->enum_type_count(); ++i) AddEnum(*file->enum_type(i), &rows);
    for (int i = 0; i < file->message_type_count(); ++i) AddEnumsOf(*file->message_type(i), &rows);
  }
  return rows;
}

Rows CompiledServices() {
  Rows rows;
  for (const FileDescriptor* file : TableFiles()) AddServices(*file, &rows);
  AddServices(*grpc::health::v1::HealthCheckRequest::descriptor()->file(), &rows);
  return rows;
}

std::string Missing(const Rows& left, const Rows& right) {
  std::string text;
  for (const std::string& row : left) {
    if (right.count(row) == 0) absl::StrAppend(&text, row, "\n");
  }
  return text;
}

}  // namespace quorate::wire
