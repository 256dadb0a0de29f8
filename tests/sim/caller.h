// Caller: the client's end of the network: unary calls and streams to members, which may refuse,
// answer late, or never.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "tests/sim/member.h"
#include "tests/sim/network.h"

namespace quorate::sim {

struct CallResult {
  enum class Kind {
    kAnswered,  // `status` says how
    kNotSent,   // nobody listened: it did not happen
    kLost,      // no answer; it may have happened
  };
  Kind kind = Kind::kLost;
  transport::RpcStatus status;
  std::string body;
};

// A stream as its client has it. Closing and breaking are final.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual void Send(std::string message) = 0;
  virtual void Close() = 0;
  virtual bool open() const = 0;
};

class Caller {
 public:
  Caller(Kernel* kernel, Network* network, uint64_t stream_weight)
      : kernel_(kernel), network_(network), stream_weight_(stream_weight) {}

  // `done` runs once, at the latest after `timeout_ns`.
  void Call(Place client, Member* member, std::string_view path, std::string request,
            int64_t timeout_ns, std::function<void(CallResult)> done);

  struct StreamEvents {
    std::function<void(std::string)> message;
    std::function<void()> closed;  // not after Close
  };
  std::shared_ptr<ClientStream> OpenStream(Place client, Member* member, std::string_view path,
                                           StreamEvents events);

 private:
  Kernel* const kernel_;
  Network* const network_;
  const uint64_t stream_weight_;
};

}  // namespace quorate::sim
