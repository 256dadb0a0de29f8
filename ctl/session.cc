#include "ctl/session.h"

#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "ctl/terminal.h"
#include "transport/tls/tls_context.h"

namespace quorate::ctl {
namespace {

constexpr std::string_view kCodeNames[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

// Servers close connections that ask more often; gRPC's clients have the same bound.
constexpr int64_t kKeepaliveTimeMinNs = 10 * kNanosPerSecond;

// What etcd itself says, as server or as client.
bool IsEtcdsText(std::string_view text) {
  for (const char* front : {"etcdserver: ", "etcdclient: ", "context "}) {
    if (text.starts_with(front)) return true;
  }
  return false;
}

}  // namespace

int Fail(int code, std::string_view text) {
  std::fflush(stdout);
  std::fprintf(stderr, "Error: %.*s\n", static_cast<int>(text.size()), text.data());
  return code;
}

int Fail(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return Fail(kExitBadArguments, ToStd(status.message()));
    case absl::StatusCode::kUnimplemented:
      return Fail(kExitBadFeature, ToStd(status.message()));
    case absl::StatusCode::kFailedPrecondition:
      return Fail(kExitInvalidInput, ToStd(status.message()));
    default:
      return Fail(kExitError, ToStd(status.message()));
  }
}

int Fail(const transport::RpcStatus& status) { return Fail(kExitError, ErrorText(status)); }

std::string ErrorText(const transport::RpcStatus& status) {
  if (IsEtcdsText(status.message)) return status.message;
  return StrCat("rpc error: code = ", kCodeNames[static_cast<size_t>(status.code)],
                " desc = ", status.message);
}

Credentials CredentialsOf(const std::string& user, const std::string& password,
                          const std::string& prompt) {
  if (user.empty()) return {};
  if (!password.empty()) return {user, password, ""};
  const size_t colon = user.find(':');
  if (colon != std::string::npos) return {user.substr(0, colon), user.substr(colon + 1), ""};
  return {user, AskPassword(prompt), ""};
}

const Credentials& Session::credentials() {
  if (has_credentials_) return credentials_;
  has_credentials_ = true;
  credentials_.token = values_.GetString("auth-jwt-token");
  if (credentials_.token.empty()) {
    credentials_ =
        CredentialsOf(values_.GetString("user"), values_.GetString("password"), "Password: ");
  }
  return credentials_;
}

absl::StatusOr<std::shared_ptr<transport::TlsContext>> TlsOf(const OptionValues& values,
                                                             const std::string& prefix) {
  transport::TlsOptions options;
  options.trusted_ca = {StrCat("--", prefix, "cacert"), values.GetString(prefix + "cacert")};
  options.cert = {StrCat("--", prefix, "cert"), values.GetString(prefix + "cert")};
  options.key = {StrCat("--", prefix, "key"), values.GetString(prefix + "key")};
  const bool skip_verify = values.GetBool("insecure-skip-tls-verify");
  if (!skip_verify) options.other_side = transport::TlsOptions::OtherSide::kRequired;
  if (!options.trusted_ca.given() && options.empty() && !skip_verify &&
      values.GetBool(prefix + "insecure-transport")) {
    return std::shared_ptr<transport::TlsContext>();
  }
  return transport::TlsContext::Create(transport::TlsContext::Side::kClient, options);
}

absl::Status Session::LoadTls() {
  auto made = TlsOf(values_, "");
  if (made.ok()) tls_ = *std::move(made);
  return made.status();
}

ClientOptions Session::OptionsFor(std::vector<std::string> endpoints) const {
  ClientOptions options;
  options.tls = tls_;
  options.endpoints = std::move(endpoints);
  options.command_timeout_ns = values_.GetInt("command-timeout");
  options.dial_timeout_ns = values_.GetInt("dial-timeout");
  options.keepalive_time_ns = std::max(values_.GetInt("keepalive-time"), kKeepaliveTimeMinNs);
  options.keepalive_timeout_ns = values_.GetInt("keepalive-timeout");
  if (const int64_t limit = values_.GetInt("max-recv-bytes"); limit > 0) {
    options.receive_message_bytes_max = static_cast<uint64_t>(limit);
  }
  if (const int64_t limit = values_.GetInt("max-request-bytes"); limit > 0) {
    options.send_message_bytes_max = static_cast<uint64_t>(limit);
  }
  return options;
}

SyncClient* Session::Client() {
  if (client_) return client_.get();
  ClientOptions options = OptionsFor(values_.GetList("endpoints"));
  options.credentials = credentials();
  auto made = SyncClient::Create(options);
  if (!made.ok()) {
    failure_ = Fail(options.endpoints.empty() ? kExitConnection : kExitError,
                    ToStd(made.status().message()));
    return nullptr;
  }
  if (const transport::RpcStatus status = (*made)->SignIn(); !status.ok()) {
    failure_ = Fail(kExitConnection, ErrorText(status));
    return nullptr;
  }
  client_ = std::move(*made);
  return client_.get();
}

absl::StatusOr<std::unique_ptr<SyncClient>> Session::ClientOf(const std::string& endpoint) {
  ClientOptions options = OptionsFor({endpoint});
  options.credentials = credentials();
  return SyncClient::Create(options);
}

bool Session::Call(std::string_view path, const google::protobuf::Message& request,
                   google::protobuf::Message* response) {
  SyncClient* client = Client();
  if (client == nullptr) return false;
  const transport::RpcStatus status = client->Call(path, request, response);
  if (!status.ok()) failure_ = Fail(status);
  return status.ok();
}

std::vector<std::string> Session::Endpoints() {
  if (!values_.GetBool("cluster")) return values_.GetList("endpoints");
  etcdserverpb::MemberListResponse members;
  if (!Call("/etcdserverpb.Cluster/MemberList", etcdserverpb::MemberListRequest(), &members)) {
    return {};
  }
  std::vector<std::string> endpoints;
  for (const auto& member : members.members()) {
    endpoints.insert(endpoints.end(), member.clienturls().begin(), member.clienturls().end());
  }
  return endpoints;
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty()) {
    const auto last = static_cast<unsigned char>(end.back());
    if (last < 0xff) {
      end.back() = static_cast<char>(last + 1);
      return end;
    }
    end.pop_back();
  }
  return std::string(1, '\0');
}

}  // namespace quorate::ctl
