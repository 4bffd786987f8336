// What a run will do and what it decides, from numbers alone: work, the plan of depth over work, decisions.
#include "search/plan.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "layers/cost.h"
#include "search/decision.h"
#include "search/work.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

using Depths = std::vector<std::int64_t>;

constexpr std::int64_t kImages = 50'000;
constexpr std::int64_t kBlock = 2 * 32 * 32 * 9 * 16 * 16;  // MACs of a block, in each stage of a CIFAR network

GrowthPlan plan_of(const Depths& start, double block_passes, const GrowthLimits& limits = {}) {
  return plan_growth(Architecture::of_depths(start), std::llround(block_passes * kBlock * kImages), kImages, limits);
}

TEST(Work, IsThatOfForwardPassesAndAThirdForWhatIsOnlyLookedAt) {
  Architecture architecture = Architecture::of_depths({1});
  architecture.height = architecture.width = 8;
  architecture.classes = 3;
  // The stem, two convolutions, the classifier.
  const std::int64_t macs = 64 * 9 * 3 * 16 + 2 * 64 * 9 * 16 * 16 + 16 * 3;
  EXPECT_EQ(training_work(architecture, 1), macs);
  EXPECT_EQ(training_work(architecture, 48), 48 * macs);
  EXPECT_EQ(evaluation_work(architecture, 48), 16 * macs);
  EXPECT_EQ(work_text(3.07e13), "3.07e+13 MACs");
}

TEST(Plan, FollowsItsTable) {
  EXPECT_DOUBLE_EQ(best_blocks_a_stage(130.0), 2.0);
  EXPECT_DOUBLE_EQ(best_blocks_a_stage(340.0), 2.8);
  EXPECT_DOUBLE_EQ(best_blocks_a_stage(1017.0), 4.5);
  EXPECT_NEAR(best_blocks_a_stage(3008.0), 8.0, 1e-12);
  EXPECT_NEAR(best_blocks_a_stage(std::sqrt(130.0 * 340.0)), std::sqrt(2.0 * 2.8), 1e-12) << "halfway, logarithmically";
  EXPECT_NEAR(best_blocks_a_stage(130.0 * 130.0 / 340.0), 2.0 * 2.0 / 2.8, 1e-12) << "the same slope below";
  EXPECT_NEAR(best_blocks_a_stage(3008.0 * 3008.0 / 1017.0), 8.0 * 8.0 / 4.5, 1e-12) << "and above";
}

TEST(Plan, HasAsManyRoundsAsTheFactorAsksFor) {
  EXPECT_TRUE(plan_of({2, 2, 2}, 130).rounds.empty()) << "the start is the best";
  EXPECT_TRUE(plan_of({4, 4, 4}, 130).rounds.empty()) << "the start is deeper than the best";
  EXPECT_TRUE(plan_of({3, 3, 3}, 500).rounds.empty()) << "near enough";
  EXPECT_EQ(plan_of({1, 1, 1}, 130).rounds.size(), 1U);
  EXPECT_EQ(plan_of({1, 1, 1}, 130).final_depths, (Depths{2, 2, 2}));
  EXPECT_EQ(plan_of({2, 2, 2}, 1017).rounds.size(), 1U);
  EXPECT_EQ(plan_of({1, 1, 1}, 1017).rounds.size(), 2U);
  EXPECT_EQ(plan_of({1, 1, 1}, 1017).rounds[0].depths, (Depths{2, 2, 2}));  // sqrt(4.5)
  EXPECT_EQ(plan_of({1, 1, 1}, 3008).rounds.size(), 3U);
  EXPECT_EQ(plan_of({1, 1, 1}, 3008).final_depths, (Depths{8, 8, 8}));
  EXPECT_EQ(plan_of({1, 2, 3}, 1017).final_depths, (Depths{2, 5, 7})) << "every stage by the same factor, 2.25";
}

