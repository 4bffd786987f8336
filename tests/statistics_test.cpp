// Intervals, differences and verdicts: against scipy 1.17's figures, closed forms, and a simulated world whose truth is
// known.
#include "search/report/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>

#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

TEST(Statistics, StudentsDistributionIsScipys) {
  struct Case {
    double t, freedom, probability;
  };
  for (const auto& [t, freedom, probability] : {Case{0.0, 3, 0.5},
                                                {1.0, 1, 0.75},
                                                {-2.5, 2, 0.064805860110755412},
                                                {2.776445105197793, 4, 0.97499999999999998},
                                                {0.7, 7.3, 0.74719142990687082},
                                                {12.0, 2.5, 0.99858189248496088},
                                                {-40, 9, 9.491499224669911e-12},
                                                {1.96, 10000.0, 0.97498823988408345}}) {
    EXPECT_NEAR(t_distribution(t, freedom), probability, 1e-11 * probability) << t << ' ' << freedom;
    EXPECT_NEAR(t_distribution(-t, freedom), 1.0 - probability, 1e-11) << t << ' ' << freedom;
  }
}

TEST(Statistics, AndSoAreItsQuantiles) {
  struct Case {
    double probability, freedom, t;
  };
  for (const auto& [probability, freedom, t] : {Case{0.975, 1, 12.706204736174694},
                                                {0.975, 2, 4.3026527297494619},
                                                {0.975, 4, 2.7764451051977934},
                                                {0.95, 3.7, 2.1824938039146007},
                                                {0.9995, 12, 4.3177912836062475},
                                                {0.025, 9, -2.2621571627982053},
                                                {0.6, 0.8, 0.34305457368789072}}) {
    EXPECT_NEAR(t_quantile(probability, freedom), t, 1e-9 * std::abs(t)) << probability << ' ' << freedom;
  }
}

const std::vector<double> kA = {.8648, .8691, .8732}, kB = {.8852, .8901, .8870, .8884};

TEST(Statistics, AMeansIntervalIsScipys) {
  const Sample sample = sample_of(kA);
  EXPECT_EQ(sample.count, 3);
  EXPECT_NEAR(sample.mean, 0.8690333333333333, 1e-15);
  EXPECT_NEAR(sample.deviation, 0.004200396806652102, 1e-15);
  EXPECT_NEAR(sample.mean - half_width(sample), 0.8585989692216132, 1e-12);
  EXPECT_TRUE(std::isinf(half_width(sample_of(std::vector{0.9}))));
  EXPECT_EQ(sample_of({}).count, 0);
}

TEST(Statistics, WithoutImagesADifferenceIsWelchs) {
  const Difference difference = difference_of(sample_of(kA), sample_of(kB), 0.002);
  EXPECT_NEAR(difference.p, 0.007786969411718413, 1e-12);
  EXPECT_NEAR(difference.freedom, 2.7419401189778316, 1e-12);
  EXPECT_NEAR(difference.mean - difference.half_width(), -0.027504920440396527, 1e-12);
  EXPECT_NEAR(difference.mean + difference.half_width(), -0.009778412892936806, 1e-12);
  EXPECT_EQ(difference.image_variance, 0.0);
}

TEST(Statistics, TheTwoOneSidedTestsAreScipys) {
  const Sample c = sample_of(std::vector{.9012, .9020, .9031, .9008}), d = sample_of(std::vector{.9015, .9019, .9025});
  EXPECT_NEAR(difference_of(c, d, 0.002).p_equivalent, 0.01531004961004131, 1e-12);
  EXPECT_NEAR(difference_of(d, c, 0.002).p_equivalent, 0.01531004961004131, 1e-12);
  EXPECT_NEAR(difference_of(c, d, 0.001).p_equivalent, 0.11533117967679182, 1e-12);
}

