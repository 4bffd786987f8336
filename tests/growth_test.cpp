// Which stages grow, against the paper's rule and its released networks' published sizes.
#include "search/growth.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "layers/cost.h"
#include "search/forecast.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

/// 848,426 parameters and 139.9 M multiply-accumulates: the paper's fourth network.
Architecture paper_network() { return Architecture::of_depths({10, 12, 8}, Variant::paper); }

std::vector<std::size_t> growing(const std::vector<double>& rises, const GrowthRules& rules) {
  std::vector<double> deeper = rises;
  for (double& score : deeper) score += 0.5;
  return growing_stages(decide_growth(paper_network(), {0.5, 0.5, 0.5}, deeper, rules));
}

using Stages = std::vector<std::size_t>;

TEST(Growth, StagesGrowWhoseScoreRose) {
  const auto decisions = decide_growth(paper_network(), {0.9, 0.8, 0.7}, {0.912, 0.75, 0.7}, {.step = 2});
  EXPECT_EQ(growing_stages(decisions), Stages{0});
  EXPECT_EQ(decisions[0].before, 0.9);
  EXPECT_EQ(decisions[0].deeper, 0.912);
  EXPECT_EQ(decisions[0].rise, 0.912 - 0.9);
  EXPECT_TRUE(decisions[0].qualified);
  EXPECT_EQ(decisions[0].reason, "score rose by 0.012 (> 0): grows by 2");
  EXPECT_FALSE(decisions[1].qualified);
  EXPECT_EQ(decisions[1].reason, "score fell by 0.05: stays");
  EXPECT_FALSE(decisions[2].qualified);
  EXPECT_EQ(decisions[2].reason, "score did not change: stays");
}

TEST(Growth, RiseMustExceedTheMargin) {
  const std::vector<double> rises{0.25, 0.125, 0.0625};  // exact in binary
  EXPECT_EQ(growing(rises, {.margin = 0.125}), Stages{0});
  EXPECT_EQ(growing(rises, {.margin = 0.1}), (Stages{0, 1}));
  EXPECT_EQ(growing({-0.25, -0.125, 0}, {.margin = -0.2}), (Stages{1, 2}));
  const auto decisions = decide_growth(paper_network(), {0, 0, 0}, {0.125, 0, -0.125}, {.margin = 0.125});
  EXPECT_EQ(decisions[0].reason, "score rose by 0.125 (not > 0.125): stays");
}

