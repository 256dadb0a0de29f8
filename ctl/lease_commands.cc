// lease grant, revoke, timetolive, list, keep-alive.
#include "base/text.h"
#include "ctl/go_numbers.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/text_forms.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

std::string LeaseText(int64_t id) { return StrCat("lease ", PaddedHex(static_cast<uint64_t>(id))); }

// JSON of lease answers is flat: the header's fields first.
int PrintFlatJson(const etcdserverpb::ResponseHeader& header, const std::string& rest) {
  Out(StrCat("{", HeaderJson(header), ",", rest, "}\n"));
  return kExitOk;
}

std::string IdAndTtl(int64_t id, int64_t ttl) { return StrCat("\"ID\":", id, ",\"TTL\":", ttl); }

std::string IdAndTtlFields(const Session& session, const etcdserverpb::ResponseHeader& header,
                           int64_t id, int64_t ttl) {
  return StrCat(HeaderFields(session, header), LeaseIdField(session, "ID", id), "\"TTL\" : ", ttl,
                "\n");
}

// The one word of a command as a lease id. Not kExitOk: told.
int LeaseOf(const Session& session, std::string_view command, int64_t* id) {
  if (session.words().size() != 1) {
    return Fail(kExitBadArguments, StrCat("lease ", command, " command needs 1 argument"));
  }
  const auto parsed = ParseLeaseId(session.words()[0]);
  if (!parsed.ok()) {
    return Fail(kExitBadArguments, StrCat("bad lease ID arg (", ToStd(parsed.status().message()),
                                          "), expecting ID in Hex"));
  }
  *id = *parsed;
  return kExitOk;
}

int Grant(Session* session) {
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "lease grant command needs TTL argument");
  }
  const auto ttl = ParseGoInt(session->words()[0], 10);
  if (!ttl.ok()) {
    return Fail(kExitBadArguments, StrCat("bad TTL (", ToStd(ttl.status().message()), ")"));
  }
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(*ttl);
  etcdserverpb::LeaseGrantResponse response;
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  const auto status = client->Call("/etcdserverpb.Lease/LeaseGrant", request, &response);
  if (!status.ok()) {
    return Fail(kExitError, StrCat("failed to grant lease (", ErrorText(status), ")"));
  }
  if (session->format() == Format::kJson) {
    return PrintFlatJson(response.header(),
                         StrCat(IdAndTtl(response.id(), response.ttl()), ",\"Error\":\"\""));
  }
  return PrintMessage(
      *session, response,
      [&] {
        return StrCat(LeaseText(response.id()), " granted with TTL(", response.ttl(), "s)\n");
      },
      [&] { return IdAndTtlFields(*session, response.header(), response.id(), response.ttl()); });
}

int Revoke(Session* session) {
  etcdserverpb::LeaseRevokeRequest request;
  int64_t id = 0;
  if (const int code = LeaseOf(*session, "revoke", &id); code != kExitOk) return code;
  request.set_id(id);
  etcdserverpb::LeaseRevokeResponse response;
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  const auto status = client->Call("/etcdserverpb.Lease/LeaseRevoke", request, &response);
  if (!status.ok()) {
    return Fail(kExitError, StrCat("failed to revoke lease (", ErrorText(status), ")"));
  }
  return PrintMessage(
      *session, response, [&] { return LeaseText(id) + " revoked\n"; },
      [&] { return HeaderFields(*session, response.header()); });
}

std::string TimeToLiveText(const etcdserverpb::LeaseTimeToLiveResponse& response, bool keys) {
  if (response.grantedttl() == 0 && response.ttl() == -1) {
    return LeaseText(response.id()) + " already expired\n";
  }
  std::string out = StrCat(LeaseText(response.id()), " granted with TTL(", response.grantedttl(),
                           "s), remaining(", response.ttl(), "s)");
  if (keys) StrAppend(&out, ", attached keys([", StrJoin(response.keys(), " "), "])");
  return out + "\n";
}

std::string TimeToLiveJson(const etcdserverpb::LeaseTimeToLiveResponse& response) {
  std::vector<std::string> keys;
  for (const std::string& key : response.keys()) keys.push_back(StrCat("\"", Base64(key), "\""));
  return StrCat("\"id\":", response.id(), ",\"ttl\":", response.ttl(),
                ",\"granted-ttl\":", response.grantedttl(),
                ",\"keys\":", keys.empty() ? "null" : StrCat("[", StrJoin(keys, ","), "]"));
}