TEST(Statistics, RunsThatAllAgreeLeaveNoDoubt) {
  const Sample same{.count = 3, .mean = 0.9}, more{.count = 3, .mean = 0.91};
  EXPECT_EQ(difference_of(same, same, 0.002).p, 1.0);
  EXPECT_EQ(difference_of(same, same, 0.002).p_equivalent, 0.0);
  EXPECT_EQ(difference_of(more, same, 0.002).p, 0.0);
  EXPECT_EQ(difference_of(more, same, 0.002).p_equivalent, 1.0);
}

TEST(Statistics, TheImagesPartOfCertainAnswersIsMcNemars) {
  // Every seed of an arm says the same: of 1,000 images 30 are right in a only, 10 in b only.
  ImageShares a{.seeds = 3, .right = std::vector(1000, 1.0)}, b = a;
  for (std::size_t i = 0; i < 30; ++i) b.right[i] = 0.0;
  for (std::size_t i = 30; i < 40; ++i) a.right[i] = 0.0;
  const Difference difference = difference_of({3, 0.99, 0.0}, {3, 0.97, 0.0}, 0.002, a, b);
  EXPECT_NEAR(difference.image_variance, (0.040 - 0.020 * 0.020) / 999.0, 1e-15);
  EXPECT_NEAR(difference.freedom, 999.0, 1e-9);
}

TEST(Statistics, TossesOfTheSameCoinsAreNotCountedTwice) {
  // Two seeds, of which one is right on every second image: all of the shares' spread is the coins'.
  ImageShares a{.seeds = 2, .right = std::vector(1000, 0.5)}, b{.seeds = 2, .right = std::vector(1000, 1.0)};
  EXPECT_EQ(difference_of({2, 0.5, 0.01}, {2, 1.0, 0.0}, 0.002, a, b).image_variance, 0.0);
}

TEST(Statistics, ADifferenceNeedsTwoSeedsAndTheSameImages) {
  const Sample two{.count = 2, .mean = 0.9}, one{.count = 1, .mean = 0.9};
  EXPECT_TRUE(contains(message_of([&] { difference_of(one, two, 0.002); }), "at least two seeds"));
  const ImageShares some{2, {1.0, 0.0}}, others{2, {1.0, 0.0, 1.0}};
  EXPECT_TRUE(contains(message_of([&] { difference_of(two, two, 0.002, some, others); }), "got 2 and 3"));
}

TEST(Statistics, HolmsCorrectionIsTheTextbooks) {
  const std::vector<double> corrected = holm(std::vector{0.01, 0.04, 0.03, 0.005});  // Wikipedia's example
  const std::vector<double> expected = {0.03, 0.06, 0.06, 0.02};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(corrected[i], expected[i], 1e-15) << i;
  EXPECT_EQ(holm(std::vector{0.7, 0.8}), (std::vector{1.0, 1.0}));
  EXPECT_TRUE(holm({}).empty());
}

TEST(Statistics, VerdictsInWords) {
  EXPECT_EQ(verdict(0.004, 0.01, 0.9), "better");
  EXPECT_EQ(verdict(-0.004, 0.01, 0.9), "worse");
  EXPECT_EQ(verdict(0.0001, 0.6, 0.02), "a tie");
  EXPECT_EQ(verdict(0.0005, 0.01, 0.001), "a tie");  // surely not nothing, and surely next to nothing
  EXPECT_EQ(verdict(0.002, 0.2, 0.4), "not settled");
}

/// Arms as they are: images from plain to hopeless, which arms see differently, seeds that are lucky as a whole, and a
/// toss for every image. 88% are right; what seeds differ by is printed.
struct World {
  int images = 10'000;
  double arms_differ = 0.5;  // in logits, an image: what makes the images' part
  double gap = 0.0;          // between the arms' mean accuracies over all images there could be, a share of 1
};

class Experiment {
 public:
  Experiment(const World& world, std::mt19937_64& draws) : draws_(draws) {
    std::normal_distribution<double> normal;
    double slope = 0.0;
    for (int i = 0; i < world.images; ++i) {
      const double plain = 4.0 + 3.0 * normal(draws);
      for (auto& chances : chances_) {
        chances.push_back(1.0 / (1.0 + std::exp(-plain - world.arms_differ * normal(draws))));
        slope += chances.back() * (1.0 - chances.back()) / (2.0 * world.images);
      }
    }
    shift_ = world.gap / slope;
  }

