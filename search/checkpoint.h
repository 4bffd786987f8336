// checkpoint.safetensors: everything that a run needs to go on, in one file that is replaced as a whole. That is what
// makes it safe to kill a run at any moment.
#pragma once

#include <memory>
#include <string>

#include "layers/sgd.h"
#include "search/search_state.h"

namespace stagewise {

/// A network in training.
struct Learner {
  std::unique_ptr<ResNet> network;
  Sgd optimiser = Sgd();
  /// A learner of its own, momentum included.
  Learner clone() const { return {.network = network->clone(), .optimiser = optimiser.clone()}; }
};

/// Writes the state, the network and, where there is one (`probe.network` not null), the probe.
void save_checkpoint(const std::string& path, const SearchState& state, const Learner& main, const Learner& probe);

struct Checkpoint {
  SearchState state;
  Learner main, probe;
};

/// Errors: throws Error, naming the file, when it can't be read or something is missing.
Checkpoint load_checkpoint(const std::string& path, Backend& backend, const SgdOptions& sgd);
/// The state alone.
SearchState load_state(const std::string& path);

}  // namespace stagewise