TEST(Growth, LargestRiseComesFirstUnderABudget) {
  // Two blocks more: 9,408 parameters in stage 1, 37,504 in stage 2, 148,736 in stage 3 (the paper's iterations 2 to
  // 5).
  EXPECT_EQ(growing({0.1, 0.3, 0.2}, {.step = 2, .limits = {.max_parameters = 885'930}}), Stages{1});
  EXPECT_EQ(growing({0.1, 0.3, 0.2}, {.step = 2, .limits = {.max_parameters = 885'929}}), Stages{0});
  EXPECT_EQ(growing({0.1, 0.3, 0.2}, {.step = 2, .limits = {.max_parameters = 997'162}}), (Stages{0, 1}));
  EXPECT_EQ(growing({0.1, 0.2, 0.3}, {.step = 2, .limits = {.max_parameters = 997'162}}), Stages{2});
}

TEST(Growth, StageThatIsTooBigDoesNotStopASmallerOne) {
  const auto decisions =
      decide_growth(paper_network(), {0, 0, 0}, {0.1, 0.2, 0.3}, {.step = 2, .limits = {.max_parameters = 900'000}});
  EXPECT_EQ(growing_stages(decisions), (Stages{0, 1}));
  EXPECT_TRUE(decisions[2].qualified);
  EXPECT_EQ(decisions[2].reason,
            "score rose by 0.3 (> 0), but would exceed --max-params 900,000 (needs 997,162): stays");
}

TEST(Growth, EarlierStageComesFirstAmongEquals) {
  const std::int64_t block =
      cost_of(grown(paper_network(), {0}, 1)).total().macs - cost_of(paper_network()).total().macs;
  const std::int64_t now = cost_of(paper_network()).total().macs;
  EXPECT_EQ(block, 2 * 32 * 32 * 9 * 16 * 16);  // in each stage: the width doubles where the sides halve
  EXPECT_EQ(growing({0.1, 0.1, 0.1}, {.limits = {.max_macs = now + 2 * block}}), (Stages{0, 1}));
  EXPECT_EQ(growing({0.1, 0.2, 0.1}, {.limits = {.max_macs = now + 2 * block}}), (Stages{0, 1}));
  EXPECT_EQ(growing({0.1, 0.1, 0.2}, {.limits = {.max_macs = now + 2 * block}}), (Stages{0, 2}));
  EXPECT_EQ(growing({0.1, 0.1, 0.1}, {.limits = {.max_macs = now + 3 * block}}), (Stages{0, 1, 2}));
}

TEST(Growth, NothingGrowsInANetworkThatIsOverBudget) {
  const auto decisions = decide_growth(paper_network(), {0, 0, 0}, {1, 1, 1}, {.limits = {.max_macs = 1'000'000}});
  EXPECT_EQ(growing_stages(decisions), Stages{});
  for (const auto& decision : decisions) {
    EXPECT_NE(decision.reason.find("would exceed --max-macs 1,000,000"), std::string::npos) << decision.reason;
  }
}

TEST(Growth, GrownNetworkHasThePublishedSize) {
  const Architecture fifth = grown(paper_network(), {1}, 2);
  EXPECT_EQ(fifth.depths(), (std::vector<std::int64_t>{10, 14, 8}));
  EXPECT_EQ(cost_of(fifth).total().parameters(), 885'930);
}

TEST(Growth, NewBlocksComeLastAndGoOnFromTheHighestNumber) {
  Architecture architecture = Architecture::of_depths({3, 2});
  architecture.stages[0].blocks = {0, 7, 2};
  const Architecture larger = grown(architecture, {0, 1}, 2);
  EXPECT_EQ(larger.stages[0].blocks, (std::vector<std::int64_t>{0, 7, 2, 8, 9}));
  EXPECT_EQ(larger.stages[1].blocks, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(grown(architecture, {}, 2), architecture);
}

TEST(Growth, BadInputIsAnError) {
  const Architecture network = paper_network();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(message_of([&] {
              decide_growth(network, {0, 0}, {0, 0, 0}, {});
            }),
            "[growth] expected 3 scores before and in the deeper network, one for each stage, got 2 and 3");
  EXPECT_EQ(message_of([&] {
              decide_growth(network, {0, 0, 0}, {0, nan, 0}, {});
            }),
            "[growth] expected finite scores of stage 2, got 0 and nan in the deeper network");
  EXPECT_THROW(decide_growth(network, {0, 0, 0}, {0, 0, 0}, {.step = 0}), Error);
  EXPECT_THROW(decide_growth(network, {0, 0, 0}, {0, 0, 0}, {.margin = nan}), Error);
  EXPECT_THROW(grown(network, {3}, 1), Error);
  EXPECT_THROW(grown(network, {0}, kMaxDepth), Error);
  EXPECT_THROW(grown(network, {0}, std::numeric_limits<std::int64_t>::max()), Error);
}

TEST(Forecast, GoesByTheSpeedSoFar) {
  Forecast forecast;
  EXPECT_EQ(forecast.left(60), "");
  forecast.add(10, 2.5);
  forecast.add(10, 7.5);
  EXPECT_EQ(forecast.left(60), "30 s left");
  EXPECT_EQ(forecast.left(260), "2 min 10 s left");
  EXPECT_EQ(forecast.left(0), "");
  EXPECT_EQ(forecast.left(-5), "") << "looking may spend more than there was";
}

}  // namespace
}  // namespace stagewise
