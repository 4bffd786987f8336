// How good a network's answers are, from its predictions of labelled images: by class, and whether it knows when it is
// wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "search/training/predictions.h"

namespace stagewise {

struct Share {
  std::int64_t count = 0, of = 0;
  double lower = 0.0, upper = 1.0;  // 95%: Wilson's (1927) score interval, which holds for few images, too

  double value() const { return of > 0 ? static_cast<double>(count) / static_cast<double>(of) : 0.0; }
};
Share share_of(std::int64_t count, std::int64_t of);

/// The mistakes of one kind: images of class `label` taken for `predicted`.
struct Confusion {
  std::int32_t label = 0, predicted = 0;
  std::int64_t images = 0;
};

/// Images whose confidence lies in [from, to): what the network said of them, and how often that was right.
struct ConfidenceBin {
  double from = 0.0, to = 0.0;
  double confidence = 0.0;  // the mean over the images
  Share right;
};

struct Reliability {
  std::vector<ConfidenceBin> bins;  // of equal width
  double mean_confidence = 0.0;
  /// The expected calibration error (Guo et al. 2017, equation 3): the mean over the images of |accuracy - confidence|
  /// of their bin.
  double expected_error = 0.0;
};

/// A class each, in their order: how many of its images were named right. `classes` is their number.
std::vector<Share> share_by_class(const Predictions& predictions, std::int64_t classes);

/// All answers that were given, the most frequent first, right ones left out.
std::vector<Confusion> confusions(const Predictions& predictions);

/// Errors: throws Error where the predictions have no confidences.
Reliability reliability_of(const Predictions& predictions, int bins = 15);

/// The wrong answers of which the network was surest, as places in `predictions`; the surest first, at most `count`.
/// Errors: as reliability_of().
std::vector<std::size_t> surest_mistakes(const Predictions& predictions, std::size_t count);

}  // namespace stagewise
