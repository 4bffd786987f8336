// What a run can do with its work. One strategy is one file.
#pragma once

#include <memory>

#include "search/search_run.h"

namespace stagewise {

/// The growth that `options` ask for with this much work.
GrowthPlan growth_plan(const SearchOptions& options, const RunData& data, std::int64_t work);

/// Grows the live network by the plan, each round on trial, and trains on what stays: the search. Where the plan says
/// no growth, plain training of all images.
std::unique_ptr<Strategy> make_stagewise(const SearchOptions& options, const RunData& data, std::int64_t total_work);
/// The plan's final depths at once, without a trial: what measuring is worth.
std::unique_ptr<Strategy> make_jump(const SearchOptions& options, const RunData& data, std::int64_t total_work);
/// The paper's: train a network and a deeper one from scratch, grow the stages whose score is higher in the deeper one,
/// again from scratch.
std::unique_ptr<Strategy> make_paper(const SearchOptions& options, const RunData& data, std::int64_t total_work);
/// Regularised evolution over the depths (Real et al. 2019), every network from scratch.
std::unique_ptr<Strategy> make_evolution(const SearchOptions& options, const RunData& data, std::int64_t total_work);

}  // namespace stagewise
