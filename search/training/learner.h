// A network and what trains it.
#pragma once

#include <memory>
#include <optional>

#include "layers/optimiser.h"
#include "layers/weight_average.h"

namespace stagewise {

struct Learner {
  std::unique_ptr<Network> network;
  std::unique_ptr<Optimiser> optimiser = make_optimiser();
  std::optional<WeightAverage> average = {};  // of the weights, where one is kept
};

}  // namespace stagewise
