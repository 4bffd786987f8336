// How sure a finished network may be: its temperature, fitted on images that it never trained on.
#pragma once

#include <string>
#include <vector>

#include "search/commands/options.h"
#include "search/run/progress.h"
#include "search/training/model_file.h"
#include "search/training/temperature.h"

namespace stagewise {

/// The names of the network's classes, by label: `class 3` where the model has none.
std::vector<std::string> class_names(const Model& model);

/// The temperature (search/training/temperature.h) of `model`, which was read from `path`: with `on` of `held-out`,
/// fitted on the images that the run in that folder held out to its end, else on the test images of the data `on`.
/// Says what it found. Errors: throws Error where there are no such images, or the network was trained on them.
double calibrated_temperature(const Model& model, const InferenceNetwork& inference, const std::string& path,
                              const std::string& on, const Settings& settings, Progress& progress);

}  // namespace stagewise
