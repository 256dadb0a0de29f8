// A revision names one change: `main` is the transaction, `sub` the change inside it. As a key of
// table `key` it has etcd's form: main (8 bytes big-endian) '_' sub (8 bytes big-endian), and 't'
// behind it for a tombstone, so byte order is revision order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quorate::engine {

struct Revision {
  int64_t main = 0;
  int64_t sub = 0;
  constexpr auto operator<=>(const Revision&) const = default;
};

inline constexpr size_t kRevisionKeyBytes = 17;
inline constexpr size_t kTombstoneKeyBytes = 18;

enum class RecordKind : uint8_t { kPut, kTombstone };

// Text of 17 or 18 bytes without allocation.
class RevisionKey {
 public:
  RevisionKey(Revision revision, RecordKind kind);
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, kTombstoneKeyBytes> bytes_;
  uint8_t size_;
};

struct ParsedRevisionKey {
  Revision revision;
  RecordKind kind = RecordKind::kPut;
};
// nullopt unless `key` has exactly the form above.
std::optional<ParsedRevisionKey> ParseRevisionKey(std::string_view key);

}  // namespace quorate::engine
