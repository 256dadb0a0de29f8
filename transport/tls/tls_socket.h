// TLS as a ByteSocket, both ends: a state machine over a non-blocking descriptor. The handshake
// goes on inside Read and Write as bytes come and go, so no thread ever waits for one. The user
// bounds its time.
//
// One system call per Read and, unless much is written, per Write: what a read brings is decrypted
// at once, what a write hands over is made into full records first.
#pragma once

#include <memory>
#include <string>

#include "transport/byte_socket.h"
#include "transport/tls/tls_context.h"

namespace quorate::transport {

// What may be spoken inside, as told by ALPN. A client that offers nothing is not refused.
enum class TlsProtocols : uint8_t { kHttp1, kHttp2, kBoth };

struct TlsListen {
  TlsProtocols protocols = TlsProtocols::kBoth;
  // kPlainToo: a connection whose first byte begins no TLS record is taken as it is (http and https
  // on one port).
  enum class First : uint8_t { kTlsOnly, kPlainToo } first = First::kTlsOnly;
  // For the log: "client", "peer".
  std::string endpoint = "client";
};

// Takes over an accepted descriptor. Reads need room for a record, kTlsReadBytesMin.
std::unique_ptr<ByteSocket> MakeTlsServerSocket(int fd, std::shared_ptr<TlsContext> context,
                                                const TlsListen& listen);

// Takes over a descriptor that is connected or being connected. `host` is whom the certificate must
// name, when the context asks for one.
std::unique_ptr<ByteSocket> MakeTlsClientSocket(int fd, std::shared_ptr<TlsContext> context,
                                                const std::string& host, TlsProtocols protocols);

constexpr size_t kTlsReadBytesMin = 40 * 1024;

}  // namespace quorate::transport
