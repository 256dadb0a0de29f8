#include "transport/peer/address_check.h"

#include <netdb.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/text.h"

namespace quorate::transport {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList LookUp(const std::string& host, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) found = nullptr;
  return AddressList(found, freeaddrinfo);
}

std::string NameOf(const addrinfo& info, int flags) {
  char text[NI_MAXHOST];
  const int error =
      getnameinfo(info.ai_addr, info.ai_addrlen, text, sizeof(text), nullptr, 0, flags);
  return error == 0 ? text : "";
}

bool Matches(std::string_view pattern, std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return pattern.starts_with("*.") ? name.ends_with(pattern.substr(1)) : name == pattern;
}

}  // namespace

absl::Status ConfirmAddress(const PeerCertificate& certificate) {
  const AddressList address = LookUp(certificate.address, AI_NUMERICHOST);
  const std::string back = address == nullptr ? "" : NameOf(*address, NI_NAMEREQD);
  for (const std::string& name : certificate.unconfirmed_names) {
    if (!back.empty() && Matches(name, back)) return absl::OkStatus();
  }
  for (const std::string& name : certificate.unconfirmed_names) {
    if (name.starts_with("*.")) continue;
    const AddressList found = LookUp(name, 0);
    for (const addrinfo* info = found.get(); info != nullptr; info = info->ai_next) {
      if (NameOf(*info, NI_NUMERICHOST) == certificate.address) return absl::OkStatus();
    }
  }
  return absl::PermissionDeniedError(
      StrCat("tls: \"", certificate.address, "\" does not match any of DNSNames [\"",
             StrJoin(certificate.unconfirmed_names, "\" \""), "\"]"));
}

void ConfirmAddressLater(PeerCertificate certificate, std::shared_ptr<Mailbox> mailbox,
                         std::function<void(absl::Status)> done) {
  std::thread([certificate = std::move(certificate), mailbox = std::move(mailbox),
               done = std::move(done)]() mutable {
    mailbox->RunOnLoop(
        [done = std::move(done), status = ConfirmAddress(certificate)] { done(status); });
  }).detach();
}

}  // namespace quorate::transport
