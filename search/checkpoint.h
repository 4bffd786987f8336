// checkpoint.safetensors: everything that a run needs to go on, in one file that is replaced as a whole. That is what
// makes it safe to kill a run at any moment.
#pragma once

#include <string>
#include <string_view>

#include "search/search_state.h"
#include "search/training/learner.h"
#include "tensor/safetensors.h"

namespace stagewise {

/// Writes the state, the learner and, where there is one, the best network so far.
void save_checkpoint(const std::string& path, const SearchState& state, const Learner& learner, const Network* best);

/// A checkpoint as it was read: it says where the run stands before there is a device for its networks.
struct CheckpointFile {
  std::string path;
  SearchState state;
  Safetensors contents;
};

struct Checkpoint {
  SearchState state;
  Learner learner;
  std::unique_ptr<Network> best;  // or none
};

/// Errors: all throw Error, naming the file, when it can't be read, something is missing, or a weight is no number.
CheckpointFile read_checkpoint(const std::string& path);
CheckpointFile parse_checkpoint(std::string_view contents, const std::string& path);
Checkpoint load_checkpoint(const CheckpointFile& file, Backend& backend, const OptimiserOptions& optimiser);

}  // namespace stagewise
