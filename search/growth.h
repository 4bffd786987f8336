// The paper's rule: which stages grow, from scores and costs alone. A stage grows when its score in the network that is
// deeper in every stage is above its score in the network as it is. A margin and limits come on top.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "search/plan.h"

namespace stagewise {

struct GrowthRules {
  std::int64_t step = 1;  // blocks that a stage grows by
  double margin = 0.0;    // a score must rise by more than this; may be negative
  GrowthLimits limits;    // of what the network may cost after growing
};

struct GrowthDecision {
  double before = 0.0, deeper = 0.0, rise = 0.0;  // the scores, and deeper - before
  bool qualified = false;                         // the score rose by more than the margin
  bool grown = false;                             // and the network fits the budgets
  std::string reason;                             // for people: "score rose by 0.012 (> 0): grows by 2"
};

/// One decision for each stage, from its score in the network `current` and in the deeper one. Stages that qualify are
/// taken in the order of their rise, the largest first and the earlier stage first among equals; each grows if the
/// network, with it and those taken before, keeps within the budgets. One that is too big does not stop a smaller one.
/// Errors: throws Error when a score is not finite, there is not one for each stage, or a rule is out of bounds.
std::vector<GrowthDecision> decide_growth(const Architecture& current, const std::vector<double>& before,
                                          const std::vector<double>& deeper, const GrowthRules& rules);

/// `architecture` with `step` more blocks at the end of each of `stages`, numbered as Stage::insert does. Errors:
/// throws Error for a stage that is not there, or when a stage becomes too deep.
Architecture grown(Architecture architecture, const std::vector<std::size_t>& stages, std::int64_t step);

/// `architecture` with `step` more blocks in every stage.
Architecture deeper(const Architecture& architecture, std::int64_t step);

/// The indices of the stages that grow.
std::vector<std::size_t> growing_stages(const std::vector<GrowthDecision>& decisions);

}  // namespace stagewise
