// Which training images steer decisions instead of being trained on.
#pragma once

#include <cstdint>
#include <vector>

namespace stagewise {

struct Split {
  std::vector<std::int32_t> train, validation;  // indices into the training images, ascending
};

/// Holds out `fraction` of each class, rounded to nearest (at least one image of a class with two or more, never all of
/// it), drawn from `seed`. Errors: throws Error for a fraction outside [0, 0.5], or when nothing would be left to train
/// on.
Split stratified_split(const std::vector<std::int32_t>& labels, std::int64_t classes, double fraction,
                       std::uint64_t seed);

}  // namespace stagewise
