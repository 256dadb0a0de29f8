#include "transport/client.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "transport/client_connection.h"

namespace quorate::transport {

class ChannelImpl final : public Channel {
 public:
  ChannelImpl(EventLoop* loop, const ChannelOptions& options) : loop_(loop), options_(options) {
    QR_CHECK(options_.initial_window_bytes > 0 && options_.initial_window_bytes <= INT32_MAX);
  }

  ~ChannelImpl() override {
    if (current_ != nullptr) leaving_.push_back(std::move(current_));
    for (auto& connection : leaving_) {
      connection->Close();
      DestroyLater(std::move(connection));
    }
  }

  void Call(std::string_view path, Bytes request, int64_t timeout_ns, const MetadataList& metadata,
            UnaryCallback done) override {
    const RequestOptions options{path, &metadata, timeout_ns};
    Connection()->StartUnary(options, std::move(request), std::move(done));
  }

  std::unique_ptr<ClientStream> Open(std::string_view path, const MetadataList& metadata,
                                     ClientStreamHandler* handler) override {
    auto handle = std::make_unique<ClientStreamHandle>();
    const RequestOptions options{path, &metadata, 0};
    handle->call_ = Connection()->StartStream(options, handler, handle.get());
    return handle;
  }

  bool connected() const override { return current_ != nullptr && current_->connected(); }

 private:
  // The connection for the next call: a lost one is replaced, and one that the server is closing
  // keeps only the calls it has.
  ClientConnection* Connection() {
    if (current_ != nullptr && !current_->usable()) leaving_.push_back(std::move(current_));
    if (current_ == nullptr) {
      current_ = std::make_shared<ClientConnection>(
          loop_, options_, [this](ClientConnection* connection) { OnGone(connection); });
    }
    return current_.get();
  }

  void OnGone(ClientConnection* connection) {
    if (current_.get() == connection) leaving_.push_back(std::move(current_));
    const auto at = std::find_if(leaving_.begin(), leaving_.end(),
                                 [&](const auto& left) { return left.get() == connection; });
    QR_CHECK(at != leaving_.end());
    DestroyLater(std::move(*at));
    leaving_.erase(at);
  }

  void DestroyLater(std::shared_ptr<ClientConnection> connection) {
    loop_->AtEndOfTurn([keep = std::move(connection)] {});
  }

  EventLoop* const loop_;
  const ChannelOptions options_;
  // Shared only because std::function needs copies.
  std::shared_ptr<ClientConnection> current_;
  std::vector<std::shared_ptr<ClientConnection>> leaving_;
};

std::unique_ptr<Channel> Channel::Create(EventLoop* loop, const ChannelOptions& options) {
  return std::make_unique<ChannelImpl>(loop, options);
}

}  // namespace quorate::transport
