// A run: trains a network stretch by stretch, and asks its strategy (search/strategies/) between two of them what comes
// next: blocks to insert, to judge, to take out, a network of its own, or the end.
//
// It is a state machine, and after each of its steps everything that is needed to go on is in
// RUN/checkpoint.safetensors. A step is a decision, or training up to the end of a stretch or of a pass over the
// images; one that takes long is saved in between, between two batches. A plain training is a run of one stretch.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "search/checkpoint.h"
#include "search/events.h"
#include "search/forecast.h"
#include "search/plan.h"
#include "search/run/directory.h"
#include "search/run/energy.h"
#include "search/run/journal.h"
#include "search/run/progress.h"
#include "search/training/run_data.h"

namespace stagewise {

class SearchRun;

/// Decides what a run does. It keeps nothing itself: what it must remember is in SearchState::strategy_memory.
class Strategy {
 public:
  virtual ~Strategy() = default;
  /// Called at the beginning, and whenever a stretch is done: does what comes between, and then either sets the next
  /// stretch (SearchRun::stretch_to) or stops the run.
  virtual void next(SearchRun& run) = 0;
  /// What it is going to do, for people; may have several lines.
  virtual std::string plan() const = 0;
};

struct SearchOptions {
  std::vector<std::int64_t> start = {1, 1, 1};
  Variant variant = Variant::standard;
  NetworkStyle style;
  std::string from;  // a finished network of that shape whose weights a training begins with; empty: they are drawn
  bool transfer = false;               // ... for other classes, or images of another size: its classifier is drawn anew
  std::string strategy = "stagewise";  // train, stagewise, jump, paper or evolution
  TrainingOptions training;
  /// In multiply-accumulates (search/work.h); 0: what training.epochs passes over the images take.
  std::int64_t work = 0;
  GrowthLimits limits;
  std::vector<std::int64_t> grow_to;  // in place of the plan's depths; empty: the plan's
  std::string criterion = "ablation";
  std::optional<double> margin;       // that a score must lie above; nothing: the criterion's own
  double skip = 0.15;                 // probability with which a stage's blocks on trial are skipped
  std::int64_t shortest_trial = 500;  // steps; after fewer, no block is taken out on what was measured
  BlockInitialiser initialiser = BlockInitialiser::zero_gamma;
  /// What the weights are shrunk to when blocks come (layers/shrink_and_perturb.h); negative: see settled().
  double shrink = -1.0;
  bool join_held_out = true;              // the held-out images are trained on once everything is decided
  std::int64_t iterations = 3, step = 1;  // of the paper's strategy: how often the network may grow, and by how much
  std::int64_t models = 8;                // that evolution trains
  double average_decay = 0.0;  // of the weights' average that is evaluated and kept; 0: the weights themselves
  double save_minutes = 5.0;   // a checkpoint at least this often
  double rate_factor = 1.0;    // of the learning rate from here on
  bool any_device = false;     // go on by another arithmetic than the run began with
  std::int64_t twin = 0;       // the last bit of this weight of the stem is turned, from 1; 0: none
  std::uint64_t seed = 0;
};

/// The run's network at these depths: for the data's images, and of the kind that `options` ask for.
inline Architecture architecture_of(const SearchOptions& options, const RunData& data,
                                    const std::vector<std::int64_t>& depths) {
  return data.architecture(depths, options.variant, options.style);
}

class SearchRun {
 public:
  /// Begins in `directory`, or goes on from the checkpoint in it; `saved` is that checkpoint where it has been read
  /// already. Everything referred to must outlive the run. Errors: throws Error for options that can't be met: whatever
  /// can be found out beforehand is.
  SearchRun(Backend& backend, const RunData& data, const SearchOptions& options, const RunDirectory& directory,
            Progress& progress, std::optional<CheckpointFile> saved = {});
  ~SearchRun();

  /// Trains on, decides, or, at last, writes the results. False, and nothing done, when the run is finished.
  /// Errors: throws Interrupted between two batches; everything up to there is saved.
  bool step();

