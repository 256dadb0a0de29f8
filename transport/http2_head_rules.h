// HeadRules: whether a request's header block keeps HTTP's rules (RFC 9113 §8.1.1, §8.2, §8.3), for
// the server side. It stands in for nghttp2's own check because that one refuses an :authority with
// a scheme in it ("http://127.0.0.1:2379"), which is what etcd's clients up to 3.4 send for an
// endpoint that was given as a URL, and which etcd takes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace quorate::transport {

class HeadRules {
 public:
  // A new block begins.
  void Clear() { *this = HeadRules(); }

  // The next field, in the order of the block.
  void Field(std::string_view name, std::string_view value);

  // All fields are seen: whether the request is well-formed.
  bool WellFormed() const;
  // What content-length promised, in bytes; none if the request did not say.
  std::optional<uint64_t> content_length() const { return content_length_; }

  // Trailers may hold no pseudo-header; call for each of their fields.
  static bool TrailerAllowed(std::string_view name, std::string_view value);

 private:
  void PseudoField(std::string_view name, std::string_view value);

  bool broken_ = false;
  bool regular_seen_ = false;
  bool method_seen_ = false;
  bool scheme_seen_ = false;
  bool path_seen_ = false;
  bool authority_seen_ = false;
  std::optional<uint64_t> content_length_;
};

}  // namespace quorate::transport
