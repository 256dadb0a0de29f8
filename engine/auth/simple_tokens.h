// SimpleTokens: who holds which token of the kind `simple`: 16 letters that nobody can guess, a
// dot, and the index of the log entry that made it. Every member keeps those whose entries it
// applied, in memory alone, for a time that starts anew with each use; they are no part of the
// replicated state and are gone after a restart (wire facts, semantics §7).
// Time enters by SetNow. Replica thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace quorate::engine {

class SimpleTokens {
 public:
  struct Options {
    int64_t ttl_ns = int64_t{300} * 1'000'000'000;
  };
  explicit SimpleTokens(const Options& options) : options_(options) {}

  static std::string Text(std::string_view secret, LogIndex index);
  // The entry that made a token; nullopt when that is none.
  static std::optional<LogIndex> IndexOf(std::string_view token);

  void Assign(std::string_view secret, LogIndex index, const std::string& user);
  // Whose it is; counts as a use. nullopt: of nobody, or no more. Takes as long for a wrong secret
  // as for a right one.
  std::optional<std::string> Find(std::string_view token);
  void InvalidateUser(std::string_view user);
  void Clear();
  void SetNow(int64_t now_ns);  // lets go of what is over
  size_t size() const { return tokens_.size(); }

 private:
  struct Token {
    std::string secret;
    std::string user;
    int64_t expires_ns;
  };
  struct Expiry {
    int64_t at_ns;  // as it was when this was put here
    uint64_t index;
  };

  const Options options_;
  int64_t now_ns_ = 0;
  std::map<uint64_t, Token> tokens_;  // by log index, which is no secret
  std::deque<Expiry> expiries_;       // one for each token, oldest first
};

}  // namespace quorate::engine
