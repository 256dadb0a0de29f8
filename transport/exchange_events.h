// ExchangeEvents: what the maker of an HTTP answer listens for, and when it is told; the same for
// both versions of HTTP. Loop thread only.
#pragma once

#include <memory>
#include <string_view>

#include "transport/event_loop.h"
#include "transport/server.h"

namespace quorate::transport {

class ExchangeEvents {
 public:
  explicit ExchangeEvents(EventLoop* loop) : loop_(loop) {}
  ~ExchangeEvents();
  ExchangeEvents(const ExchangeEvents&) = delete;
  ExchangeEvents& operator=(const ExchangeEvents&) = delete;

  void Listen(HttpExchange::Events events);
  void Writable();
  void Body(std::string_view piece);
  void BodyEnd();
  // Tells of the end, the first time; of nothing else after it.
  void Close();

 private:
  EventLoop* const loop_;
  // Shared with what is under way: who is told may end the exchange.
  std::shared_ptr<const HttpExchange::Events> events_;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace quorate::transport
