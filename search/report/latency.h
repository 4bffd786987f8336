// How long a network takes to answer, here and now.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "layers/network.h"
#include "search/run/energy.h"

namespace stagewise {

struct Latency {
  std::int64_t batch = 0;                   // images at a time
  std::int64_t repetitions = 0;             // that were timed
  double median = 0.0, percentile95 = 0.0;  // milliseconds from images on the device to logits on the host
  std::optional<double> joules_an_image;    // where the machine tells
  double images_per_second() const { return 1e3 * static_cast<double>(batch) / median; }
};

/// Times the network that only answers (layers/inference.h) on images of noise, after three answers that aren't timed,
/// for `seconds`, but at least 5 and at most 1000 times.
Latency measure_latency(const Network& network, std::int64_t batch, DType feature_maps, double seconds,
                        EnergyMeter& energy);

}  // namespace stagewise
