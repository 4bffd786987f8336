#include "search/calibrate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "layers/cost.h"
#include "search/run/interrupt.h"
#include "search/run/text.h"
#include "search/work.h"

namespace stagewise {

namespace {

constexpr std::int64_t kWarmUpSteps = 2;
constexpr double kMeasuredSeconds = 1.5;
// No plan trains at a speed that is further from the start network's than this.
constexpr double kWidestGuess = 16.0;

double macs_of(const Architecture& architecture) { return static_cast<double>(cost_of(architecture).total().macs); }

double three_digits(double number) {
  const double unit = std::pow(10.0, std::floor(std::log10(number)) - 2.0);
  return std::round(number / unit) * unit;
}

/// Trains a network of its own as the run would, but for a learning rate of 0.
MeasuredSpeed measured_speed(Backend& backend, const RunData& data, const SearchOptions& options,
                             const Architecture& architecture) {
  using Clock = std::chrono::steady_clock;
  Learner learner{.network = std::make_unique<Network>(backend, architecture, options.seed),
                  .optimiser = make_optimiser(options.training.optimiser)};
  if (options.average_decay > 0.0) learner.average.emplace(options.average_decay);
  std::int64_t steps = 0, images = 0;
  Clock::time_point began = {};
  double seconds = 0.0;
  const auto choose = [&](std::int64_t next) -> std::optional<StepChoice> {
    stop_if_interrupted();
    if (steps == kWarmUpSteps) {
      backend.synchronise();
      began = Clock::now();
    }
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
    if (steps > kWarmUpSteps && elapsed() >= kMeasuredSeconds) {
      backend.synchronise();  // a device may be behind with what it was asked for
      seconds = elapsed();
      return {};
    }
    if (steps >= kWarmUpSteps) images += next;
    steps += 1;
    return StepChoice{.rate = 0.0};
  };
  PassPosition position;
  PassResult result;
  while (train_pass(learner, data.images, data.train, options.training, position, result, choose)) {
  }
  const std::int64_t work = training_work(architecture, 1, options.training.freeze_trunk);
  return {.macs = static_cast<double>(work), .seconds_an_image = seconds / static_cast<double>(images)};
}

std::string images_a_second(const Architecture& architecture, const MeasuredSpeed& speed) {
  return concat(join(architecture.depths()), " trains ", with_thousands(std::llround(1.0 / speed.seconds_an_image)),
                " images/s");
}

}  // namespace

double seconds_an_image(const MeasuredSpeed& small, const MeasuredSpeed& large, double macs) {
  const double more = large.macs - small.macs, slower = large.seconds_an_image - small.seconds_an_image;
  const double line = small.seconds_an_image + slower * (macs - small.macs) / more;
  if (more > 0.0 && slower > 0.0 && line > 0.0) return line;
  return macs * (small.seconds_an_image + large.seconds_an_image) / (small.macs + large.macs);
}

double seconds_of_work(double work, const std::vector<WorkStretch>& stretches, const MeasuredSpeed& small,
                       const MeasuredSpeed& large) {
  double seconds = 0.0;
  for (const WorkStretch& stretch : stretches) {
    seconds += stretch.share * work / stretch.macs * seconds_an_image(small, large, stretch.macs);
  }
  return seconds;
}

std::int64_t work_for(double seconds, const std::function<std::vector<WorkStretch>(double work)>& plan,
                      const MeasuredSpeed& small, const MeasuredSpeed& large) {
  require(seconds > 0.0, "[--hours] expected more than 0 seconds, got ", seconds);
  // More work takes longer, also where it goes into a deeper network: what fits is found by halving.
  const double guess = seconds * small.macs / small.seconds_an_image;
  double fits = guess / kWidestGuess, too_much = guess * kWidestGuess;
  while (too_much / fits > 1.0001) {
    const double middle = std::sqrt(fits * too_much);
    (seconds_of_work(middle, plan(middle), small, large) <= seconds ? fits : too_much) = middle;
  }
  return std::llround(three_digits(fits));
}

Calibration calibrate(Backend& backend, const RunData& data, const SearchOptions& options, double hours) {
  constexpr double kSecondsAnHour = 3600.0;
  const SearchOptions known = settled(options, data);
  const auto plan = [&](double work) { return planned_stretches(known, data, std::llround(work)); };
  const auto as_macs = [&](double work) {
    std::vector<WorkStretch> stretches;
    for (const PlannedStretch& one : plan(work)) stretches.push_back({one.share, macs_of(one.architecture)});
    return stretches;
  };
  const Architecture start = architecture_of(known, data, known.start);
  const MeasuredSpeed small = measured_speed(backend, data, known, start);
  const double seconds = hours * kSecondsAnHour;
  const std::vector<PlannedStretch> about = plan(seconds * small.macs / small.seconds_an_image);
  const Architecture& largest =
      std::max_element(about.begin(), about.end(), [](const PlannedStretch& a, const PlannedStretch& b) {
        return macs_of(a.architecture) < macs_of(b.architecture);
      })->architecture;
  const bool grows = macs_of(largest) > small.macs;
  const MeasuredSpeed large = grows ? measured_speed(backend, data, known, largest) : small;
  const std::int64_t work = work_for(seconds, as_macs, small, large);
  return {.work = work,
          .text = concat(images_a_second(start, small), grows ? ", " + images_a_second(largest, large) : "", ": ",
                         duration(seconds), " are about ", work_text(static_cast<double>(work)))};
}

}  // namespace stagewise
