#include "tests/sim/network.h"

#include <algorithm>
#include <functional>

namespace quorate::sim {

int64_t Network::DrawDelayNs() {
  const int64_t delay_ns = kernel_->Draw(rates_.delay_ns_min, rates_.delay_ns_max);
  if (!kernel_->Chance(rates_.slow)) return delay_ns;
  return delay_ns + kernel_->Draw(0, rates_.slow_ns_max);
}

void Network::SendPacket(Place from, Place to, Packet packet,
                         const std::function<void()>& deliver) {
  ++counts_.sent;
  if (kernel_->Chance(rates_.lost)) {
    ++counts_.lost;
    return;
  }
  int copies = 1;
  if (packet == Packet::kMayRepeat && kernel_->Chance(rates_.repeated)) {
    ++copies;
    ++counts_.repeated;
  }
  for (int i = 0; i < copies; ++i) {
    kernel_->After(DrawDelayNs(), [this, from, to, deliver] {
      if (IsOpen(from, to)) {
        deliver();
      } else {
        ++counts_.cut;
      }
    });
  }
}

void Network::SendOrdered(Place from, Place to, int64_t* ordered_ns,
                          absl::AnyInvocable<void()> deliver, absl::AnyInvocable<void()> broken) {
  if (!IsOpen(from, to) || kernel_->Chance(rates_.client_lost)) return broken();
  *ordered_ns = std::max(*ordered_ns + 1, kernel_->now_ns() + DrawDelayNs());
  kernel_->After(*ordered_ns - kernel_->now_ns(), [this, from, to, deliver = std::move(deliver),
                                                   broken = std::move(broken)]() mutable {
    if (IsOpen(from, to)) {
      deliver();
    } else {
      broken();
    }
  });
}

}  // namespace quorate::sim
