// ByteSocket: the layer between a protocol and the kernel, non-blocking. A plain TCP or unix socket
// now; TLS slips in behind the same calls. One thread at a time.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <string>

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

class ByteSocket {
 public:
  virtual ~ByteSocket() = default;  // closes
  virtual int fd() const = 0;
  virtual IoResult Read(char* data, size_t size) = 0;
  virtual IoResult Write(const iovec* pieces, int count) = 0;
  // No more bytes will be written; reading goes on.
  virtual void CloseWrite() = 0;
};

// Takes over a connected, non-blocking descriptor.
std::unique_ptr<ByteSocket> MakePlainSocket(int fd);

// "127.0.0.1:4711", "[::1]:4711"; "unix" for a unix socket's client.
std::string PeerName(int fd);

// What every TCP connection of ours sets: no delay, keep-alive probes.
void TuneTcp(int fd);

}  // namespace quorate::transport
