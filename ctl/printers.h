// The answers of etcd in etcdctl's formats. Each Print writes to standard output and answers an
// exit code; a format that an answer does not have is an error, as with etcdctl.
#pragma once

#include <string>
#include <string_view>

#include "ctl/session.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

enum class Show { kKeysAndValues, kKeysOnly, kValuesOnly };

// Writes to standard output.
void Out(std::string_view text);

// Key and value lines; with --hex as \x61 escapes.
std::string PairText(const Session& session, const mvccpb::KeyValue& pair,
                     Show show = Show::kKeysAndValues);
// "Key" : "a", "CreateRevision" : 1, ...; `prefix` is "" or "Prev".
std::string PairFields(const Session& session, std::string_view prefix,
                       const mvccpb::KeyValue& pair);
std::string HeaderFields(const Session& session, const etcdserverpb::ResponseHeader& header);
// The pairs of a read, as get prints them.
int PrintRange(const Session& session, const etcdserverpb::RangeResponse& response,
               Show show = Show::kKeysAndValues);
std::string RangeFields(const Session& session, const etcdserverpb::RangeResponse& response);
std::string PutFields(const Session& session, const etcdserverpb::PutResponse& response);
std::string DeleteFields(const Session& session, const etcdserverpb::DeleteRangeResponse& response);
// `"cluster_id":1,...`: the header as the leading fields of a flat JSON object.
std::string HeaderJson(const etcdserverpb::ResponseHeader& header);
// Ids of clusters and members; with --hex without leading zeros.
std::string IdField(const Session& session, std::string_view name, uint64_t id);
// With --hex 16 digits, as leases are shown everywhere.
std::string LeaseIdField(const Session& session, std::string_view name, int64_t id);

// The formats that are the same for every message: json and protobuf. For the others, `simple` and
// `fields` are called for their text.
template <class Simple, class Fields>
int PrintMessage(const Session& session, const google::protobuf::Message& message, Simple simple,
                 Fields fields);

// Answers that etcdctl does not write with -w fields.
template <class Simple>
int PrintWithoutFields(const Session& session, const google::protobuf::Message& message,
                       Simple simple);
// Answers that are a header and nothing else.
template <class Response>
int PrintHeaderOnly(const Session& session, const Response& response, std::string_view simple);

int PrintGeneric(const Session& session, const google::protobuf::Message& message);
int NoTable();
int NoFields();

template <class Simple, class Fields>
int PrintMessage(const Session& session, const google::protobuf::Message& message, Simple simple,
                 Fields fields) {
  switch (session.format()) {
    case Format::kSimple:
      Out(simple());
      return kExitOk;
    case Format::kFields:
      Out(fields());
      return kExitOk;
    default:
      return PrintGeneric(session, message);
  }
}

template <class Simple>
int PrintWithoutFields(const Session& session, const google::protobuf::Message& message,
                       Simple simple) {
  if (session.format() == Format::kFields) return NoFields();
  return PrintMessage(session, message, simple, [] { return std::string(); });
}

template <class Response>
int PrintHeaderOnly(const Session& session, const Response& response, std::string_view simple) {
  return PrintMessage(
      session, response, [&] { return std::string(simple); },
      [&] { return HeaderFields(session, response.header()); });
}

}  // namespace quorate::ctl
