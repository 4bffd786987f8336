#include "search/growth.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "layers/cost.h"
#include "search/run/text.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

void check(const Architecture& current, const std::vector<double>& before, const std::vector<double>& deeper,
           const GrowthRules& rules) {
  const std::size_t stages = current.stages.size();
  require(before.size() == stages && deeper.size() == stages, "[growth] expected ", stages,
          " scores before and in the deeper network, one for each stage, got ", before.size(), " and ", deeper.size());
  for (std::size_t stage = 0; stage < stages; ++stage) {
    require(std::isfinite(before[stage]) && std::isfinite(deeper[stage]), "[growth] expected finite scores of stage ",
            stage + 1, ", got ", before[stage], " and ", deeper[stage], " in the deeper network");
  }
  require(rules.step >= 1, "[growth] expected a step of at least 1 block, got ", rules.step);
  require(std::isfinite(rules.margin), "[growth] expected a finite margin, got ", rules.margin);
}

std::string describe_change(const GrowthDecision& decision, double margin) {
  std::string text = "score did not change";
  if (decision.rise > 0) text = "score rose by " + short_number(decision.rise);
  if (decision.rise < 0) text = "score fell by " + short_number(-decision.rise);
  if (decision.qualified) return text + " (> " + short_number(margin) + ")";
  return decision.rise > 0 ? text + " (not > " + short_number(margin) + ")" : text;
}

/// The stages, the largest rise first.
std::vector<std::size_t> by_rise(const std::vector<GrowthDecision>& decisions) {
  std::vector<std::size_t> order(decisions.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return decisions[a].rise > decisions[b].rise; });
  return order;
}

}  // namespace

std::vector<GrowthDecision> decide_growth(const Architecture& current, const std::vector<double>& before,
                                          const std::vector<double>& deeper, const GrowthRules& rules) {
  check(current, before, deeper, rules);
  std::vector<GrowthDecision> decisions(before.size());
  for (std::size_t stage = 0; stage < decisions.size(); ++stage) {
    GrowthDecision& decision = decisions[stage];
    decision.before = before[stage];
    decision.deeper = deeper[stage];
    decision.rise = deeper[stage] - before[stage];
    decision.qualified = decision.rise > rules.margin;
    decision.reason = describe_change(decision, rules.margin) + ": stays";
  }
  Architecture chosen = current;
  for (const std::size_t stage : by_rise(decisions)) {
    GrowthDecision& decision = decisions[stage];
    if (!decision.qualified) continue;
    Architecture larger = grown(chosen, {stage}, rules.step);
    const std::string excess = over_limits(larger, rules.limits);
    decision.grown = excess.empty();
    decision.reason = describe_change(decision, rules.margin) +
                      (decision.grown ? ": grows by " + std::to_string(rules.step) : ", but " + excess + ": stays");
    if (decision.grown) chosen = std::move(larger);
  }
  return decisions;
}

Architecture grown(Architecture architecture, const std::vector<std::size_t>& stages, std::int64_t step) {
  require(step >= 1, "[growth] expected a step of at least 1 block, got ", step);
  for (const std::size_t stage : stages) {
    require(stage < architecture.stages.size(), "[growth] expected a stage below ", architecture.stages.size(),
            ", got ", stage);
    const Architecture::StageBlocks& blocks = architecture.stages[stage];
    require(std::ssize(blocks.blocks) <= kMaxDepth - step, "[growth] expected at most ", kMaxDepth,
            " blocks in a stage, got ", blocks.blocks.size(), " and ", step, " more in stage ", stage + 1);
    for (std::int64_t i = 0; i < step; ++i) architecture.insert(stage, std::ssize(blocks.blocks));
  }
  architecture.check();
  return architecture;
}

Architecture deeper(const Architecture& architecture, std::int64_t step) {
  std::vector<std::size_t> every(architecture.stages.size());
  std::iota(every.begin(), every.end(), 0);
  return grown(architecture, every, step);
}

std::vector<std::size_t> growing_stages(const std::vector<GrowthDecision>& decisions) {
  std::vector<std::size_t> stages;
  for (std::size_t stage = 0; stage < decisions.size(); ++stage) {
    if (decisions[stage].grown) stages.push_back(stage);
  }
  return stages;
}

}  // namespace stagewise
