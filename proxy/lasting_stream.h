// LastingStream: a stream to the cluster that goes on at another member when it breaks. Whoever
// uses it says again, each time it is opened, what the new member has to know.
// Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proxy/upstream.h"

namespace quorate::proxy {

class LastingStream final : public transport::ClientStreamHandler {
 public:
  struct Events {
    std::function<void()> opened;  // also the first time, from Start
    std::function<void(Bytes)> message;
    // Refused for a reason that another member would have as well. The last event.
    std::function<void(transport::RpcStatus)> refused;
  };

  LastingStream(Upstream* upstream, std::string path, transport::MetadataList metadata,
                Events events);
  // Not from inside its own events.
  ~LastingStream() override;

  void Start();
  // Dropped while there is no stream: `opened` will be called.
  void Send(Bytes message);

  void OnMessage(Bytes message) override;
  void OnClosed(transport::RpcStatus status) override;

 private:
  Upstream* const upstream_;
  const std::string path_;
  const transport::MetadataList metadata_;
  const Events events_;
  std::unique_ptr<transport::ClientStream> stream_;
  transport::EventLoop::TimerId timer_ = 0;
};

}  // namespace quorate::proxy
