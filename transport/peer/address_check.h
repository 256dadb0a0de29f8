// Whether a host name of a peer's certificate leads to the address that the peer calls from: etcd's
// rule, with the look-ups on a thread of their own.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "transport/byte_socket.h"
#include "transport/mailbox.h"

namespace quorate::transport {

// The address leads back to one of the names, wildcards included, or a name leads to the address.
// Blocks on name servers.
absl::Status ConfirmAddress(const PeerCertificate& certificate);

// The same without blocking; `done` runs on the mailbox's loop, or never when that has ended.
void ConfirmAddressLater(PeerCertificate certificate, std::shared_ptr<Mailbox> mailbox,
                         std::function<void(absl::Status)> done);

}  // namespace quorate::transport
