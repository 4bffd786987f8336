#include "search/plan.h"

#include <algorithm>
#include <cmath>

#include "layers/cost.h"
#include "search/run/text.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

struct TableRow {
  double block_passes, blocks_a_stage;
};

// bench/SEARCH.md has what they were fitted on: the last two rows are extrapolated.
constexpr TableRow kTable[] = {{130.0, 2.0}, {340.0, 2.8}, {1017.0, 4.5}, {3008.0, 8.0}};

// A start within this of the best depth is left as it is.
constexpr double kNearEnough = 1.25;
// Growth by up to these factors takes one round, or two.
constexpr double kOneRound = 3.5, kTwoRounds = 6.0;

// What is trained before the growth is nearly lost, so the first round comes as early as a first look allows: at this
// share of the work, or after so many images.
constexpr double kFirstInsertion = 0.02, kFirstImages = 130'000;
// A trial takes its share of the work, and no more images than the blocks were seen to need: trials of that length told
// the stages apart for every seed. Half or twice as long they do, too, but the searches ended lower (bench/SEARCH.md).
constexpr double kTrialImages = 210'000;

std::vector<double> trial_shares(std::size_t rounds) {
  switch (rounds) {
    case 1: return {0.18};
    case 2: return {0.10, 0.12};
    default: return {0.07, 0.09, 0.12};
  }
}

/// The multiply-accumulates of one more block a stage, over the stages.
double macs_of_a_block(const Architecture& start) {
  std::vector<std::int64_t> depths = start.depths();
  for (std::int64_t& depth : depths) depth += 1;
  const std::int64_t more = cost_of(deepened(start, depths)).total().macs - cost_of(start).total().macs;
  return static_cast<double>(more) / static_cast<double>(depths.size());
}

double mean_of(const std::vector<std::int64_t>& depths) {
  double sum = 0.0;
  for (const std::int64_t depth : depths) sum += static_cast<double>(depth);
  return sum / static_cast<double>(depths.size());
}

/// `depths`, less one block at a time of the stage that grew most, the last among equals, until the network is within
/// the limits; none goes below `before`.
std::vector<std::int64_t> within_limits(const Architecture& start, std::vector<std::int64_t> depths,
                                        const std::vector<std::int64_t>& before, const GrowthLimits& limits) {
  while (depths != before && !over_limits(deepened(start, depths), limits).empty()) {
    std::size_t most = 0;
    for (std::size_t stage = 1; stage < depths.size(); ++stage) {
      if (depths[stage] - before[stage] >= depths[most] - before[most]) most = stage;
    }
    depths[most] -= 1;
  }
  return depths;
}

/// Adds the round that brings the network to `depths`, on trial for at most `share` of the work.
void add_round(GrowthPlan& plan, const Architecture& start, const std::vector<std::int64_t>& depths, double share,
               std::int64_t work) {
  // The share of the work, but no more than so many images take in the network at these depths.
  const auto at_most = [&](double most, double images, const std::vector<std::int64_t>& at) {
    const auto macs = static_cast<double>(cost_of(deepened(start, at)).total().macs);
    return std::min(most, images * macs / static_cast<double>(work));
  };
  const double insert =
      plan.rounds.empty() ? at_most(kFirstInsertion, kFirstImages, start.depths()) : plan.rounds.back().decide;
  const double decide = insert + at_most(share, kTrialImages, depths);
  plan.rounds.push_back({.insert = insert, .decide = decide, .depths = depths});
  plan.final_depths = depths;
}

}  // namespace

std::string over_limits(const Architecture& architecture, const GrowthLimits& limits) {
  const Cost cost = cost_of(architecture).total();
  const auto over = [](const char* flag, std::int64_t limit, std::int64_t needed) {
    if (limit == 0 || needed <= limit) return std::string();
    return concat("would exceed ", flag, " ", with_thousands(limit), " (needs ", with_thousands(needed), ")");
  };
  const std::string parameters = over("--max-params", limits.max_parameters, cost.parameters());
  return parameters.empty() ? over("--max-macs", limits.max_macs, cost.macs) : parameters;
}