TEST(Plan, MoreWorkNeverMeansLessDepth) {
  for (const Depths& start : {Depths{1, 1, 1}, {2, 2, 2}, {1, 2, 3}, {5, 1, 1}}) {
    std::int64_t before = 0;
    for (double block_passes = 10; block_passes < 1e5; block_passes *= 1.05) {
      const GrowthPlan plan = plan_of(start, block_passes);
      std::int64_t blocks = 0;
      for (const std::int64_t depth : plan.final_depths) blocks += depth;
      EXPECT_GE(blocks, before) << block_passes;
      before = blocks;
      double share = 0.0;
      Depths depths = start;
      for (const GrowthRound& round : plan.rounds) {
        EXPECT_LE(share, round.insert);
        EXPECT_LT(round.insert, round.decide);
        share = round.decide;
        for (std::size_t stage = 0; stage < 3; ++stage) EXPECT_GE(round.depths[stage], depths[stage]);
        EXPECT_NE(round.depths, depths);
        depths = round.depths;
      }
      EXPECT_LE(share, 0.5) << "most of the work is left to train what was found";
      EXPECT_EQ(depths, plan.final_depths);
    }
  }
}

TEST(Plan, KeepsWithinTheLimits) {
  const Architecture start = Architecture::of_depths({1, 1, 1});
  for (const std::int64_t most : {80'000, 100'000, 200'000, 300'000, 1'000'000}) {
    for (const GrowthLimits& limits : {GrowthLimits{.max_parameters = most}, GrowthLimits{.max_macs = most * 200}}) {
      const GrowthPlan plan = plan_of({1, 1, 1}, 3008, limits);
      for (const GrowthRound& round : plan.rounds) {
        EXPECT_EQ(over_limits(deepened(start, round.depths), limits), "");
      }
    }
  }
  const std::int64_t needed = cost_of(start).total().parameters();
  EXPECT_TRUE(plan_of({1, 1, 1}, 3008, {.max_parameters = needed}).rounds.empty());
  EXPECT_TRUE(contains(message_of([&] { plan_of({1, 1, 1}, 3008, {.max_parameters = needed - 1}); }), "--max-params"));
  EXPECT_TRUE(contains(message_of([&] { plan_of({1, 1, 1}, 3008, {.max_macs = 1000}); }), "--max-macs"));
}

