#include "transport/http1_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace quorate::transport {
namespace {

// The C locale's, whatever the process set.
char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower;
}

// Without blanks and tabs at both ends.
std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool IsTokenChar(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  const char lower = Lower(c);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
         kOthers.find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = Lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> DecodePath(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = HexDigit(text[i + 1]);
    const int low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return decoded;
}

// Whether a comma-separated list names `token`, letter case aside.
bool ListNames(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (LowerCase(Trim(list.substr(0, comma))) == token) {
      return true;
    }
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

Http1Parser::Result Http1Parser::Fail(int status) {
  error_status_ = status;
  return Result::kError;
}

Http1Parser::Line Http1Parser::TakeLine(std::string_view* data) {
  const size_t end = data->find('\n');
  const size_t taken = end == std::string_view::npos ? data->size() : end + 1;
  head_bytes_ += taken;
  line_.append(data->substr(0, taken));
  data->remove_prefix(taken);
  if (head_bytes_ > kHeadBytesMax) return Line::kTooLong;
  if (end == std::string_view::npos) return Line::kPartial;
  line_.pop_back();
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  return Line::kWhole;
}

Http1Parser::Result Http1Parser::Next(std::string_view* data) {
  if (complete_) {
    complete_ = false;
    request_ = HttpRequest();
  }
  while (true) {
    switch (state_) {
      case State::kHead: {
        const Line result = TakeLine(data);
        if (result == Line::kTooLong) return Fail(431);
        if (result == Line::kPartial) return Result::kNeedMore;
        const std::string line = std::exchange(line_, std::string());
        if (!have_request_line_) {
          if (line.empty()) break;  // blank lines before a request are to be ignored
          if (!ParseFirstLine(line)) return Fail(error_status_ != 0 ? error_status_ : 400);
          have_request_line_ = true;
        } else if (!line.empty()) {
          if (!ParseField(line)) return Fail(400);
        } else {
          const Result outcome = OnHead();
          if (outcome != Result::kNeedMore) return outcome;
        }
        break;
      }
      case State::kBody:
      case State::kChunk: {
        const Result result = TakeBody(data);
        if (result != Result::kContinue) return result;
        break;
      }
      case State::kChunkSize:
      case State::kChunkEnd:
      case State::kTrailer: {
        const Result result = OnChunkLine(data);
        if (result != Result::kContinue) return result;
        break;
      }
    }
  }
}

// kContinue: go on with the next state.
Http1Parser::Result Http1Parser::TakeBody(std::string_view* data) {
  if (left_ > 0) {
    const size_t taken = std::min<uint64_t>(left_, data->size());
    if (taken == 0) return Result::kNeedMore;
    body_ = data->substr(0, taken);
    data->remove_prefix(taken);
    left_ -= taken;
    if (bodies_ == Bodies::kStreamed) return Result::kBody;
    request_.body.append(body_);
    if (left_ > 0) return Result::kNeedMore;
  }
  if (state_ == State::kBody) return Complete();
  state_ = State::kChunkEnd;
  return Result::kContinue;
}

// kContinue: go on with the next state.
Http1Parser::Result Http1Parser::OnChunkLine(std::string_view* data) {
  const Line result = TakeLine(data);
  if (result == Line::kTooLong) return Fail(431);
  if (result == Line::kPartial) return Result::kNeedMore;
  const std::string line = std::exchange(line_, std::string());
  if (state_ == State::kTrailer) return line.empty() ? Complete() : Result::kContinue;
  head_bytes_ = 0;
  if (state_ == State::kChunkEnd) {
    if (!line.empty()) return Fail(400);
    state_ = State::kChunkSize;
    return Result::kContinue;
  }
  const std::string_view size = std::string_view(line).substr(0, line.find(';'));
  const std::string_view digits = Trim(size);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return Fail(400);
  if (left_ > body_bytes_max_ - request_.body.size()) return Fail(413);
  state_ = left_ == 0 ? State::kTrailer : State::kChunk;
  return Result::kContinue;
}

Http1Parser::Result Http1Parser::Complete() {
  state_ = State::kHead;
  head_bytes_ = 0;
  have_request_line_ = false;
  complete_ = true;
  return Result::kRequest;
}

bool Http1Parser::ParseFirstLine(std::string_view line) {
  return kind_ == Kind::kRequests ? ParseRequestLine(line) : ParseStatusLine(line);
}

bool Http1Parser::ParseStatusLine(std::string_view line) {
  constexpr size_t kVersionBytes = 9;  // "HTTP/1.1 "
  constexpr size_t kStatusBytes = 3;
  const std::string_view version = line.substr(0, kVersionBytes);
  if (version != "HTTP/1.1 " && version != "HTTP/1.0 ") return false;
  http_1_0_ = version == "HTTP/1.0 ";
  const std::string_view digits = line.substr(kVersionBytes, kStatusBytes);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), status_);
  return parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size() &&
         digits.size() == kStatusBytes && status_ >= 100;
}