double best_blocks_a_stage(double block_passes) {
  const auto last = std::end(kTable) - 1;
  const auto above =
      std::find_if(std::begin(kTable) + 1, last, [&](const TableRow& row) { return block_passes < row.block_passes; });
  const TableRow &low = above[-1], &high = *above;
  const double along = std::log(block_passes / low.block_passes) / std::log(high.block_passes / low.block_passes);
  return low.blocks_a_stage * std::pow(high.blocks_a_stage / low.blocks_a_stage, along);
}

Architecture deepened(Architecture architecture, const std::vector<std::int64_t>& depths) {
  require(depths.size() == architecture.stages.size(), "[growth] expected ", architecture.stages.size(),
          " depths, one for each stage, got ", depths.size());
  for (std::size_t stage = 0; stage < depths.size(); ++stage) {
    const std::vector<std::int64_t>& blocks = architecture.stages[stage].blocks;
    require(depths[stage] >= std::ssize(blocks) && depths[stage] <= kMaxDepth, "[growth] expected stage ", stage + 1,
            " to grow from ", blocks.size(), " to at most ", kMaxDepth, " blocks, got ", depths[stage]);
    while (std::ssize(blocks) < depths[stage]) architecture.insert(stage, std::ssize(blocks));
  }
  architecture.check();
  return architecture;
}

GrowthPlan plan_growth(const Architecture& start, std::int64_t work, std::int64_t images, const GrowthLimits& limits) {
  const std::string excess = over_limits(start, limits);
  require(excess.empty(), "the start network ", join(start.depths()), " ", excess);
  const std::vector<std::int64_t> depths = start.depths();
  GrowthPlan plan{.rounds = {}, .final_depths = depths};
  plan.blocks_a_stage =
      best_blocks_a_stage(static_cast<double>(work) / static_cast<double>(images) / macs_of_a_block(start));
  const double factor = plan.blocks_a_stage / mean_of(depths);
  if (factor < kNearEnough) return plan;
  const std::size_t rounds = factor <= kOneRound ? 1 : factor <= kTwoRounds ? 2 : 3;
  for (std::size_t round = 0; round < rounds; ++round) {
    const double grown = std::pow(factor, static_cast<double>(round + 1) / static_cast<double>(rounds));
    std::vector<std::int64_t> next;
    for (const std::int64_t depth : depths) {
      next.push_back(std::min<std::int64_t>(kMaxDepth, std::llround(static_cast<double>(depth) * grown)));
    }
    next = within_limits(start, next, plan.final_depths, limits);
    if (next != plan.final_depths) add_round(plan, start, next, trial_shares(rounds)[round], work);
  }
  return plan;
}

GrowthPlan plan_growth_to(const Architecture& start, const std::vector<std::int64_t>& depths, std::int64_t work,
                          const GrowthLimits& limits) {
  const std::string excess = over_limits(deepened(start, depths), limits);
  require(excess.empty(), "[--grow-to] ", join(depths), " ", excess);
  GrowthPlan plan{.blocks_a_stage = mean_of(depths), .rounds = {}, .final_depths = depths};
  if (depths != start.depths()) add_round(plan, start, depths, trial_shares(1).front(), work);
  return plan;
}

std::string plan_text(const Architecture& start, const GrowthPlan& plan) {
  if (plan.rounds.empty()) {
    return concat("the table holds ", fixed(plan.blocks_a_stage, 1),
                  " blocks a stage best for this work: ", join(start.depths()), " is trained as it is");
  }
  std::string text = join(start.depths());
  for (const GrowthRound& round : plan.rounds) {
    text += concat(" until ", percent(round.insert), " of the work, then up to ", join(round.depths), ", decided at ",
                   percent(round.decide));
  }
  return text;
}

}  // namespace stagewise
