#include "workloads/credentials.h"

#include <future>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/status_util.h"
#include "base/text.h"
#include "proto/etcdserverpb.pb.h"
#include "transport/event_loop.h"
#include "transport/tls/tls_context.h"

namespace quorate::workload {
namespace {

using transport::MetadataList;
using transport::RpcStatus;

constexpr char kAuthenticatePath[] = "/etcdserverpb.Auth/Authenticate";
constexpr int64_t kSignInTimeoutNs = 10 * kNanosPerSecond;

class TokenChannel final : public transport::Channel {
 public:
  TokenChannel(std::unique_ptr<Channel> channel, std::string token)
      : channel_(std::move(channel)), token_("token", std::move(token)) {}

  void Call(std::string_view path, Bytes request, int64_t timeout_ns, const MetadataList& metadata,
            UnaryCallback done) override {
    channel_->Call(path, std::move(request), timeout_ns, Signed(metadata), std::move(done));
  }
  std::unique_ptr<transport::ClientStream> Open(std::string_view path, const MetadataList& metadata,
                                                transport::ClientStreamHandler* handler) override {
    return channel_->Open(path, Signed(metadata), handler);
  }
  bool connected() const override { return channel_->connected(); }

 private:
  MetadataList Signed(MetadataList metadata) const {
    metadata.push_back(token_);
    return metadata;
  }

  const std::unique_ptr<Channel> channel_;
  const std::pair<std::string, std::string> token_;
};

}  // namespace

absl::StatusOr<Credentials> ReadCredentials(const OptionValues& flags) {
  Credentials credentials;
  transport::TlsOptions tls;
  tls.trusted_ca = {"--cacert", flags.GetString("cacert")};
  tls.cert = {"--cert", flags.GetString("cert")};
  tls.key = {"--key", flags.GetString("key")};
  tls.other_side = transport::TlsOptions::OtherSide::kRequired;
  if (tls.trusted_ca.given() || !tls.empty()) {
    QR_ASSIGN_OR_RETURN(credentials.tls, transport::TlsContext::Create(
                                             transport::TlsContext::Side::kClient, std::move(tls)));
  }
  const auto [user, password] = SplitOnce(flags.GetString("user"), ':');
  credentials.user = user;
  credentials.password = password;
  if (const std::string& apart = flags.GetString("password"); !apart.empty()) {
    if (credentials.user.empty()) {
      return absl::InvalidArgumentError("--password without --user says nothing");
    }
    credentials.password = apart;
  }
  return credentials;
}

absl::StatusOr<std::string> SignIn(const transport::ChannelOptions& server,
                                   const Credentials& credentials) {
  static const SystemClock clock;
  etcdserverpb::AuthenticateRequest request;
  request.set_name(credentials.user);
  request.set_password(credentials.password);
  transport::EventLoop loop(&clock);
  std::thread thread([&loop] { loop.Run(); });
  std::promise<std::pair<RpcStatus, Bytes>> answered;
  std::unique_ptr<transport::Channel> channel;
  loop.Post([&] {
    channel = transport::Channel::Create(&loop, server);
    channel->Call(kAuthenticatePath, Bytes::FromString(request.SerializeAsString()),
                  kSignInTimeoutNs, {}, [&](RpcStatus status, Bytes answer) {
                    answered.set_value({std::move(status), std::move(answer)});
                  });
  });
  const auto [status, answer] = answered.get_future().get();
  loop.Post([&] {
    channel.reset();
    loop.Stop();
  });
  thread.join();
  etcdserverpb::AuthenticateResponse response;
  if (!status.ok()) {
    return absl::UnauthenticatedError(
        ToAbsl(StrCat("signing in as ", credentials.user, ": ", status.message)));
  }
  if (!response.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) {
    return absl::UnavailableError("signing in: the answer is no AuthenticateResponse");
  }
  return response.token();
}

std::unique_ptr<transport::Channel> WithToken(std::unique_ptr<transport::Channel> channel,
                                              std::string token) {
  return std::make_unique<TokenChannel>(std::move(channel), std::move(token));
}

}  // namespace quorate::workload
