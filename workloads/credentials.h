// Who the driver is to a server: by TLS, by a user and password, or both. Any thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/options.h"
#include "transport/client.h"
#include "transport/tls/tls_options.h"

namespace quorate::workload {

struct Credentials {
  std::shared_ptr<transport::TlsContext> tls;  // null: plain text, but for endpoints https://...
  std::string user;                            // empty: nobody signs in
  std::string password;
};

// Of --cacert, --cert, --key, --user and --password, as quoratectl has them. Errors name the flag.
absl::StatusOr<Credentials> ReadCredentials(const OptionValues& flags);

// Asks a server, over a channel of its own, for a token that its calls then carry; blocks.
absl::StatusOr<std::string> SignIn(const transport::ChannelOptions& server,
                                   const Credentials& credentials);

// A channel whose calls carry the token.
std::unique_ptr<transport::Channel> WithToken(std::unique_ptr<transport::Channel> channel,
                                              std::string token);

}  // namespace quorate::workload
