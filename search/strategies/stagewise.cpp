// The stage-wise search. One network, one schedule of the learning rate, one budget of work:
//
//   plan        how deep the network should become, and when (search/plan.h)
//   insert      every stage gets the round's new blocks; all weights are drawn anew, as far as --shrink says, because the
//               blocks that were there first keep the larger part for good otherwise (layers/shrink_and_perturb.h)
//   on trial    training goes on, each stage's new blocks skipped now and then (search/trial.h)
//   decide      blocks that clearly don't pay are taken out, everything else stays (search/decision.h)
//   anneal      after the last decision the held-out images join, and the network trains to the end of the schedule
#include <algorithm>

#include "layers/shrink_and_perturb.h"
#include "search/importance.h"
#include "search/run/text.h"
#include "search/strategies/strategies.h"
#include "search/trial.h"
#include "search/work.h"
#include "tensor/random.h"

namespace stagewise {

namespace {

constexpr double kAblationMargin = 0.005;  // nats of held-out loss
constexpr double kTrialAverageDecay = 0.99;
constexpr std::int64_t kCriterionImages = 8192;

/// With the accuracy on the held-out images, where they have stayed apart.
void end(SearchRun& run) {
  run.validate();
  run.stop("the work is done");
}

/// What becomes of the weights when blocks come, for people.
std::string kept_text(const SearchOptions& options) {
  if (options.shrink == 1.0) return "";
  if (options.shrink > 0.0) {
    return concat("; when blocks come, ", percent(options.shrink), " of every weight is kept, the rest is drawn anew");
  }
  const bool lost = options.initialiser != SearchOptions().initialiser;
  return concat(
      "; when blocks come, all weights are drawn anew",
      lost ? ", so --initialiser " + name_of(options.initialiser) + " has no effect (--shrink 1 keeps it)" : "");
}

void shrink(SearchRun& run) {
  const SearchOptions& options = run.options();
  if (options.shrink == 1.0) return;
  shrink_and_perturb(*run.learner().network, options.shrink,
                     stream_of("shrink", options.seed, static_cast<std::uint64_t>(run.state().round)));
  run.renew_optimiser();
}

/// A round begins: so many new blocks at the end of each stage. Returns their numbers.
BlocksOnTrial insert_blocks(SearchRun& run, const std::vector<std::int64_t>& counts) {
  SearchState& state = run.state();
  Network& network = *run.learner().network;
  BlocksOnTrial numbers(counts.size());
  for (std::size_t stage = 0; stage < counts.size(); ++stage) {
    for (std::int64_t more = 0; more < counts[stage]; ++more) {
      numbers[stage].push_back(network.insert(stage, network.depth(stage), run.options().initialiser));
    }
  }
  state.round += 1;
  shrink(run);
  run.log(insertion_event(network.architecture(), state, numbers, run.options().shrink));
  return numbers;
}

class Stagewise final : public Strategy {
 public:
  Stagewise(const SearchOptions& options, const RunData& data, std::int64_t total_work)
      : start_(architecture_of(options, data, options.start)),
        plan_(growth_plan(options, data, total_work)),
        kept_(kept_text(options)),
        criterion_images_(evenly(data.train, kCriterionImages)) {
    const std::vector<std::string> known = trial_criterion_names();
    require(std::find(known.begin(), known.end(), options.criterion) != known.end(), "[--criterion] there is no `",
            options.criterion, "` (see --help)");
    const bool judges = options.criterion == "ablation" || make_criterion(options.criterion)->needs_validation();
    require(plan_.rounds.empty() || !judges || !data.validation.empty(), "[--validation] the criterion ",
            options.criterion, " measures on held-out images, and there are none: give it a share, such as 0.1");
  }

  std::string plan() const override { return plan_text(start_, plan_) + (plan_.rounds.empty() ? "" : kept_); }

  void next(SearchRun& run) override {
    const std::int64_t round = run.state().round;
    const bool on_trial = !run.state().on_trial.empty();
    if (on_trial) return decide(run);
    if (run.state().work >= run.total_work()) return end(run);
    if (round == std::ssize(plan_.rounds)) {
      if (run.options().join_held_out) run.join_held_out();
      return run.stretch_to(run.total_work());
    }
    const std::int64_t insert_at = work_at(run, plan_.rounds[static_cast<std::size_t>(round)].insert);
    if (run.state().work < insert_at) return run.stretch_to(insert_at);
    insert(run);
  }

 private:
  static std::int64_t work_at(const SearchRun& run, double share) {
    return static_cast<std::int64_t>(share * static_cast<double>(run.total_work()));
  }

