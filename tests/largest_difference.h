#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace stagewise {

/// Infinite for lists of other lengths, and where a number is none.
inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0.0 : INFINITY;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::abs(a[i] - b[i]) <= largest ? largest : std::abs(a[i] - b[i]);
  }
  return largest;
}

}  // namespace stagewise
