#include "transport/exchange_events.h"

#include <utility>

#include "base/check.h"

namespace quorate::transport {

ExchangeEvents::~ExchangeEvents() { QR_CHECK(timer_ == 0); }

void ExchangeEvents::Listen(HttpExchange::Events events) {
  events_ = std::make_shared<HttpExchange::Events>(std::move(events));
  if (events_->deadline == nullptr) return;
  timer_ = loop_->RunAt(events_->deadline_ns, [this] {
    timer_ = 0;
    const auto kept = events_;
    kept->deadline();
  });
}

void ExchangeEvents::Writable() {
  const auto events = events_;
  if (events != nullptr && events->writable) events->writable();
}

void ExchangeEvents::Body(std::string_view piece) {
  const auto events = events_;
  if (events != nullptr && events->body) events->body(piece);
}

void ExchangeEvents::BodyEnd() {
  const auto events = events_;
  if (events != nullptr && events->body_end) events->body_end();
}

void ExchangeEvents::Close() {
  if (timer_ != 0) loop_->CancelTimer(std::exchange(timer_, 0));
  const auto events = std::exchange(events_, nullptr);
  if (events != nullptr && events->closed) events->closed();
}

}  // namespace quorate::transport
