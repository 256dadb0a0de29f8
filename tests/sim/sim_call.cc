#include "tests/sim/sim_call.h"

#include <utility>

namespace quorate::sim {
namespace {

constexpr size_t kPullBytes = 64 << 10;

}  // namespace

std::optional<std::string> SimCall::Metadata(std::string_view name) const {
  if (metadata_name_.empty() || name != metadata_name_) return std::nullopt;
  return metadata_value_;
}

void SimCall::Send(transport::Message message) {
  if (ended_) return;
  std::string whole;
  for (const Bytes& piece : message.pieces) whole.append(piece.view());
  queued_bytes_ += whole.size();
  events_.message(std::move(whole));
}

void SimCall::Finish(transport::RpcStatus status) {
  if (std::exchange(ended_, true)) return;
  events_.finished(std::move(status));
}

void SimCall::Reply(transport::Message message) {
  if (ended_) return;
  if (message.source != nullptr) return Pull(std::move(message.source), "");
  Send(std::move(message));
  Finish({});
}

void SimCall::Pull(std::shared_ptr<transport::MessageSource> source, std::string so_far) {
  if (so_far.size() == source->size()) {
    Send(Bytes::FromString(std::move(so_far)));
    return Finish({});
  }
  transport::MessageSource* const from = source.get();
  from->Pull(kPullBytes, [self = shared_from_this(), source = std::move(source),
                          so_far = std::move(so_far)](absl::StatusOr<Bytes> part) mutable {
    if (self->ended_) return;
    if (!part.ok()) {
      return self->Finish({transport::RpcCode::kInternal, std::string(part.status().message())});
    }
    so_far.append(part->view());
    self->Pull(std::move(source), std::move(so_far));
  });
}

}  // namespace quorate::sim
