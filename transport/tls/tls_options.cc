#include "transport/tls/tls_options.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace quorate::transport {
namespace {

struct Suite {
  std::string_view name;     // Go's
  std::string_view openssl;  // empty: a suite of TLS 1.3
};

// Names that etcd knows and that stand for broken ciphers are not here: RC4 and 3DES.
constexpr std::array kSuites = {
    Suite{"TLS_AES_128_GCM_SHA256", ""},
    Suite{"TLS_AES_256_GCM_SHA384", ""},
    Suite{"TLS_CHACHA20_POLY1305_SHA256", ""},
    Suite{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    Suite{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    Suite{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    Suite{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    Suite{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    Suite{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    Suite{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    Suite{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
    Suite{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"},
    Suite{"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"},
    Suite{"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"},
    Suite{"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"},
    Suite{"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"},
    Suite{"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"},
    Suite{"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"},
    Suite{"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"},
    Suite{"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"},
    Suite{"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"},
    Suite{"TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256"},
};

constexpr char kDefaultList[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

}  // namespace

absl::StatusOr<TlsVersion> ParseTlsVersion(std::string_view text) {
  if (text.empty()) return TlsVersion::kAutomatic;
  if (text == "TLS1.2") return TlsVersion::kTls12;
  if (text == "TLS1.3") return TlsVersion::kTls13;
  return absl::InvalidArgumentError(
      StrCat("unexpected TLS version \"", text, "\" (must be one of: TLS1.2, TLS1.3)"));
}

absl::StatusOr<std::string> OpensslCipherList(const std::vector<std::string>& names) {
  if (names.empty()) return kDefaultList;
  std::vector<std::string_view> found;
  for (const std::string& name : names) {
    const auto* const suite = std::find_if(kSuites.begin(), kSuites.end(),
                                           [&](const Suite& row) { return row.name == name; });
    if (suite == kSuites.end()) {
      std::vector<std::string_view> known;
      for (const Suite& row : kSuites) known.push_back(row.name);
      return absl::InvalidArgumentError(
          StrCat("unexpected TLS cipher suite \"", name, "\"; known: ", StrJoin(known, ", ")));
    }
    if (!suite->openssl.empty()) found.push_back(suite->openssl);
  }
  if (found.empty()) {
    return absl::InvalidArgumentError(
        "no cipher suite of TLS 1.2 is left (those of TLS 1.3 are always on); name one such as "
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, or set --tls-min-version=TLS1.3");
  }
  return StrJoin(found, ":");
}

}  // namespace quorate::transport