bool Http1Parser::ParseRequestLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return false;
  const std::string_view version = line.substr(last + 1);
  if (version.substr(0, 5) != "HTTP/") return false;
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    error_status_ = 505;
    return false;
  }
  http_1_0_ = version == "HTTP/1.0";
  request_.method = line.substr(0, first);
  return IsToken(request_.method) &&
         ParseHttpTarget(line.substr(first + 1, last - first - 1), &request_);
}

bool ParseHttpTarget(std::string_view target, HttpRequest* request) {
  const bool printable = std::all_of(target.begin(), target.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
  if (target.empty() || !printable) return false;
  if (target == "*") {
    request->path = "*";
    return request->method == "OPTIONS";
  }
  if (target.substr(0, 7) == "http://") {
    target.remove_prefix(std::min(target.find('/', 7), target.size()));
    if (target.empty()) target = "/";
  }
  if (target.front() != '/') return false;
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  if (question != std::string_view::npos) request->query = target.substr(question + 1);
  std::optional<std::string> path = DecodePath(target.substr(0, question));
  if (!path.has_value()) return false;
  request->path = *std::move(path);
  return true;
}

bool Http1Parser::ParseField(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) return false;
  const std::string_view value = Trim(line.substr(colon + 1));
  const bool clean = std::all_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7f : c == '\t';
  });
  if (!clean) return false;
  request_.headers.emplace_back(LowerCase(line.substr(0, colon)), value);
  return true;
}

// kNeedMore: the body is next.
Http1Parser::Result Http1Parser::OnHead() {
  head_bytes_ = 0;
  keep_alive_ = !http_1_0_;
  expect_continue_ = false;
  if (kind_ == Kind::kAnswers && status_ < 200) {
    // "100 Continue" and its like only precede the answer.
    have_request_line_ = false;
    request_.headers.clear();
    return Result::kNeedMore;
  }
  if (const int status = ReadFraming(); status != 0) return Fail(status);
  if (bodies_ == Bodies::kStreamed) {
    if (state_ == State::kHead) state_ = State::kBody;  // of no bytes: completes at the next call
    return Result::kHead;
  }
  if (state_ == State::kHead) return Complete();
  return expect_continue_ ? Result::kContinue : Result::kNeedMore;
}

// Sets what the head says about body and connection; 0 or the status of the refusal.
int Http1Parser::ReadFraming() {
  int hosts = 0;
  std::optional<uint64_t> length;
  bool chunked = false;
  for (const auto& [name, value] : request_.headers) {
    if (name == "host") {
      ++hosts;
    } else if (name == "content-length") {
      uint64_t number = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) return 400;
      if (length.has_value() && *length != number) return 400;
      length = number;
    } else if (name == "transfer-encoding") {
      if (!(LowerCase(value) == "chunked")) return 501;
      if (chunked || http_1_0_) return 400;
      chunked = true;
    } else if (name == "connection") {
      if (ListNames(value, "close")) keep_alive_ = false;
      if (http_1_0_ && ListNames(value, "keep-alive")) keep_alive_ = true;
    } else if (name == "expect") {
      if (!(LowerCase(value) == "100-continue")) return 417;
      expect_continue_ = !http_1_0_;
    }
  }
  if (kind_ == Kind::kRequests && (hosts > 1 || (hosts == 0 && !http_1_0_))) return 400;
  if (chunked && length.has_value()) return 400;
  if (length.value_or(0) > body_bytes_max_) return 413;
  left_ = 0;
  if (kind_ == Kind::kAnswers && (status_ == 204 || status_ == 304)) return 0;
  if (chunked) {
    state_ = State::kChunkSize;
  } else if (kind_ == Kind::kAnswers && !length.has_value()) {
    left_ = UINT64_MAX;  // until the connection ends
    state_ = State::kBody;
  } else if (length.value_or(0) > 0) {
    left_ = *length;
    state_ = State::kBody;
  }
  return 0;
}

}  // namespace quorate::transport
