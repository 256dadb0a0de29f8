// CollectedBytes: what an OutputBuffer would write to a socket, as one string. For tests.
#pragma once

#include <string>

#include "transport/byte_socket.h"
#include "transport/output_buffer.h"

namespace quorate::transport {

// Empties *out.
inline std::string CollectedBytes(OutputBuffer* out) {
  class Collector final : public ByteSocket {
   public:
    int fd() const override { return -1; }
    IoResult Read(char*, size_t) override { return {IoResult::Kind::kBlocked, 0}; }
    IoResult Write(const iovec* pieces, int count) override {
      IoResult result;
      for (int i = 0; i < count; ++i) {
        bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
        result.bytes += pieces[i].iov_len;
      }
      return result;
    }
    void CloseWrite() override {}
    std::string bytes;
  };
  Collector collector;
  out->WriteTo(&collector);
  return collector.bytes;
}

}  // namespace quorate::transport
