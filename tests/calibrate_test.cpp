// Hours into work: the arithmetic, on speeds that are made up.
#include "search/calibrate.h"

#include <gtest/gtest.h>

#include "tensor/error.h"

namespace stagewise {
namespace {

// A step that takes 2 ms and as much again for each 10 million multiply-accumulates an image.
constexpr double seconds_in_theory(double macs) { return 0.002 + 2e-10 * macs; }
constexpr MeasuredSpeed speed(double macs) { return {.macs = macs, .seconds_an_image = seconds_in_theory(macs)}; }

TEST(Calibrate, SecondsAnImageLieOnTheLineThroughTheMeasurements) {
  const MeasuredSpeed small = speed(12e6), large = speed(60e6);
  for (const double macs : {6e6, 12e6, 30e6, 60e6, 90e6}) {
    EXPECT_NEAR(seconds_an_image(small, large, macs), seconds_in_theory(macs), 1e-12) << macs;
  }
}

TEST(Calibrate, WhereTheMeasurementsMakeNoLineSecondsAreInProportion) {
  const MeasuredSpeed small{.macs = 10.0, .seconds_an_image = 2.0};
  EXPECT_DOUBLE_EQ(seconds_an_image(small, small, 20.0), 4.0);
  const MeasuredSpeed large_but_faster{.macs = 30.0, .seconds_an_image = 1.0};
  EXPECT_DOUBLE_EQ(seconds_an_image(small, large_but_faster, 40.0), 3.0);
  // A line that would fall below zero for the network asked about.
  const MeasuredSpeed steep{.macs = 11.0, .seconds_an_image = 4.0};
  EXPECT_GT(seconds_an_image(small, steep, 5.0), 0.0);
}

TEST(Calibrate, SecondsAreTheSumOverTheStretches) {
  const MeasuredSpeed small = speed(10e6), large = speed(40e6);
  const std::vector<WorkStretch> stretches = {{.share = 0.25, .macs = 10e6}, {.share = 0.75, .macs = 40e6}};
  const double images_small = 0.25 * 8e12 / 10e6, images_large = 0.75 * 8e12 / 40e6;
  EXPECT_NEAR(seconds_of_work(8e12, stretches, small, large),
              images_small * seconds_in_theory(10e6) + images_large * seconds_in_theory(40e6), 1e-6);
}

TEST(Calibrate, WorkTakesTheSecondsAskedForWhateverThePlanDoesWithMore) {
  const MeasuredSpeed small = speed(10e6), large = speed(40e6);
  // The more work there is, the deeper the network that most of it goes into, in steps.
  const auto plan = [](double work) -> std::vector<WorkStretch> {
    if (work < 1e12) return {{.share = 1.0, .macs = 10e6}};
    return {{.share = 0.1, .macs = 10e6}, {.share = 0.9, .macs = work < 1e13 ? 40e6 : 80e6}};
  };
  for (const double seconds : {60.0, 600.0, 7200.0, 1e6}) {
    const auto work = static_cast<double>(work_for(seconds, plan, small, large));
    // Three digits are kept, and a plan's step may jump over the seconds by the two speeds' quotient.
    EXPECT_NEAR(seconds_of_work(work, plan(work), small, large), seconds, 0.006 * seconds) << seconds;
  }
}

TEST(Calibrate, WorkHasThreeDigits) {
  const MeasuredSpeed one{.macs = 3e6, .seconds_an_image = 0.0007};
  const auto plan = [](double) -> std::vector<WorkStretch> { return {{.share = 1.0, .macs = 3e6}}; };
  EXPECT_EQ(work_for(1000.0, plan, one, one), 4'290'000'000'000);  // of 4.2857e12
  EXPECT_THROW(work_for(0.0, plan, one, one), Error);
}

}  // namespace
}  // namespace stagewise
