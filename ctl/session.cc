#include "ctl/session.h"

#include <charconv>
#include <cstdio>

#include "base/text.h"

namespace quorate::ctl {
namespace {

ClientOptions OptionsOf(const OptionValues& values, std::vector<std::string> endpoints) {
  ClientOptions options;
  options.endpoints = std::move(endpoints);
  options.command_timeout_ns = values.GetInt("command-timeout");
  options.dial_timeout_ns = values.GetInt("dial-timeout");
  if (const int64_t limit = values.GetInt("max-recv-bytes"); limit > 0) {
    options.receive_message_bytes_max = static_cast<uint64_t>(limit);
  }
  return options;
}

}  // namespace

int Fail(int code, std::string_view text) {
  std::fflush(stdout);
  std::fprintf(stderr, "Error: %.*s\n", static_cast<int>(text.size()), text.data());
  return code;
}

absl::StatusOr<SyncClient*> Session::client() {
  if (!client_) {
    auto made = SyncClient::Create(OptionsOf(values_, values_.GetList("endpoints")));
    if (!made.ok()) return made.status();
    client_ = std::move(*made);
  }
  return client_.get();
}

absl::StatusOr<std::unique_ptr<SyncClient>> Session::ClientOf(const std::string& endpoint) const {
  return SyncClient::Create(OptionsOf(values_, {endpoint}));
}

bool Session::Call(std::string_view path, const google::protobuf::Message& request,
                   google::protobuf::Message* response) {
  auto made = client();
  if (!made.ok()) {
    Fail(kExitError, ToStd(made.status().message()));
    return false;
  }
  const transport::RpcStatus status = (*made)->Call(path, request, response);
  if (!status.ok()) Fail(kExitError, status.message);
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

bool ParseHexId(std::string_view text, int64_t* id) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *id, 16);
  return error == std::errc() && end == text.data() + text.size();
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
