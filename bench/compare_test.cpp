#include <gtest/gtest.h>

#include <numeric>

#include "bench/mann_whitney.h"

namespace stagewise {
namespace {

std::vector<double> counted_from(double first, std::size_t count) {
  std::vector<double> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

// The expected values are those of scipy.stats.mannwhitneyu (SciPy 1.x), `exact` or `asymptotic`.
TEST(MannWhitney, IsExactForSmallSamplesWithoutTies) {
  const MannWhitney diagnosis = mann_whitney({19, 22, 16, 29, 24}, {20, 11, 17, 12});
  EXPECT_TRUE(diagnosis.exact);
  EXPECT_DOUBLE_EQ(diagnosis.u, 17.0);
  EXPECT_NEAR(diagnosis.p, 0.1111111111111111, 1e-12);

  const MannWhitney mixed = mann_whitney({1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7}, {2.0, 3.0, 5.0, 8.0, 9.0});
  EXPECT_DOUBLE_EQ(mixed.u, 14.0);
  EXPECT_NEAR(mixed.p, 0.638888888888889, 1e-12);
}

TEST(MannWhitney, NineRepetitionsThatDoNotOverlapAreTwoOrdersOfAll) {
  const MannWhitney apart = mann_whitney(counted_from(0, 9), counted_from(10, 9));
  EXPECT_DOUBLE_EQ(apart.u, 0.0);
  EXPECT_NEAR(apart.p, 2.0 / 48620.0, 1e-15);
  EXPECT_DOUBLE_EQ(mann_whitney(counted_from(10, 9), counted_from(0, 9)).p, apart.p);
}

TEST(MannWhitney, CorrectsTheNormalApproximationForTies) {
  const MannWhitney tied = mann_whitney({1, 2, 2, 3, 5, 5, 7, 8, 9}, {2, 4, 5, 6, 8, 10, 11, 12, 12});
  EXPECT_FALSE(tied.exact);
  EXPECT_DOUBLE_EQ(tied.u, 20.5);
  EXPECT_NEAR(tied.p, 0.08347917765233002, 1e-12);
}

TEST(MannWhitney, ApproximatesForLargeSamples) {
  const MannWhitney large = mann_whitney(counted_from(0, 30), counted_from(7.5, 25));
  EXPECT_FALSE(large.exact);
  EXPECT_DOUBLE_EQ(large.u, 253.0);
  EXPECT_NEAR(large.p, 0.04000233106564058, 1e-12);
}

TEST(MannWhitney, FindsNothingInEqualOrMissingValues) {
  EXPECT_DOUBLE_EQ(mann_whitney({1, 1, 1}, {1, 1, 1}).p, 1.0);
  EXPECT_DOUBLE_EQ(mann_whitney({}, {1, 2}).p, 1.0);
  EXPECT_DOUBLE_EQ(mann_whitney({1}, {2}).p, 1.0);
}

TEST(MannWhitney, CountsAllOrders) {
  // The six orders of two and two values have U = 0, 1, 2, 2, 3, 4.
  EXPECT_EQ(mann_whitney_counts(2, 2), (std::vector<double>{1, 1, 2, 1, 1}));
}

TEST(Median, IsTheMiddleOrTheMeanOfTheTwoMiddles) {
  EXPECT_DOUBLE_EQ(median_of({3, 1, 2}), 2.0);
  EXPECT_DOUBLE_EQ(median_of({4, 1, 3, 2}), 2.5);
}

}  // namespace
}  // namespace stagewise
