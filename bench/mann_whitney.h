// Mann and Whitney's U test (1947): do two samples come from distributions of which neither tends to be larger?
// It ranks and knows no normal distribution, so one repetition that something disturbed counts for little.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace stagewise {

struct MannWhitney {
  double u = 0.0;      // how many pairs (a, b) have a > b, ties counting half
  double p = 1.0;      // two-sided
  bool exact = false;  // from U's own distribution, else from the normal one with corrections for ties and continuity
};

/// The number of ways in which samples of `n` and `m` distinct values can lie to give each U in 0..n*m (all ways are
/// equally likely when nothing differs): N(u; n, m) = N(u - m; n - 1, m) + N(u; n, m - 1), by who has the largest
/// value.
inline std::vector<double> mann_whitney_counts(std::size_t n, std::size_t m) {
  // counts[j] holds N(.; i, j) of the row i at hand, each long enough for the last.
  std::vector<std::vector<double>> counts(m + 1, std::vector<double>(n * m + 1, 0.0));
  for (std::vector<double>& none : counts) none[0] = 1.0;
  for (std::size_t i = 1; i <= n; ++i) {
    for (std::size_t j = 1; j <= m; ++j) {
      std::vector<double> next = counts[j - 1];
      for (std::size_t u = j; u < next.size(); ++u) next[u] += counts[j][u - j];
      counts[j] = std::move(next);
    }
  }
  return counts[m];
}

/// Two-sided. Exact for up to 20 values a side without ties. A sample without values: p is 1.
inline MannWhitney mann_whitney(const std::vector<double>& a, const std::vector<double>& b) {
  constexpr std::size_t kMostExact = 20;
  if (a.empty() || b.empty()) return {};
  MannWhitney result;
  for (const double x : a) {
    for (const double y : b) result.u += x > y ? 1.0 : x == y ? 0.5 : 0.0;
  }
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size()), total = n + m;
  const double larger = std::max(result.u, n * m - result.u);

  std::vector<double> all = a;
  all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end());
  double ties = 0.0;  // the sum of t^3 - t over runs of t equal values
  for (auto first = all.begin(); first != all.end();) {
    const auto last = std::upper_bound(first, all.end(), *first);
    const auto equal = static_cast<double>(last - first);
    ties += equal * equal * equal - equal;
    first = last;
  }

  result.exact = ties == 0.0 && a.size() <= kMostExact && b.size() <= kMostExact;
  if (result.exact) {
    const std::vector<double> counts = mann_whitney_counts(a.size(), b.size());
    double tail = 0.0, every = 0.0;
    for (std::size_t u = 0; u < counts.size(); ++u) {
      every += counts[u];
      if (static_cast<double>(u) >= larger) tail += counts[u];
    }
    result.p = std::min(1.0, 2.0 * tail / every);
    return result;
  }
  const double variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
  if (variance <= 0.0) return result;  // all values equal
  const double z = (larger - n * m / 2.0 - 0.5) / std::sqrt(variance);
  result.p = std::min(1.0, std::erfc(z / std::sqrt(2.0)));
  return result;
}

/// Of at least one value.
inline double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2.0;
}

}  // namespace stagewise
