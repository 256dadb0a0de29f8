// One call of a client at a member: what the server's services see as the transport. Answers leave
// through a link, which loses or delays them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "transport/rpc.h"

namespace quorate::sim {

class SimCall final : public transport::ServerCall, public std::enable_shared_from_this<SimCall> {
 public:
  struct Events {
    std::function<void(std::string)> message;            // whole, in order
    std::function<void(transport::RpcStatus)> finished;  // the last one
  };
  // `clock` is the member's and outlives the call's use by it.
  SimCall(const Clock* clock, Events events)
      : events_(std::move(events)), received_ns_(clock->MonotonicNs()) {}

  std::optional<std::string> Metadata(std::string_view name) const override;
  std::string peer() const override { return "127.0.0.1:1"; }
  int64_t deadline_ns() const override { return INT64_MAX; }
  int64_t received_ns() const override { return received_ns_; }
  bool cancelled() const override { return ended_; }
  void Send(transport::Message message) override;
  void Finish(transport::RpcStatus status) override;
  void Reply(transport::Message message) override;
  size_t QueuedBytes() const override { return queued_bytes_ * weight_; }

  // --- the link's side
  void SetMetadata(std::string name, std::string value) {
    metadata_name_ = std::move(name);
    metadata_value_ = std::move(value);
  }
  // Each waiting byte counts as so many: small runs meet full streams, too.
  void SetWeight(uint64_t weight) { weight_ = weight; }
  void Taken(size_t bytes) { queued_bytes_ -= bytes; }
  void Cancel() { ended_ = true; }

 private:
  void Pull(std::shared_ptr<transport::MessageSource> source, std::string so_far);

  Events events_;
  const int64_t received_ns_;
  std::string metadata_name_, metadata_value_;
  uint64_t weight_ = 1;
  size_t queued_bytes_ = 0;
  bool ended_ = false;
};

}  // namespace quorate::sim
