#include "engine/auth/simple_tokens.h"

#include <charconv>

#include "base/check.h"
#include "base/text.h"

namespace quorate::engine {
namespace {

struct Parts {
  std::string_view secret;
  std::string_view index_text;
  uint64_t index = 0;
};

std::optional<Parts> Split(std::string_view token) {
  const size_t dot = token.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  Parts parts{token.substr(0, dot), token.substr(dot + 1)};
  const char* const end = parts.index_text.data() + parts.index_text.size();
  const auto parsed = std::from_chars(parts.index_text.data(), end, parts.index);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return parts;
}

// Says nothing by its time about where two strings of one length differ.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

}  // namespace

std::string SimpleTokens::Text(std::string_view secret, LogIndex index) {
  return StrCat(secret, ".", index.value());
}

std::optional<LogIndex> SimpleTokens::IndexOf(std::string_view token) {
  const std::optional<Parts> parts = Split(token);
  if (!parts) return std::nullopt;
  return LogIndex(parts->index);
}

void SimpleTokens::Assign(std::string_view secret, LogIndex index, const std::string& user) {
  const int64_t expires_ns = now_ns_ + options_.ttl_ns;
  const bool is_new =
      tokens_.emplace(index.value(), Token{std::string(secret), user, expires_ns}).second;
  QR_CHECK(is_new);
  expiries_.push_back({expires_ns, index.value()});
}

std::optional<std::string> SimpleTokens::Find(std::string_view token) {
  const std::optional<Parts> parts = Split(token);
  if (!parts) return std::nullopt;
  const auto found = tokens_.find(parts->index);
  if (found == tokens_.end() || found->second.expires_ns <= now_ns_) return std::nullopt;
  // "007" is not how the index was written.
  if (parts->index_text != StrCat(parts->index)) return std::nullopt;
  if (!SameSecret(parts->secret, found->second.secret)) return std::nullopt;
  found->second.expires_ns = now_ns_ + options_.ttl_ns;
  return found->second.user;
}

void SimpleTokens::InvalidateUser(std::string_view user) {
  std::erase_if(tokens_, [&](const auto& item) { return item.second.user == user; });
}

void SimpleTokens::Clear() {
  tokens_.clear();
  expiries_.clear();
}

void SimpleTokens::SetNow(int64_t now_ns) {
  now_ns_ = now_ns;
  while (!expiries_.empty() && expiries_.front().at_ns <= now_ns_) {
    const uint64_t index = expiries_.front().index;
    expiries_.pop_front();
    const auto token = tokens_.find(index);
    if (token == tokens_.end()) continue;
    if (token->second.expires_ns <= now_ns_) {
      tokens_.erase(token);
    } else {
      expiries_.push_back({token->second.expires_ns, index});  // used meanwhile
    }
  }
}

}  // namespace quorate::engine
