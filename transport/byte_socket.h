// ByteSocket: the layer between a protocol and the kernel, non-blocking: a plain TCP or unix
// socket, or TLS over one (tls/tls_socket.h). One thread at a time.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace quorate::transport {

struct IoResult {
  enum class Kind {
    kDone,     // `bytes` were moved, at least one
    kBlocked,  // try again when the descriptor is ready
    kClosed,   // end of stream (read) or the connection is broken
  };
  Kind kind = Kind::kDone;
  size_t bytes = 0;
};

// What a client has shown and the server has accepted.
struct PeerCertificate {
  std::string common_name;  // may be empty
  // Only where addresses are compared: the client's, and host names of which one must lead to it
  // before anything is done for this client. None: nothing is left to be looked up.
  std::string address;
  std::vector<std::string> unconfirmed_names;
};

class ByteSocket {
 public:
  virtual ~ByteSocket() = default;  // closes
  virtual int fd() const = 0;
  // kBlocked may also mean that bytes came which are not for the user; then it may be time to
  // write, see WaitsForWritable.
  virtual IoResult Read(char* data, size_t size) = 0;
  // Bytes that were taken may wait inside; no pieces at all: go on with those.
  virtual IoResult Write(const iovec* pieces, int count) = 0;
  // No more bytes will be written; reading goes on. Nothing waits inside when this is called.
  virtual void CloseWrite() = 0;

  // Whether to call Write when the descriptor can be written to. `output`: has the user bytes?
  enum class Output : uint8_t { kNone, kWaiting };
  virtual bool WaitsForWritable(Output output) const { return output == Output::kWaiting; }
  // Bytes of the user can go through: the handshake, if there is one, is over.
  virtual bool established() const { return true; }
  virtual bool encrypted() const { return false; }
  // Why the connection is closed, where the layer above the kernel knows; else empty.
  virtual std::string error() const { return ""; }
  // Null without one. Constant once established.
  virtual const PeerCertificate* peer_certificate() const { return nullptr; }
};

// Takes over a connected, non-blocking descriptor.
std::unique_ptr<ByteSocket> MakePlainSocket(int fd);

// The write of a plain socket.
IoResult WritePlain(int fd, const iovec* pieces, int count);

// The address without the port; empty for a unix socket's client.
std::string PeerAddress(int fd);

// "127.0.0.1:4711", "[::1]:4711"; "unix" for a unix socket's client.
std::string PeerName(int fd);

// What every TCP connection of ours sets: no delay, keep-alive probes.
void TuneTcp(int fd);

}  // namespace quorate::transport
