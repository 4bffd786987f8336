// A network and what trains it.
#pragma once

#include <memory>
#include <optional>

#include "layers/sgd.h"
#include "layers/weight_average.h"

namespace stagewise {

struct Learner {
  std::unique_ptr<ResNet> network;
  Sgd optimiser = Sgd();
  std::optional<WeightAverage> average = {};  // of the weights, where one is kept
};

}  // namespace stagewise
