// How long the rest of a search takes: its work is counted beforehand, at the speed of the work done so far.
#pragma once

#include <cstdint>
#include <string>

#include "layers/resnet.h"
#include "search/search_state.h"

namespace stagewise {

/// What the work of a search depends on, beside its networks.
struct WorkPlan {
  std::int64_t epochs = 1;        // of each training
  std::int64_t iterations = 0;    // in which the network may grow
  std::int64_t step = 1;          // blocks that a stage grows by
  std::int64_t train_images = 0;  // that an epoch trains on
  std::int64_t validation_images = 0;
  bool scores = false;  // each model is scored by a pass over the training images
};

/// In multiply-accumulates of an evaluation.
struct Work {
  double amount = 0.0;
  bool at_most = false;  // the search may end sooner
};

/// Of `images` images; one that is trained on costs about three times one that is evaluated.
double evaluation_work(const Architecture& architecture, std::int64_t images);
double training_work(const Architecture& architecture, std::int64_t images);

/// What is left from where `state` stands, `architecture` being in training: as if every stage grew each time and no
/// budget ended the search. `validating`: of the epoch after `state`'s last one only the validation is left.
Work remaining_work(const WorkPlan& plan, const SearchState& state, const Architecture& architecture,
                    bool validating = false);

class Forecast {
 public:
  void add(double work, double seconds) {
    work_ += work;
    seconds_ += seconds;
  }
  /// `at most 4 min 10 s left`; empty while nothing is done yet or when nothing is left.
  std::string left(const Work& work) const;

 private:
  double work_ = 0.0, seconds_ = 0.0;
};

}  // namespace stagewise
