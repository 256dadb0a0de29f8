// TlsContext: the certificates of one end of TLS, loaded and kept up with their files. Every new
// connection looks whether a file has changed; so certificates are renewed by replacing files, as
// with etcd. Sessions are not resumed: each connection shows its certificate, so that a revoked one
// cannot come back by way of an old session. Any thread.
//
// Sources: OpenSSL 3; etcd's client/pkg/transport for what is required and compared.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/tls/tls_options.h"

namespace quorate::transport {

// What the files held at one time. Constant; connections keep the one they began with.
struct TlsLoaded {
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{nullptr, SSL_CTX_free};
  // The list of revoked certificates; an error refuses everybody.
  absl::Status crl_status;
  std::set<std::string> revoked_serials;  // hexadecimal
};

// A connection whose handshake is not over, in a list, oldest first.
class TlsHandshake {
 public:
  virtual ~TlsHandshake() = default;
  // Too many others have come since: end. Called under a lock, on any thread.
  virtual void Abandon() = 0;

 private:
  friend class TlsContext;
  TlsHandshake* older_ = nullptr;
  TlsHandshake* newer_ = nullptr;
  bool listed_ = false;
};

class TlsContext {
 public:
  enum class Side : uint8_t { kServer, kClient };

  // Loads everything once. Errors name the file, its flag and what can be done.
  static absl::StatusOr<std::shared_ptr<TlsContext>> Create(Side side, TlsOptions options);

  const TlsOptions& options() const { return options_; }
  Side side() const { return side_; }
  // As the files are now; the last good state where they have become unusable (the log says so).
  std::shared_ptr<const TlsLoaded> Current();

  // Of a server's handshakes, to keep them below the maximum.
  void Begin(TlsHandshake* handshake);
  void End(TlsHandshake* handshake);

 private:
  // What tells one content of a file from another.
  struct Stamp {
    int64_t modified_ns = 0;
    int64_t bytes = -1;  // -1: not there
    uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };

  TlsContext(Side side, TlsOptions options) : side_(side), options_(std::move(options)) {}
  absl::StatusOr<std::shared_ptr<const TlsLoaded>> Load() const;
  std::vector<Stamp> Stamps() const;
  void Unlink(TlsHandshake* handshake);

  const Side side_;
  const TlsOptions options_;
  std::mutex mutex_;
  std::vector<Stamp> stamps_;                // under mutex_
  std::shared_ptr<const TlsLoaded> loaded_;  // under mutex_

  std::mutex handshakes_mutex_;
  TlsHandshake* oldest_ = nullptr;  // under handshakes_mutex_
  TlsHandshake* newest_ = nullptr;
  size_t handshakes_ = 0;
};

// The last error of OpenSSL on this thread in words, and forgets all of them.
std::string TakeOpensslError();

}  // namespace quorate::transport
