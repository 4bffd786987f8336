// The stage-wise search: train a network, score its stages, train a probe that is deeper in every stage, let the stages
// grow whose score rose, train on; until no stage qualifies, the iterations are used up or the budget is.
//
// It is a state machine whose steps are short (an epoch, a decision), and after each of them everything that is needed
// to go on is in RUN/checkpoint.safetensors. A plain training is a search without iterations.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "search/checkpoint.h"
#include "search/criteria/criterion.h"
#include "search/forecast.h"
#include "search/growth.h"
#include "search/run/directory.h"
#include "search/run/journal.h"
#include "search/run/progress.h"
#include "search/training/run_data.h"
#include "search/training/trainer.h"

namespace stagewise {

/// What a grown network starts from.
///  identity  itself: blocks are inserted into the live network (for the probe, into a copy of it)
///  none      nothing: every network is drawn anew and trained from scratch, as in the paper
enum class Inherit { identity, none };

std::string name_of(Inherit inherit);
/// `identity` or `none`. Errors: throws Error for any other name.
Inherit inherit_from(const std::string& name);

struct SearchOptions {
  std::vector<std::int64_t> start = {2, 2, 2};
  Variant variant = Variant::standard;
  TrainingOptions training;
  std::int64_t iterations = 3;  // 0: train the start network, and that is all
  GrowthRules growth;
  std::string criterion = "vip";
  Inherit inherit = Inherit::identity;
  BlockInitialiser initialiser = BlockInitialiser::zero_gamma;
  std::uint64_t seed = 0;
};

class StagewiseSearch {
 public:
  /// Begins in `run`, or goes on from the checkpoint in it; `saved` is that checkpoint where it has been read already.
  /// Everything referred to must outlive the search.
  StagewiseSearch(Backend& backend, const RunData& data, const SearchOptions& options, const RunDirectory& run,
                  Progress& progress, std::optional<CheckpointFile> saved = {});

  /// The next epoch, decision, or, at last, the results. False, and nothing done, when the run is finished.
  /// Errors: throws Interrupted between two batches; what the last step saved stays.
  bool step();

  const SearchState& state() const { return state_; }
  const ResNet& network() const { return *main_.network; }

 private:
  void begin();
  void train_one_epoch();
  void end_training();
  void begin_probe();
  void decide(const std::vector<double>& probe_scores);
  void grow(const std::vector<std::size_t>& stages);
  void stop(const std::string& reason);
  void conclude();

  Learner& active() { return state_.phase == Phase::probe ? probe_ : main_; }
  Learner fresh(const Architecture& architecture, std::uint64_t seed) const;
  std::uint64_t next_network_seed() const;
  std::vector<double> score(const ResNet& network);
  /// Of the model in training.
  std::int64_t epochs_done() const { return state_.epoch - state_.first_epoch; }
  std::string label() const;
  Work remaining(bool validating = false) const;
  PassCallback callback(const std::string& what, const Work& remaining, double work_an_image);
  void record(nlohmann::ordered_json event);
  void save();

  Backend& backend_;
  const RunData& data_;
  const SearchOptions options_;
  const RunDirectory& run_;
  Progress& progress_;
  std::unique_ptr<Criterion> criterion_;
  SearchState state_;
  Learner main_, probe_;
  std::unique_ptr<Journal> journal_;
  Forecast forecast_;
  std::chrono::steady_clock::time_point clock_ = std::chrono::steady_clock::now();
};

}  // namespace stagewise
