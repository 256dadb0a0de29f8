// The JSON gateway: etcd's `/v3/...` paths. A request becomes a call of the same table that gRPC
// calls come to (same checks, limits and permissions), and its answers become JSON on a worker.
// Streams answer with a line per message, `{"result":{...}}` or, at the end, `{"error":{...}}`.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/services/context.h"
#include "transport/rpc.h"
#include "transport/server.h"

namespace quorate::server {

// Any thread.
class Gateway {
 public:
  // All outlive it and its calls; `observer` may be null.
  struct Parts {
    ServiceContext* context;
    const transport::ServiceTable* services;
    transport::RpcObserver* observer;
    uint64_t message_bytes_max;  // of a request, as a gRPC message
  };
  using Headers = std::vector<std::pair<std::string, std::string>>;
  using ReplyFn = std::function<void(transport::HttpResponse)>;

  explicit Gateway(const Parts& parts) : parts_(parts) {}

  // Whether the gateway answers for `path` at all.
  static bool Serves(std::string_view path);
  // Whether a client may send requests there while it hears answers.
  static bool Converses(std::string_view path);
  // Loop thread. `headers` go with streamed answers (`reply` adds its own).
  void Serve(transport::HttpRequest request, Headers headers, ReplyFn reply) const;

 private:
  const Parts parts_;
};

// How a gRPC code shows as HTTP status.
int HttpStatusOf(transport::RpcCode code);

}  // namespace quorate::server
