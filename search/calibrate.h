// Hours into work, once, before a run begins: what comes out stands in config.toml, so that the run repeats and resumes
// without looking at a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "search/search_run.h"

namespace stagewise {

/// A share of a run's work, and the multiply-accumulates that an image takes while it is spent.
struct WorkStretch {
  double share = 0.0, macs = 0.0;
};

/// How fast a network was seen to train.
struct MeasuredSpeed {
  double macs = 0.0;              // for one image
  double seconds_an_image = 0.0;  // of training
};

/// Seconds of training an image in a network of `macs`, from a small network's and a large one's: on the line through
/// the two, since a part of a step doesn't depend on the depth; in proportion to the MACs where the two are the same,
/// or where noise has made the larger one the faster.
double seconds_an_image(const MeasuredSpeed& small, const MeasuredSpeed& large, double macs);

/// Seconds that `work` takes, spent as `stretches` say.
double seconds_of_work(double work, const std::vector<WorkStretch>& stretches, const MeasuredSpeed& small,
                       const MeasuredSpeed& large);

/// The work that takes `seconds`, to three digits; `plan` says how some work would be spent. Errors: throws Error when
/// `seconds` isn't above 0.
std::int64_t work_for(double seconds, const std::function<std::vector<WorkStretch>(double work)>& plan,
                      const MeasuredSpeed& small, const MeasuredSpeed& large);

struct Calibration {
  std::int64_t work = 0;
  std::string text;  // for people: what was measured, and what came out
};

/// Trains the start network, and then the largest that `options` plan to train in about `hours`, for a second or two
/// each, and reckons the work that a run of `hours` can do. Errors: throws Interrupted after Ctrl-C, and Error for
/// options that can't be met.
Calibration calibrate(Backend& backend, const RunData& data, const SearchOptions& options, double hours);

}  // namespace stagewise
