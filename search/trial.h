// Blocks on trial: a round has inserted them into every stage of the live network, and they have to show what they are
// worth. While the network trains on, each stage's new blocks are skipped now and then, independently of the other
// stages', so that every subset of them is a network that was trained (Huang et al. 2016, "Deep networks with
// stochastic depth", do it to all blocks). At the end each stage is scored by what is lost without its new blocks,
// everything else the same: no confounding with a training of its own, and nothing trained is thrown away.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "search/criteria/criterion.h"
#include "search/decision.h"
#include "search/training/predictions.h"

namespace stagewise {

/// The numbers of the blocks on trial, stage by stage.
using BlocksOnTrial = std::vector<std::vector<std::int64_t>>;

/// Which stages' blocks on trial are skipped: bit s for stage s.
using NetworkForm = std::uint64_t;

/// Skips the blocks on trial of the stages in `form`, takes in all others.
void take_form(Network& network, const BlocksOnTrial& on_trial, NetworkForm form);

/// The form that a step trains: each stage that has blocks on trial is in it with the given probability, drawn from
/// (seed, step).
NetworkForm drawn_form(const BlocksOnTrial& on_trial, double probability, std::uint64_t seed, std::int64_t step);

/// What a score is measured on.
struct TrialImages {
  const ImageStore& images;
  std::span<const std::int32_t> statistics;  // the running statistics of each form are estimated on these
  std::span<const std::int32_t> training;    // the criteria that fit something to features fit it on these
  std::span<const std::int32_t> held_out;    // never trained on
};

/// Each stage's score: what `criterion` says of the network with all blocks minus what it says without the stage's
/// blocks on trial; `ablation` the mean held-out loss that the blocks save. 0 for a stage without any. The network is
/// left with all blocks, and with running statistics that are no longer the training's.
std::vector<StageScore> score_trial(Network& network, const BlocksOnTrial& on_trial, const TrialImages& images,
                                    const std::string& criterion, std::uint64_t seed, std::int64_t round,
                                    const PassCallback& callback = {});

/// The work that score_trial() takes.
std::int64_t scoring_work(const Network& network, const BlocksOnTrial& on_trial, const TrialImages& images,
                          const std::string& criterion);

/// The criteria that score_trial() knows: ablation, and those of search/criteria/.
std::vector<std::string> trial_criterion_names();

}  // namespace stagewise
