#include "base/edit_distance.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace quorate {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

std::vector<std::string_view> ClosestNames(std::string_view name,
                                           std::span<const std::string_view> known) {
  constexpr size_t kShown = 3;
  constexpr size_t kPrefixMin = 3;  // one or two letters begin too many names
  std::vector<std::pair<size_t, std::string_view>> ranked;
  for (const std::string_view candidate : known) {
    const size_t distance = EditDistance(name, candidate);
    const bool near = distance <= std::max<size_t>(1, std::max(name.size(), candidate.size()) / 3);
    const bool begins = name.size() >= kPrefixMin && candidate.starts_with(name);
    if (near || begins) ranked.emplace_back(distance, candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  if (ranked.size() > kShown) ranked.resize(kShown);
  std::vector<std::string_view> names;
  for (const auto& [distance, candidate] : ranked) names.push_back(candidate);
  return names;
}

}  // namespace quorate