int TimeToLive(Session* session) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  int64_t id = 0;
  if (const int code = LeaseOf(*session, "timetolive", &id); code != kExitOk) return code;
  const bool keys = session->values().GetBool("keys");
  request.set_id(id);
  request.set_keys(keys);
  etcdserverpb::LeaseTimeToLiveResponse response;
  if (!session->Call("/etcdserverpb.Lease/LeaseTimeToLive", request, &response)) {
    return session->failure();
  }
  if (session->format() == Format::kJson) {
    return PrintFlatJson(response.header(), TimeToLiveJson(response));
  }
  return PrintMessage(
      *session, response, [&] { return TimeToLiveText(response, keys); },
      [&] {
        std::string out =
            IdAndTtlFields(*session, response.header(), response.id(), response.ttl());
        StrAppend(&out, "\"GrantedTTL\" : ", response.grantedttl(), "\n");
        for (const std::string& key : response.keys()) {
          StrAppend(&out, "\"Key\" : ", GoQuote(key), "\n");
        }
        return out;
      });
}

int List(Session* session) {
  if (!session->words().empty()) {
    return Fail(kExitBadArguments, "lease list command accepts no arguments");
  }
  etcdserverpb::LeaseLeasesResponse response;
  if (!session->Call("/etcdserverpb.Lease/LeaseLeases", etcdserverpb::LeaseLeasesRequest(),
                     &response)) {
    return session->failure();
  }
  if (session->format() == Format::kJson) {
    std::vector<std::string> ids;
    for (const auto& lease : response.leases()) ids.push_back(StrCat("{\"id\":", lease.id(), "}"));
    return PrintFlatJson(response.header(), StrCat("\"leases\":[", StrJoin(ids, ","), "]"));
  }
  return PrintMessage(
      *session, response,
      [&] {
        std::string out = StrCat("found ", response.leases_size(), " leases\n");
        for (const auto& lease : response.leases()) {
          StrAppend(&out, PaddedHex(static_cast<uint64_t>(lease.id())), "\n");
        }
        return out;
      },
      [&] {
        std::string out = HeaderFields(*session, response.header());
        for (const auto& lease : response.leases()) {
          out += LeaseIdField(*session, "ID", lease.id());
        }
        return out;
      });
}

int PrintKeepAlive(const Session& session, const etcdserverpb::LeaseKeepAliveResponse& response) {
  if (session.format() == Format::kJson) {
    return PrintFlatJson(response.header(), IdAndTtl(response.id(), response.ttl()));
  }
  return PrintMessage(
      session, response,
      [&] {
        return StrCat(LeaseText(response.id()), " keepalived with TTL(", response.ttl(), ")\n");
      },
      [&] { return IdAndTtlFields(session, response.header(), response.id(), response.ttl()); });
}

int KeepAlive(Session* session) {
  etcdserverpb::LeaseKeepAliveRequest request;
  int64_t id = 0;
  if (const int code = LeaseOf(*session, "keep-alive", &id); code != kExitOk) return code;
  request.set_id(id);
  const bool once = session->values().GetBool("once");
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  auto stream = client->Open("/etcdserverpb.Lease/LeaseKeepAlive");
  while (true) {
    stream->Send(request);
    const auto message = stream->Receive(session->values().GetInt("command-timeout"));
    if (!message) {
      return Fail(kExitConnection,
                  stream->closed() ? ErrorText(stream->status()) : "context deadline exceeded");
    }
    etcdserverpb::LeaseKeepAliveResponse response;
    if (!response.ParseFromArray(message->data(), static_cast<int>(message->size()))) {
      return Fail(kExitError, "the server sent what is no LeaseKeepAliveResponse");
    }
    if (response.ttl() <= 0) {
      if (once) return Fail(kExitConnection, "etcdserver: requested lease not found");
      Out(StrCat(LeaseText(id), " expired or revoked.\n"));
      return kExitOk;
    }
    if (const int code = PrintKeepAlive(*session, response); once || code != kExitOk) return code;
    std::fflush(stdout);
    // Nothing comes before the next request: this waits a third of the TTL, or for the end.
    if (stream->Receive(response.ttl() * kNanosPerSecond / 3)) continue;
    if (stream->closed()) return Fail(kExitConnection, ErrorText(stream->status()));
  }
}

}  // namespace

std::vector<Command> LeaseCommands() {
  return {
      {"lease grant", "<ttl>", "Creates a lease of so many seconds", {}, Grant},
      {"lease revoke", "<leaseID>", "Ends a lease and deletes its keys", {}, Revoke},
      {"lease timetolive",
       "<leaseID> [options]",
       "Shows how long a lease still has",
       {{"keys", Type::kBool, "false", "Shows the keys that are attached.", ""}},
       TimeToLive},
      {"lease list", "", "Lists all leases", {}, List},
      {"lease keep-alive",
       "[options] <leaseID>",
       "Keeps a lease alive until interrupted",
       {{"once", Type::kBool, "false", "Renews it one time.", ""}},
       KeepAlive},
  };
}

}  // namespace quorate::ctl
