// A network and the optimiser that trains it.
#pragma once

#include <memory>

#include "layers/sgd.h"

namespace stagewise {

/// A network in training.
struct Learner {
  std::unique_ptr<ResNet> network;
  Sgd optimiser = Sgd();
  /// A learner of its own, momentum included.
  Learner clone() const { return {.network = network->clone(), .optimiser = optimiser.clone()}; }
};

}  // namespace stagewise
