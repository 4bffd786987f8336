// How deep the whole network should be, and when: a pure function of the start, the work there is and the images, made
// before the run from a table that was fitted on held-out images (bench/SEARCH.md). It reads no score:
// which stages keep their new blocks is decided from measurements later (decision.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "layers/architecture.h"

namespace stagewise {

struct GrowthLimits {
  /// What the network may cost; 0: no limit. Parameters as Cost::parameters() counts them, with running statistics;
  /// multiply-accumulates for one image.
  std::int64_t max_parameters = 0, max_macs = 0;
};

/// Blocks are inserted when the share `insert` of the work is done, and which of them stay is decided at `decide`.
struct GrowthRound {
  double insert = 0.0, decide = 0.0;
  std::vector<std::int64_t> depths;  // of the stages after the insertion, if all blocks stay
};

struct GrowthPlan {
  double blocks_a_stage = 0.0;  // that the table holds best for this much work
  std::vector<GrowthRound> rounds;
  std::vector<std::int64_t> final_depths;
};

/// The blocks a stage that serve best when `block_passes` are spent: the work in passes of the training images through
/// one block. Between the table's rows on a logarithmic scale, beyond them by the same slope.
double best_blocks_a_stage(double block_passes);

/// Rounds from `start` towards the best depth for `work`: none where the start is deep enough, one up to 3.5 times its
/// depth, two up to 6 times, else three; in each every stage grows by the same factor. The first look and the trials take
/// shares of the work, at most as many images as were seen to be enough. A round is cut down to the limits, stage by stage
/// from the last, and left out where nothing remains. Errors: throws Error when the start itself is beyond the limits.
GrowthPlan plan_growth(const Architecture& start, std::int64_t work, std::int64_t images, const GrowthLimits& limits);

/// One jump to `depths` (as --grow-to asks), none of them less than the start's, in place of the table's.
GrowthPlan plan_growth_to(const Architecture& start, const std::vector<std::int64_t>& depths, std::int64_t work,
                          const GrowthLimits& limits);

/// For people: `2,2,2 until 10% of the work, then 4,4,4 ...`.
std::string plan_text(const Architecture& start, const GrowthPlan& plan);

/// `architecture` with its stages deepened to `depths`, new blocks at the end of each.
Architecture deepened(Architecture architecture, const std::vector<std::int64_t>& depths);

/// What is wrong with the architecture's cost, naming the flag; empty when it fits.
std::string over_limits(const Architecture& architecture, const GrowthLimits& limits);

}  // namespace stagewise