TEST(Plan, TheFirstLookAndATrialTakeTheirShareAndNoMoreImagesThanTheyNeed) {
  const GrowthRound little = plan_of({1, 1, 1}, 130).rounds.front(), more = plan_of({1, 1, 1}, 340).rounds.front();
  EXPECT_DOUBLE_EQ(little.insert, 0.02);
  EXPECT_DOUBLE_EQ(little.decide, 0.20);
  EXPECT_DOUBLE_EQ(more.insert, 0.02);
  const auto macs = static_cast<double>(cost_of(Architecture::of_depths({3, 3, 3})).total().macs);
  EXPECT_NEAR((more.decide - more.insert) * 340.0 * kBlock * kImages / macs, 210'000, 1);
  const std::vector<GrowthRound> rounds = plan_of({1, 1, 1}, 1017).rounds;
  EXPECT_EQ(rounds[1].insert, rounds[0].decide);
  EXPECT_LT(rounds[1].decide, 0.12);
  const auto start = static_cast<double>(cost_of(Architecture::of_depths({1, 1, 1})).total().macs);
  EXPECT_NEAR(rounds[0].insert * 1017.0 * kBlock * kImages / start, 130'000, 1);
}

TEST(Plan, GrowsToWhatItIsTold) {
  constexpr std::int64_t kWork = 30'000'000'000'000;
  const Architecture start = Architecture::of_depths({1, 2, 1});
  const GrowthPlan plan = plan_growth_to(start, {4, 2, 3}, kWork, {});
  ASSERT_EQ(plan.rounds.size(), 1U);
  EXPECT_EQ(plan.rounds[0].depths, (Depths{4, 2, 3}));
  EXPECT_EQ(plan.final_depths, (Depths{4, 2, 3}));
  EXPECT_TRUE(plan_growth_to(start, {1, 2, 1}, kWork, {}).rounds.empty());
  EXPECT_THROW(plan_growth_to(start, {1, 1, 1}, kWork, {}), Error);
  EXPECT_THROW(plan_growth_to(start, {4, 4}, kWork, {}), Error);
  EXPECT_TRUE(contains(message_of([&] {
                         plan_growth_to(start, {4, 4, 4}, kWork, {.max_macs = 50'000'000});
                       }),
                       "--grow-to"));
}

TEST(Decision, AnIntervalThatHoldsTheMarginTakesThePlansChoiceWhateverTheScore) {
  for (const StageScore score : {StageScore{0.004, -0.1, 0.1},
                                 {0.099, 0.004, 0.2},
                                 {-0.09, -0.2, 0.006},
                                 {0.005, 0.005, 0.005},
                                 {0.1, 0.005, 0.2},
                                 {0.0, -0.2, 0.005}}) {
    for (const bool planned : {false, true}) {
      const StageDecision decision = decide({score}, {2}, {planned}, 0.005)[0];
      EXPECT_EQ(decision.verdict, Verdict::toss_up) << score.value;
      EXPECT_EQ(decision.stays, planned);
      EXPECT_TRUE(contains(decision.reason,
                           "a toss-up, and by the plan " + std::string(planned ? "they stay" : "they are taken out")));
    }
  }
}

TEST(Decision, AClearOneDoesNotAskThePlan) {
  for (const bool planned : {false, true}) {
    const auto decisions = decide({{0.03, 0.02, 0.04}, {0.001, -0.002, 0.004}, {9.0, 8.0, 10.0}}, {2, 1, 0},
                                  {planned, planned, planned}, 0.005);
    EXPECT_EQ(decisions[0].verdict, Verdict::pays);
    EXPECT_TRUE(decisions[0].stays);
    EXPECT_EQ(decisions[0].reason, "its 2 new blocks save 0.03 (0.02 to 0.04) > 0.005: they stay");
    EXPECT_EQ(decisions[1].verdict, Verdict::does_not_pay);
    EXPECT_FALSE(decisions[1].stays);
    EXPECT_EQ(decisions[1].reason, "its new block saves 0.001 (-0.002 to 0.004) < 0.005: it is taken out");
    EXPECT_TRUE(decisions[2].stays) << "it has none to lose";
    EXPECT_EQ(decisions[2].reason, "no new blocks");
  }
}

TEST(Decision, TheMarginMovesTheLine) {
  const std::vector<StageScore> scores = {{0.03, 0.02, 0.04}};
  EXPECT_EQ(decide(scores, {1}, {true}, 0.0)[0].verdict, Verdict::pays);
  EXPECT_EQ(decide(scores, {1}, {true}, 0.03)[0].verdict, Verdict::toss_up);
  EXPECT_EQ(decide(scores, {1}, {true}, 0.1)[0].verdict, Verdict::does_not_pay);
  EXPECT_EQ(decide(scores, {1}, {true}, 0.1, /*long_enough=*/false)[0].verdict, Verdict::toss_up);
  EXPECT_EQ(decide(scores, {1}, {true}, 0.0, /*long_enough=*/false)[0].verdict, Verdict::pays);
  EXPECT_EQ(decide({{-0.03, -0.04, -0.02}}, {1}, {true}, -0.1)[0].verdict, Verdict::pays);
}

TEST(Decision, RefusesWhatIsNoNumberAndListsThatDiffer) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const StageScore score : {StageScore{nan, 0, 0}, {0, nan, 0}, {0, 0, nan}, {0, -inf, inf}}) {
    EXPECT_TRUE(contains(message_of([&] { decide({score}, {1}, {true}, 0.0); }), "stage 1"));
  }
  EXPECT_THROW(decide({{}, {}}, {1}, {true, true}, 0.0), Error);
  EXPECT_THROW(decide({{}}, {1}, {true, true}, 0.0), Error);
}

}  // namespace
}  // namespace stagewise