  const SearchState& state() const { return state_; }
  const Network& network() const { return *learner_.network; }
  const SearchOptions& options() const { return options_; }
  std::int64_t total_work() const { return total_work_; }

  // What strategies do with a run.
  SearchState& state() { return state_; }
  Learner& learner() { return learner_; }
  const RunData& data() const { return data_; }
  /// Trains until this much work is spent, then asks the strategy again.
  void stretch_to(std::int64_t work) { state_.stretch_end = work; }
  /// A network drawn anew takes the place of the one there is, with a whole schedule over the work up to `work`.
  void start_network(const Architecture& architecture, std::int64_t work);
  /// Velocities and averages begin anew: the weights that they belong to are no more.
  void renew_optimiser();
  /// From here on the held-out images are trained on.
  void join_held_out();
  /// Estimates the running statistics and judges the network on the held-out images, if there are any.
  void validate();
  /// How many images validate() looks at.
  std::int64_t images_to_validate() const;
  /// Keeps the network, if it is the best whole one so far by its validation.
  void keep_if_best();
  /// Does `look` with the averaged weights in the network's place, where there are averages.
  void with_averages(const std::function<void()>& look);
  /// The images that running statistics are estimated on.
  const std::vector<std::int32_t>& statistics_images() const { return statistics_images_; }
  /// Counts work that is no training.
  void count_looking(std::int64_t work);
  /// Into the journal, and to whoever watches.
  void log(Event event);
  /// Shows how far a pass of `what` has come, and lets Ctrl-C end it.
  PassCallback watch(const std::string& what);
  /// Nothing more is trained.
  void stop(const std::string& reason);

 private:
  void begin();
  void take_weights();
  void check_same(const SearchState& state) const;
  void change_rate();
  /// What is left of the pass that the training is in, is left out.
  void begin_pass();
  void train_on();
  void end_pass(const PassResult& result, const std::string& what, double images_per_second);
  void check_end() const;
  void conclude();
  std::optional<PassResult> test();
  void settle_best();
  double rate() const;
  std::string label() const;
  std::string time_left() const;
  const std::vector<std::int32_t>& training_images() const;
  /// Adds what time and energy went by since it was called last.
  void count_time();
  void save();

  Backend& backend_;
  const RunData& data_;
  const SearchOptions options_;
  const RunDirectory& directory_;
  Progress& progress_;
  std::int64_t total_work_ = 0;
  std::vector<std::int32_t> statistics_images_, all_images_;
  std::unique_ptr<Strategy> strategy_;
  SearchState state_;
  Learner learner_;
  std::unique_ptr<Network> best_;
  std::unique_ptr<Journal> journal_;
  Forecast forecast_;
  EnergyMeter energy_;
  using Clock = std::chrono::steady_clock;
  Clock::time_point clock_ = Clock::now(), last_save_ = Clock::now();
};

/// The strategies by name. Errors: throws Error for an unknown one, and for options that it can't meet.
std::unique_ptr<Strategy> make_strategy(const SearchOptions& options, const RunData& data, std::int64_t total_work);

/// `options` with what is left open filled in by what was found to serve best (bench/SEARCH.md): a batch size of
/// 0 by the number of images, a learning rate of 0 by the batch size, a negative weight decay by the passes over the
/// images that the work pays for, a negative shrink by where the weights came from.
SearchOptions settled(SearchOptions options, const RunData& data);

/// Whether anything is measured on held-out images.
bool needs_held_out(const SearchOptions& options, const RunData& data);

/// A share of a run's work, and the network that it is planned to go into.
struct PlannedStretch {
  double share = 0.0;
  Architecture architecture;
};

/// How the strategy means to spend `work`, if all blocks stay that it inserts. Strategies that train many networks are
/// taken for the middle of what they may train.
std::vector<PlannedStretch> planned_stretches(const SearchOptions& options, const RunData& data, std::int64_t work);

/// The work that `options` ask for on these images. Errors: throws Error when there is not enough for a step.
std::int64_t work_of(const SearchOptions& options, const RunData& data);

}  // namespace stagewise