  Difference run(int seeds, bool with_images) {
    ImageShares shares[2];
    Sample samples[2];
    for (int arm = 0; arm < 2; ++arm) {
      shares[arm] = {.seeds = seeds, .right = std::vector(chances_[arm].size(), 0.0)};
      std::vector<double> accuracies;
      for (int seed = 0; seed < seeds; ++seed) accuracies.push_back(train(arm, shares[arm]));
      samples[arm] = sample_of(accuracies);
    }
    return with_images ? difference_of(samples[0], samples[1], 0.002, shares[0], shares[1])
                       : difference_of(samples[0], samples[1], 0.002);
  }

 private:
  double train(int arm, ImageShares& shares) {
    const double luck = 0.02 * std::normal_distribution<double>()(draws_) + (arm == 0 ? shift_ : 0.0);
    double right = 0.0;
    for (std::size_t i = 0; i < shares.right.size(); ++i) {
      const double chance = chances_[arm][i] + luck * chances_[arm][i] * (1.0 - chances_[arm][i]);
      const bool hit = std::ldexp(static_cast<double>(draws_() >> 11), -53) < chance;
      shares.right[i] += hit ? 1.0 / shares.seeds : 0.0;
      right += hit ? 1.0 : 0.0;
    }
    return right / static_cast<double>(shares.right.size());
  }

  std::mt19937_64& draws_;
  std::vector<double> chances_[2];
  double shift_ = 0.0;  // in logits, of the first arm
};

struct Alarms {
  double rate = 0.0;       // of p < .05
  double bias = 0.0;       // mean of the variance that is claimed, over the variance that there is
  double width = 0.0;      // mean half width of the 95% interval
  double deviation = 0.0;  // of an arm's accuracy over seeds
};

Alarms simulate(const World& world, int seeds, int times, bool with_images = true) {
  std::mt19937_64 draws(7);
  Alarms alarms;
  std::vector<double> means;
  double claimed = 0.0, by_seeds = 0.0;
  for (int i = 0; i < times; ++i) {
    const Difference difference = Experiment(world, draws).run(seeds, with_images);
    alarms.rate += difference.p < 0.05 ? 1.0 / times : 0.0;
    alarms.width += difference.half_width() / times;
    claimed += (difference.seed_variance + difference.image_variance) / times;
    by_seeds += difference.seed_variance / times;
    means.push_back(difference.mean);
  }
  alarms.deviation = std::sqrt(by_seeds * seeds / 2.0);
  const double deviation = sample_of(means).deviation;
  alarms.bias = claimed / (deviation * deviation);
  return alarms;
}

TEST(Simulation, FalseAlarmsAreFivePerCentAndPowerIsWhatItIs) {
  std::printf("seeds  false alarms  variance claimed/true  deviation  half width  power at .3 points\n");
  for (const int seeds : {3, 5, 10}) {
    const Alarms none = simulate({.images = 1000}, seeds, 2000);
    const Alarms some = simulate({.gap = 0.003}, seeds, 300);
    std::printf("%5d  %11.1f%%  %21.2f  %9.2f  %10.2f  %17.0f%%\n", seeds, 100.0 * none.rate, none.bias,
                100.0 * some.deviation, 100.0 * some.width, 100.0 * some.rate);
    EXPECT_NEAR(none.rate, 0.05, 0.02) << seeds;
    EXPECT_NEAR(none.bias, 1.0, 0.15) << seeds;
  }
}

TEST(Simulation, WhereArmsSeeImagesDifferentlyTheImagesPartIsNeeded) {
  const World world{.images = 1000, .arms_differ = 2.0};
  EXPECT_NEAR(simulate(world, 10, 2000).rate, 0.05, 0.02);
  EXPECT_GT(simulate(world, 10, 500, /*with_images=*/false).rate, 0.15);
}

}  // namespace
}  // namespace stagewise
