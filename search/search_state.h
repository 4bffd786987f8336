// Where a run stands: all that must be kept, beside the networks, to go on as if nothing had happened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/fingerprint.h"
#include "search/training/trainer.h"

namespace stagewise {

///  train     training a stretch, or between two
///  searched  nothing is left to train: the model is written, and the test set comes next
///  finished  the results are written
enum class Phase { train, searched, finished };

/// What one schedule of the learning rate spans, in work.
struct ScheduleSpan {
  std::int64_t begin = 0, end = 0;
};

struct SearchState {
  Phase phase = Phase::train;
  std::int64_t work = 0;         // spent so far, in multiply-accumulates (search/work.h), looking included
  std::int64_t looking = 0;      // of it on evaluations, scores and running statistics
  std::int64_t stretch_end = 0;  // the work at which the strategy is asked what comes next
  ScheduleSpan schedule;
  PassPosition position;
  std::int64_t steps = 0;        // batches trained on: numbers the draws of which blocks are skipped
  std::int64_t images_seen = 0;  // by all trainings, counted each time
  std::int64_t passes = 0;       // over the images, whole ones
  bool held_out_joined = false;  // the held-out images are trained on from here on
  std::int64_t round = 0;        // of growing; 0: the network that the run started from
  std::int64_t models = 0;       // networks drawn so far
  std::uint64_t network_seed = 0;
  std::vector<std::vector<std::int64_t>> on_trial;  // the numbers of the blocks on trial, stage by stage; none: empty
  std::int64_t trial_began = 0;                     // `steps` when they were inserted
  std::vector<double> scores;                       // of the network's stages, when they were last scored
  double train_accuracy = 0.0, validation_accuracy = 0.0, validation_loss = 0.0;
  bool validated = false;
  bool kept_earlier = false;      // the best network by validation was not the last one, and is what is left
  double best_validation = -1.0;  // of a whole network before this one, which is kept; less than 0: none is
  double rate_factor = 1.0;       // of the learning rate, changed by a resume
  DataFingerprint data;           // what the run is trained on
  std::string arithmetic;         // the device and instruction set that compute it
  double seconds = 0.0;           // over all processes that worked on the run
  double joules = 0.0;          // that the machine says to have taken (search/run/energy.h), in joules_seconds of them
  double joules_seconds = 0.0;  // 0: it doesn't tell
  std::string strategy_memory;  // what the strategy keeps, JSON
  std::string stop_reason;
  std::int64_t journal_bytes = 0;

  std::string to_json() const;
  /// Errors: throws Error when something is missing, or a count is below 0.
  static SearchState from_json(const std::string& text);
};

}  // namespace stagewise
