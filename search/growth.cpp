#include "search/growth.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "layers/cost.h"
#include "search/run/text.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

void check(const Architecture& current, const std::vector<double>& before, const std::vector<double>& probe,
           const GrowthRules& rules) {
  const std::size_t stages = current.stages.size();
  require(before.size() == stages && probe.size() == stages, "[growth] expected ", stages,
          " scores before and in the probe, one for each stage, got ", before.size(), " and ", probe.size());
  for (std::size_t stage = 0; stage < stages; ++stage) {
    require(std::isfinite(before[stage]) && std::isfinite(probe[stage]), "[growth] expected finite scores of stage ",
            stage + 1, ", got ", before[stage], " and ", probe[stage], " in the probe");
  }
  require(rules.step >= 1, "[growth] expected a step of at least 1 block, got ", rules.step);
  require(std::isfinite(rules.margin), "[growth] expected a finite margin, got ", rules.margin);
  require(rules.max_parameters >= 0 && rules.max_macs >= 0, "[growth] expected budgets of at least 0 (none), got ",
          rules.max_parameters, " parameters and ", rules.max_macs, " multiply-accumulates");
}

/// 0.0123456 to `0.0123`.
std::string short_number(double number) {
  std::ostringstream text;
  text.precision(3);
  text << number;
  return text.str();
}

std::string describe_change(const StageDecision& decision, double margin) {
  std::string text = "score did not change";
  if (decision.rise > 0) text = "score rose by " + short_number(decision.rise);
  if (decision.rise < 0) text = "score fell by " + short_number(-decision.rise);
  if (decision.qualified) return text + " (> " + short_number(margin) + ")";
  return decision.rise > 0 ? text + " (not > " + short_number(margin) + ")" : text;
}

std::string over_budget(const char* flag, std::int64_t budget, std::int64_t cost) {
  if (budget == 0 || cost <= budget) return "";
  return std::string("would exceed ") + flag + " " + with_thousands(budget) + " (needs " + with_thousands(cost) + ")";
}

/// What is wrong with the architecture's cost; empty when it fits.
std::string over_budgets(const Architecture& architecture, const GrowthRules& rules) {
  const Cost cost = cost_of(architecture).total();
  const std::string parameters = over_budget("--max-params", rules.max_parameters, cost.parameters());
  return parameters.empty() ? over_budget("--max-macs", rules.max_macs, cost.macs) : parameters;
}

/// The stages, the largest rise first.
std::vector<std::size_t> by_rise(const std::vector<StageDecision>& decisions) {
  std::vector<std::size_t> order(decisions.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return decisions[a].rise > decisions[b].rise; });
  return order;
}

}  // namespace

std::vector<StageDecision> decide_growth(const Architecture& current, const std::vector<double>& before,
                                         const std::vector<double>& probe, const GrowthRules& rules) {
  check(current, before, probe, rules);
  std::vector<StageDecision> decisions(before.size());
  for (std::size_t stage = 0; stage < decisions.size(); ++stage) {
    StageDecision& decision = decisions[stage];
    decision.before = before[stage];
    decision.probe = probe[stage];
    decision.rise = probe[stage] - before[stage];
    decision.qualified = decision.rise > rules.margin;
    decision.reason = describe_change(decision, rules.margin) + ": stays";
  }
  Architecture chosen = current;
  for (const std::size_t stage : by_rise(decisions)) {
    StageDecision& decision = decisions[stage];
    if (!decision.qualified) continue;
    Architecture larger = grown(chosen, {stage}, rules.step);
    const std::string excess = over_budgets(larger, rules);
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
    std::vector<std::int64_t>& blocks = architecture.stages[stage].blocks;
    require(static_cast<std::int64_t>(blocks.size()) <= kMaxDepth - step, "[growth] expected at most ", kMaxDepth,
            " blocks in a stage, got ", blocks.size(), " and ", step, " more in stage ", stage + 1);
    const std::int64_t highest = *std::max_element(blocks.begin(), blocks.end());
    for (std::int64_t i = 1; i <= step; ++i) blocks.push_back(highest + i);
  }
  architecture.check();
  return architecture;
}

Architecture deeper(const Architecture& architecture, std::int64_t step) {
  std::vector<std::size_t> every(architecture.stages.size());
  std::iota(every.begin(), every.end(), 0);
  return grown(architecture, every, step);
}

std::vector<std::size_t> growing_stages(const std::vector<StageDecision>& decisions) {
  std::vector<std::size_t> stages;
  for (std::size_t stage = 0; stage < decisions.size(); ++stage) {
    if (decisions[stage].grown) stages.push_back(stage);
  }
  return stages;
}

}  // namespace stagewise
