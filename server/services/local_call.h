// Calls that the server makes to itself on behalf of a client's call: by way of the same table, so
// with the same checks, limits and permissions, and with the caller's metadata. Lock and Election
// are made of them.
// Replica thread.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "server/services/context.h"
#include "transport/rpc.h"

namespace quorate::server {

// Both outlive all calls.
struct LocalServer {
  ServiceContext* context;
  const transport::ServiceTable* table;
};

// One request, one answer (empty unless the status is OK). `done` is called on the replica's
// thread, after this has returned; never, if the server stops first.
void AskLocally(const LocalServer& server, std::string_view path, CallPtr caller, Bytes request,
                std::function<void(const transport::RpcStatus&, const Bytes&)> done);

// A stream with one request. Destroying it closes it: no event comes after that.
class LocalStream {
 public:
  struct Events {
    std::function<void(const Bytes&)> message;
    std::function<void(const transport::RpcStatus&)> ended;  // the last
  };

  // `caller` lends metadata, deadline, and the room that its own stream has.
  LocalStream(const LocalServer& server, std::string_view path, CallPtr caller, Bytes request,
              Events events);
  ~LocalStream();

  // The caller's stream has room again.
  void OnWritable() { handler_->OnWritable(); }

 private:
  class Call;

  std::shared_ptr<Call> call_;
  std::unique_ptr<transport::CallHandler> handler_;
};

}  // namespace quorate::server
