// What a finished run leaves: the network, its architecture, a summary.
#pragma once

#include <optional>
#include <string>

#include "search/run/directory.h"
#include "search/search_run.h"
#include "search/training/run_data.h"
#include "search/training/trainer.h"

namespace stagewise {

/// The lines of summary.txt. `test` is empty where the data has no test set, or it has not been opened yet.
std::string summarise(const SearchState& state, const Network& network, const RunData& data,
                      const SearchOptions& options, const std::optional<PassResult>& test);

/// Writes model.safetensors, architecture.json and summary.txt.
void write_results(const RunDirectory& run, const Network& network, const RunData& data, const std::string& summary);

/// Where the results in `path` are and what can be done with them. `has_test_set`: of the data.
std::string how_to_use(const std::string& path, bool has_test_set);

/// `9,338 of 10,000 right (93.38%)`.
std::string right_of(const PassResult& result);

}  // namespace stagewise
