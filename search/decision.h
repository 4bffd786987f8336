// Which of the blocks on trial stay: a decision from scores with intervals alone, nothing is trained here.
//
// A score says how much worse the network is without a stage's new blocks. A stage whose whole interval lies above the
// margin keeps them, one whose whole interval lies below loses them. Between the two the measurement decides nothing:
// then the plan does, which reads no score.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagewise {

/// A score and its 95% interval: over images, and over what another training of the same network would have given.
struct StageScore {
  double value = 0.0, lower = 0.0, upper = 0.0;
};

enum class Verdict { pays, does_not_pay, toss_up };

struct StageDecision {
  StageScore score;
  Verdict verdict = Verdict::toss_up;
  bool stays = true;
  std::string reason;  // for people: "its 2 new blocks save 0.031 (0.024 to 0.038) > 0.005: they stay"
};

/// One decision for each stage that has blocks on trial; `planned[stage]`: the plan would keep them; `long_enough`:
/// after a trial too short for new blocks to learn, not to pay means nothing, and is a toss-up. Stages with no new
/// blocks (`new_blocks[stage]` is 0) stay as they are. Errors: throws Error when a score is not finite or lists differ
/// in length.
std::vector<StageDecision> decide(const std::vector<StageScore>& scores, const std::vector<std::int64_t>& new_blocks,
                                  const std::vector<bool>& planned, double margin, bool long_enough = true);

}  // namespace stagewise
