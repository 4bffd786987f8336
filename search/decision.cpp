#include "search/decision.h"

#include <cmath>

#include "search/run/text.h"
#include "tensor/error.h"

namespace stagewise {

namespace {

Verdict verdict_of(const StageScore& score, double margin) {
  if (score.lower > margin) return Verdict::pays;
  return score.upper < margin ? Verdict::does_not_pay : Verdict::toss_up;
}

std::string reason_of(const StageDecision& decision, std::int64_t new_blocks, double margin, bool too_soon) {
  const StageScore& score = decision.score;
  const bool one = new_blocks == 1;
  const std::string measured =
      concat(one ? "its new block saves " : concat("its ", new_blocks, " new blocks save "), short_number(score.value),
             " (", short_number(score.lower), " to ", short_number(score.upper), ")");
  const std::string outcome =
      decision.stays ? (one ? "it stays" : "they stay") : (one ? "it is taken out" : "they are taken out");
  switch (decision.verdict) {
    case Verdict::pays: return concat(measured, " > ", short_number(margin), ": ", outcome);
    case Verdict::does_not_pay: return concat(measured, " < ", short_number(margin), ": ", outcome);
    case Verdict::toss_up: break;
  }
  if (too_soon) return concat(measured, ", but the trial was too short to tell: by the plan ", outcome);
  return concat(measured, ", which ", short_number(margin), " lies within: a toss-up, and by the plan ", outcome);
}

}  // namespace

std::vector<StageDecision> decide(const std::vector<StageScore>& scores, const std::vector<std::int64_t>& new_blocks,
                                  const std::vector<bool>& planned, double margin, bool long_enough) {
  require(scores.size() == new_blocks.size() && scores.size() == planned.size(),
          "[decision] expected a score, a number of new blocks and the plan's choice for each stage, got ",
          scores.size(), ", ", new_blocks.size(), " and ", planned.size());
  std::vector<StageDecision> decisions(scores.size());
  for (std::size_t stage = 0; stage < scores.size(); ++stage) {
    StageDecision& decision = decisions[stage];
    decision.score = scores[stage];
    if (new_blocks[stage] == 0) {
      decision.reason = "no new blocks";
      continue;
    }
    const StageScore& score = scores[stage];
    require(std::isfinite(score.value) && std::isfinite(score.lower) && std::isfinite(score.upper),
            "[decision] expected a finite score of stage ", stage + 1, ", got ", score.value, " from ", score.lower,
            " to ", score.upper);
    decision.verdict = verdict_of(score, margin);
    const bool too_soon = decision.verdict == Verdict::does_not_pay && !long_enough;
    if (too_soon) decision.verdict = Verdict::toss_up;
    decision.stays = decision.verdict == Verdict::toss_up ? planned[stage] : decision.verdict == Verdict::pays;
    decision.reason = reason_of(decision, new_blocks[stage], margin, too_soon);
  }
  return decisions;
}

}  // namespace stagewise
