// Where a search stands: all that must be kept, beside the networks, to go on as if nothing had happened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagewise {

/// What the search is in the middle of.
///  train     training the network
///  probe     training a copy that is deeper in every stage
///  searched  nothing is left to train: the test set comes next
///  finished  the results are written
enum class Phase { train, probe, searched, finished };

struct SearchState {
  Phase phase = Phase::train;
  std::int64_t iteration = 0;      // 0: the network that the search started from
  std::int64_t epoch = 0;          // epochs trained so far, by all models: it numbers the draws
  std::int64_t first_epoch = 0;    // of the model in training
  std::int64_t models = 0;         // trained to the end and scored so far
  std::int64_t images_seen = 0;    // by all trainings, counted each time
  double seconds = 0.0;            // over all processes that worked on the run
  std::uint64_t network_seed = 0;  // that the network was built from
  std::uint64_t probe_seed = 0;
  std::vector<double> scores;                              // of the network's stages, when it was last scored
  double train_accuracy = 0.0, validation_accuracy = 0.0;  // of the network, after its last epoch
  std::string stop_reason;
  std::int64_t journal_bytes = 0;

  std::string to_json() const;
  /// Errors: throws Error when something is missing.
  static SearchState from_json(const std::string& text);
};

}  // namespace stagewise
