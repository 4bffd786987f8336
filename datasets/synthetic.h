// A data set that needs no files: shapes drawn from the seed.
#pragma once

#include "datasets/dataset.h"

namespace stagewise {

/// 32x32 images of ten kinds of shape at random places, sizes and colours on a noisy ground: no pixel says anything by
/// itself, so a linear model stays near chance while a small convolutional network learns it in minutes. No class
/// changes when it is mirrored. Image i of the training set depends only on (options.seed, i).
/// Errors: throws Error for fewer than 1 training image or fewer than 0 test images.
Dataset synthetic_dataset(const DatasetOptions& options);

}  // namespace stagewise
