// "Did you mean": the known names nearest to one that a user mistyped.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace quorate {

// Levenshtein's distance: insertions, deletions and replacements of one byte.
size_t EditDistance(std::string_view a, std::string_view b);

// Up to three of `known` that are near enough to help, the nearest first (ties in the order given):
// at most a third of the characters differ, or `name` is the beginning of it.
std::vector<std::string_view> ClosestNames(std::string_view name,
                                           std::span<const std::string_view> known);

}  // namespace quorate
