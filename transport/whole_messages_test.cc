// Messages come out whole and in their order, whatever their sources do.
#include "transport/whole_messages.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace quorate::transport {
namespace {

// Gives its text in pieces of at most three bytes; at once, or when the test says so.
class SlowSource final : public MessageSource {
 public:
  struct Waiting {
    std::function<void(absl::StatusOr<Bytes>)> done;
    std::string piece;
  };
  SlowSource(std::string text, std::vector<Waiting>* waiting)
      : text_(std::move(text)), waiting_(waiting) {}

  uint64_t size() const override { return text_.size(); }
  void Pull(size_t max_bytes, std::function<void(absl::StatusOr<Bytes>)> done) override {
    const std::string piece = text_.substr(at_, std::min<size_t>(max_bytes, 3));
    at_ += piece.size();
    if (waiting_ == nullptr) return done(Bytes::Copy(piece));
    waiting_->push_back({std::move(done), piece});
  }

 private:
  const std::string text_;
  std::vector<Waiting>* const waiting_;
  size_t at_ = 0;
};

struct Seen {
  std::vector<std::string> events;
  std::shared_ptr<WholeMessages> whole = std::make_shared<WholeMessages>(WholeMessages::Events{
      [this](Bytes message) { events.emplace_back(message.view()); },
      [this](RpcStatus status) {
        events.push_back("end " + std::to_string(static_cast<int>(status.code)) + " " +
                         status.message);
      }});
};

Message Pieces(std::vector<std::string> texts) {
  Message message;
  for (std::string& text : texts) message.pieces.push_back(Bytes::FromString(std::move(text)));
  return message;
}

using Events = std::vector<std::string>;

TEST_CASE("whole messages: pieces are joined, sources pulled, the end is last", "[transport]") {
  Seen seen;
  seen.whole->Push(Pieces({"a", "bc", ""}));
  seen.whole->Push(Pieces({}));
  seen.whole->Push(Message(std::make_unique<SlowSource>("0123456789", nullptr)));
  seen.whole->Push(Pieces({"z"}));
  seen.whole->End({RpcCode::kNotFound, "gone"});
  seen.whole->Push(Pieces({"too late"}));
  seen.whole->End({});
  REQUIRE(seen.events == Events{"abc", "", "0123456789", "z", "end 5 gone"});
}

TEST_CASE("whole messages: a long source that answers at once does not fill the stack",
          "[transport]") {
  Seen seen;
  const std::string text(3'000'000, 'x');
  seen.whole->Push(Message(std::make_unique<SlowSource>(text, nullptr)));
  REQUIRE(seen.events.size() == 1);
  REQUIRE(seen.events[0] == text);
}

TEST_CASE("whole messages: what follows waits for a source that answers later", "[transport]") {
  std::vector<SlowSource::Waiting> waiting;
  Seen seen;
  seen.whole->Push(Message(std::make_unique<SlowSource>("abcdef", &waiting)));
  seen.whole->Push(Pieces({"next"}));
  seen.whole->End({});
  REQUIRE(seen.events.empty());
  for (size_t i = 0; i < waiting.size(); ++i) {
    const SlowSource::Waiting one = waiting[i];
    std::thread([&one] { one.done(Bytes::Copy(one.piece)); }).join();
  }
  REQUIRE(waiting.size() == 2);
  REQUIRE(seen.events == Events{"abcdef", "next", "end 0 "});
}

TEST_CASE("whole messages: a source that fails is the end", "[transport]") {
  std::vector<SlowSource::Waiting> waiting;
  Seen seen;
  seen.whole->Push(Message(std::make_unique<SlowSource>("abcdef", &waiting)));
  seen.whole->Push(Pieces({"never seen"}));
  const auto done = waiting[0].done;
  done(absl::UnavailableError("the backend is gone"));
  seen.whole->End({});
  REQUIRE(seen.events == Events{"end 13 the backend is gone"});
}

TEST_CASE("whole messages: nothing comes after Drop, and the source is let go", "[transport]") {
  std::vector<SlowSource::Waiting> waiting;
  Seen seen;
  seen.whole->Push(Message(std::make_unique<SlowSource>("abcdef", &waiting)));
  seen.whole->Drop();
  const auto one = waiting[0];
  one.done(Bytes::Copy(one.piece));
  seen.whole->Push(Pieces({"late"}));
  seen.whole->End({});
  REQUIRE(seen.events.empty());
  REQUIRE(waiting.size() == 1);
}

}  // namespace
}  // namespace quorate::transport
