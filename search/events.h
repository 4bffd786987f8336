// What happens in a run, as it is written down: for each event the line of journal.jsonl, and what a person reads of it.
// Every line has `event`, its name, and `seconds`, the run's time so far. docs/search.md lists them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "search/decision.h"
#include "search/growth.h"
#include "search/search_state.h"
#include "search/training/run_data.h"

namespace stagewise {

struct SearchOptions;

struct Event {
  nlohmann::ordered_json line;
  std::string text;  // may have several lines; empty: nothing to read
};

/// `plan` is the strategy's text, `config` that of config.toml.
Event start_event(const SearchOptions& options, const RunData& data, const std::string& device, std::int64_t work,
                  const std::string& plan, const std::string& config);
Event rate_changed_event(double factor, double before);
Event held_out_join_event(std::int64_t images);
Event stop_event(const std::string& reason, std::int64_t work);
Event test_opened_event(std::int64_t images);

/// A pass over the images that ended.
struct EndedPass {
  std::string label;  // `epoch 3  2,2,2  12% of the work`
  Architecture network;
  PassResult result;
  double rate = 0.0;               // of its last step
  double images_per_second = 0.0;  // of what was trained without a break before its end
  bool validated = false;          // the state's figures belong to it
  std::string left;                // `4 min 10 s left`
};
Event epoch_event(const EndedPass& pass, const SearchState& state);

/// New blocks: `numbers` of each stage. Drawn as new where they go on trial.
Event insertion_event(const Architecture& network, const SearchState& state,
                      const std::vector<std::vector<std::int64_t>>& numbers, double shrink);

/// What became of the blocks on trial, `counts` a stage.
Event trial_decision_event(const Architecture& after, const SearchState& state, const std::string& criterion,
                           double margin, bool long_enough, const std::vector<StageDecision>& decisions,
                           const std::vector<std::int64_t>& counts);

// Of the paper's strategy.
Event score_event(const Architecture& network, const SearchState& state, const std::string& criterion,
                  const std::vector<double>& scores, const std::vector<double>& errors);
Event growth_decision_event(const Architecture& before, const Architecture& after, std::int64_t round,
                            const std::string& criterion, const GrowthRules& rules,
                            const std::vector<GrowthDecision>& decisions);

/// A network of evolution's, trained and judged.
Event individual_event(std::size_t number, const std::vector<std::int64_t>& depths, double validation_accuracy,
                       std::int64_t work);

/// The end; `tested` where there is a test set.
Event finished_event(const Architecture& network, const SearchState& state, const std::string& device,
                     const std::optional<PassResult>& tested);

}  // namespace stagewise