  /// Brings every stage to the round's depth, less what earlier rounds took out.
  void insert(SearchRun& run) const {
    SearchState& state = run.state();
    const GrowthRound& round = plan_.rounds[static_cast<std::size_t>(state.round)];
    const std::vector<std::int64_t> planned_before =
        state.round == 0 ? start_.depths() : plan_.rounds[static_cast<std::size_t>(state.round - 1)].depths;
    std::vector<std::int64_t> counts;
    for (std::size_t stage = 0; stage < round.depths.size(); ++stage) {
      counts.push_back(round.depths[stage] - planned_before[stage]);
    }
    state.on_trial = insert_blocks(run, counts);
    if (!run.learner().average) run.learner().average.emplace(kTrialAverageDecay);
    state.trial_began = state.steps;
    run.stretch_to(std::max(work_at(run, round.decide), state.work + 1));
  }

  void decide(SearchRun& run) const {
    SearchState& state = run.state();
    Network& network = *run.learner().network;
    const SearchOptions& options = run.options();
    const TrialImages images{.images = run.data().images,
                             .statistics = run.statistics_images(),
                             .training = criterion_images_,
                             .held_out = run.data().validation};
    std::vector<StageScore> scores;
    run.with_averages([&] {
      scores = score_trial(network, state.on_trial, images, options.criterion, options.seed, state.round,
                           run.watch("round " + std::to_string(state.round) + ", scores"));
    });
    run.count_looking(scoring_work(network, state.on_trial, images, options.criterion));
    std::vector<std::int64_t> counts;
    for (const auto& blocks : state.on_trial) counts.push_back(std::ssize(blocks));
    const double margin = options.margin.value_or(options.criterion == "ablation" ? kAblationMargin : 0.0);
    const std::vector<StageDecision> decisions =
        stagewise::decide(scores, counts, std::vector<bool>(counts.size(), true), margin, long_enough(run));
    take_out(run, decisions);
    if (options.average_decay == 0.0) run.learner().average.reset();
    state.scores.clear();
    for (const StageDecision& decision : decisions) state.scores.push_back(decision.score.value);
    run.log(trial_decision_event(network.architecture(), state, options.criterion, margin, long_enough(run), decisions,
                                 counts));
    state.on_trial.clear();
    run.stretch_to(state.work);  // asked again at once
  }

  /// The controls measure nothing, so they need no time for it.
  static bool long_enough(const SearchRun& run) {
    const std::string& criterion = run.options().criterion;
    const bool measures = criterion == "ablation" || make_criterion(criterion)->needs_moments();
    return !measures || run.state().steps - run.state().trial_began >= run.options().shortest_trial;
  }

  static void take_out(SearchRun& run, const std::vector<StageDecision>& decisions) {
    Learner& learner = run.learner();
    for (std::size_t stage = 0; stage < decisions.size(); ++stage) {
      if (decisions[stage].stays) continue;
      for (const std::int64_t number : run.state().on_trial[stage]) learner.network->remove(stage, number);
    }
    learner.optimiser->keep_only(*learner.network);
  }

  Architecture start_;
  GrowthPlan plan_;
  std::string kept_;
  std::vector<std::int32_t> criterion_images_;
};

/// The plan's depths at once, at its first insertion, and no trial.
class Jump final : public Strategy {
 public:
  Jump(const SearchOptions& options, const RunData& data, std::int64_t total_work)
      : start_(architecture_of(options, data, options.start)),
        plan_(growth_plan(options, data, total_work)),
        kept_(kept_text(options)) {}

  std::string plan() const override {
    if (plan_.rounds.empty()) return plan_text(start_, plan_);
    return concat("one jump to ", join(plan_.final_depths), " at ", percent(plan_.rounds.front().insert),
                  " of the work", kept_);
  }

  void next(SearchRun& run) override {
    SearchState& state = run.state();
    if (state.work >= run.total_work()) return end(run);
    if (plan_.rounds.empty() || state.round == 1) {
      if (run.options().join_held_out) run.join_held_out();
      return run.stretch_to(run.total_work());
    }
    const auto at = static_cast<std::int64_t>(plan_.rounds.front().insert * static_cast<double>(run.total_work()));
    if (state.work < at) return run.stretch_to(at);
    std::vector<std::int64_t> counts = plan_.final_depths;
    for (std::size_t stage = 0; stage < counts.size(); ++stage) counts[stage] -= run.network().depth(stage);
    insert_blocks(run, counts);
    run.stretch_to(state.work);
  }

 private:
  Architecture start_;
  GrowthPlan plan_;
  std::string kept_;
};

}  // namespace

std::unique_ptr<Strategy> make_stagewise(const SearchOptions& options, const RunData& data, std::int64_t total_work) {
  return std::make_unique<Stagewise>(options, data, total_work);
}

std::unique_ptr<Strategy> make_jump(const SearchOptions& options, const RunData& data, std::int64_t total_work) {
  return std::make_unique<Jump>(options, data, total_work);
}

}  // namespace stagewise
