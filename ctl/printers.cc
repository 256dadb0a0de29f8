#include "ctl/printers.h"

#include <cstdio>

#include "base/text.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {

void Out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

int NoTable() { return Fail(kExitBadFeature, "table not supported as output format"); }

int NoFields() { return Fail(kExitBadFeature, "fields not supported as output format"); }

int PrintRange(const Session& session, const etcdserverpb::RangeResponse& response, Show show) {
  return PrintMessage(
      session, response,
      [&] {
        std::string out;
        for (const auto& pair : response.kvs()) out += PairText(session, pair, show);
        return out;
      },
      [&] { return RangeFields(session, response); });
}

int PrintGeneric(const Session& session, const google::protobuf::Message& message) {
  if (session.format() == Format::kTable) return NoTable();
  if (session.format() == Format::kProtobuf) {
    Out(message.SerializeAsString());
  } else {
    Out(GoJson(message) + "\n");
  }
  return kExitOk;
}

std::string PairText(const Session& session, const mvccpb::KeyValue& pair, Show show) {
  const auto form = [&](const std::string& bytes) {
    return session.hex() ? HexEscapes(bytes) : bytes;
  };
  std::string out;
  if (show != Show::kValuesOnly) StrAppend(&out, form(pair.key()), "\n");
  // --keys-only leaves the value's line empty.
  if (show != Show::kKeysOnly) out += form(pair.value());
  return out + "\n";
}

std::string IdField(const Session& session, std::string_view name, uint64_t id) {
  return StrCat("\"", name, "\" : ", session.hex() ? Hex(id) : StrCat(id), "\n");
}

std::string LeaseIdField(const Session& session, std::string_view name, int64_t id) {
  const std::string text = session.hex() ? PaddedHex(static_cast<uint64_t>(id)) : StrCat(id);
  return StrCat("\"", name, "\" : ", text, "\n");
}

std::string HeaderFields(const Session& session, const etcdserverpb::ResponseHeader& header) {
  std::string out = StrCat(IdField(session, "ClusterID", header.cluster_id()),
                           IdField(session, "MemberID", header.member_id()));
  // Answers about the cluster have none.
  if (header.revision() > 0) StrAppend(&out, "\"Revision\" : ", header.revision(), "\n");
  StrAppend(&out, "\"RaftTerm\" : ", header.raft_term(), "\n");
  return out;
}

std::string PairFields(const Session& session, std::string_view prefix,
                       const mvccpb::KeyValue& pair) {
  // An absent previous pair has no lines.
  if (!prefix.empty() && pair.key().empty()) return "";
  return StrCat("\"", prefix, "Key\" : ", GoQuote(pair.key()), "\n\"", prefix,
                "CreateRevision\" : ", pair.create_revision(), "\n\"", prefix,
                "ModRevision\" : ", pair.mod_revision(), "\n\"", prefix,
                "Version\" : ", pair.version(), "\n\"", prefix, "Value\" : ", GoQuote(pair.value()),
                "\n", LeaseIdField(session, StrCat(prefix, "Lease"), pair.lease()));
}

std::string RangeFields(const Session& session, const etcdserverpb::RangeResponse& response) {
  std::string out = HeaderFields(session, response.header());
  for (const auto& pair : response.kvs()) out += PairFields(session, "", pair);
  StrAppend(&out, "\"More\" : ", response.more() ? "true" : "false",
            "\n\"Count\" : ", response.count(), "\n");
  return out;
}

std::string PutFields(const Session& session, const etcdserverpb::PutResponse& response) {
  return HeaderFields(session, response.header()) + PairFields(session, "Prev", response.prev_kv());
}

std::string DeleteFields(const Session& session,
                         const etcdserverpb::DeleteRangeResponse& response) {
  std::string out = HeaderFields(session, response.header());
  StrAppend(&out, "\"Deleted\" : ", response.deleted(), "\n");
  for (const auto& pair : response.prev_kvs()) out += PairFields(session, "Prev", pair);
  return out;
}

std::string HeaderJson(const etcdserverpb::ResponseHeader& header) { return GoJsonFields(header); }

}  // namespace quorate::ctl
