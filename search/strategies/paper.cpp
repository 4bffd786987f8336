// The paper's algorithm as its code has it: train a network and score its stages; train one that is deeper in every
// stage, from scratch, and score that; let the stages grow whose score rose; train what comes out, from scratch again.
// Every network has its whole schedule and an equal share of the work, scoring it included, and the best by validation
// is kept.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "search/growth.h"
#include "search/importance.h"
#include "search/run/text.h"
#include "search/strategies/strategies.h"
#include "search/work.h"

namespace stagewise {

namespace {

using OrderedJson = nlohmann::ordered_json;

class Paper final : public Strategy {
 public:
  Paper(const SearchOptions& options, const RunData& data, std::int64_t total_work)
      : rules_{.step = options.step, .margin = options.margin.value_or(0.0), .limits = options.limits},
        criterion_(make_criterion(options.criterion)),
        iterations_(options.iterations),
        total_work_(total_work) {
    const Architecture start = architecture_of(options, data, options.start);
    const std::string excess = over_limits(start, options.limits);
    require(excess.empty(), "the start network ", join(start.depths()), " ", excess);
    deeper(start, options.step);  // says what is wrong with the step
    require(!criterion_->needs_validation() || !data.validation.empty(), "[--criterion] ", options.criterion,
            " judges on held-out images, and there are none: give --validation a share");
  }

  std::string plan() const override {
    return concat("at most ", networks(), " networks from scratch, each with ",
                  work_text(static_cast<double>(total_work_) / static_cast<double>(networks())));
  }

  void next(SearchRun& run) override {
    SearchState& state = run.state();
    if (state.strategy_memory.empty()) {
      state.strategy_memory =
          OrderedJson{{"deeper", false}, {"scores", OrderedJson::array()}, {"blocks", OrderedJson::array()}}.dump();
      state.schedule.end = end_of(run, run.network().architecture(), networks());
      return run.stretch_to(state.schedule.end);
    }
    const OrderedJson memory = OrderedJson::parse(state.strategy_memory);
    run.validate();
    run.keep_if_best();
    const std::vector<double> scores = score(run);
    if (memory["deeper"]) return decide(run, memory, scores);
    if (state.round == iterations_)
      return run.stop(iterations_ == 1 ? "the one iteration is done"
                                       : concat("all ", iterations_, " iterations are done"));
    state.round += 1;
    const Architecture architecture = run.learner().network->architecture();
    state.strategy_memory =
        OrderedJson{{"deeper", true}, {"scores", scores}, {"architecture", architecture.to_json()}}.dump();
    train(run, deeper(architecture, rules_.step));
  }

 private:
  std::int64_t networks() const { return 1 + 2 * iterations_; }

  /// Where the network that comes next ends, `left` of them being left: they share what is left of the work, and judging
  /// and scoring them is a part of that.
  std::int64_t end_of(const SearchRun& run, const Architecture& next, std::int64_t left) const {
    const std::int64_t begin = run.state().work, share = (total_work_ - begin) / left;
    const std::int64_t judging = evaluation_work(next, run.images_to_validate() + images_to_score(run));
    return begin + std::max(share - judging, share / 2);  // it trains, however little there is
  }

  std::int64_t images_to_score(const SearchRun& run) const {
    return criterion_->needs_moments() ? std::ssize(run.data().train) : 0;
  }

  void train(SearchRun& run, const Architecture& architecture) const {
    const std::int64_t end = end_of(run, architecture, networks() - run.state().models);
    run.start_network(architecture, end);
    run.stretch_to(end);
  }

  std::vector<double> score(SearchRun& run) const {
    SearchState& state = run.state();
    const Network& network = *run.learner().network;
    const std::vector<ReplicatedScore> measured =
        score_stages(network, run.data().images, run.data().train, run.data().validation, *criterion_,
                     run.options().seed, state.round, run.watch("importance"));
    std::vector<double> scores, errors;
    for (const ReplicatedScore& one : measured) {
      scores.push_back(one.value);
      errors.push_back(jackknife_error(one.without_part));
    }
    run.count_looking(evaluation_work(network.architecture(), images_to_score(run)));
    run.log(score_event(network.architecture(), state, criterion_->name(), scores, errors));
    state.scores = scores;
    return scores;
  }

  void decide(SearchRun& run, const OrderedJson& memory, const std::vector<double>& deeper_scores) const {
    const Architecture before = Architecture::from_json(memory["architecture"]);
    const std::vector<GrowthDecision> decisions = decide_growth(before, memory["scores"], deeper_scores, rules_);
    const std::vector<std::size_t> stages = growing_stages(decisions);
    const Architecture after = stages.empty() ? before : grown(before, stages, rules_.step);
    run.log(growth_decision_event(before, after, run.state().round, criterion_->name(), rules_, decisions));
    if (stages.empty()) {
      const bool limit = std::any_of(decisions.begin(), decisions.end(), [](const auto& d) { return d.qualified; });
      return run.stop(limit ? "no stage that qualifies fits the limits"
                            : "no stage's score rose by more than the margin");
    }
    run.state().strategy_memory = OrderedJson{{"deeper", false}}.dump();
    train(run, after);
  }

  GrowthRules rules_;
  std::unique_ptr<Criterion> criterion_;
  std::int64_t iterations_, total_work_;
};

}  // namespace

std::unique_ptr<Strategy> make_paper(const SearchOptions& options, const RunData& data, std::int64_t total_work) {
  return std::make_unique<Paper>(options, data, total_work);
}

}  // namespace stagewise
