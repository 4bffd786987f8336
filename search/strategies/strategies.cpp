#include "search/strategies/strategies.h"

#include <algorithm>
#include <cmath>

#include "search/work.h"

namespace stagewise {

namespace {

/// One network, one schedule.
class Plain final : public Strategy {
 public:
  std::string plan() const override { return "one network from beginning to end"; }
  void next(SearchRun& run) override {
    if (run.state().work < run.total_work()) return run.stretch_to(run.total_work());
    if (!run.state().validated || run.state().position.images > 0) run.validate();
    run.stop("the training is done");
  }
};

std::vector<PlannedStretch> stretches_of(const Architecture& start, const GrowthPlan& plan) {
  std::vector<PlannedStretch> stretches = {{.share = 1.0, .architecture = start}};
  double from = 0.0;
  for (const GrowthRound& round : plan.rounds) {
    stretches.back().share = round.insert - from;
    from = round.insert;
    stretches.push_back({.share = 1.0 - from, .architecture = deepened(start, round.depths)});
  }
  return stretches;
}

/// Passes of `plan` over `images` that `work` pays for.
double passes_of(const Architecture& start, const GrowthPlan& plan, double work, double images) {
  double passes = 0.0;
  for (const PlannedStretch& stretch : stretches_of(start, plan)) {
    passes += stretch.share * work / static_cast<double>(training_work(stretch.architecture, 1));
  }
  return passes / images;
}

bool grows(const SearchOptions& options) { return options.strategy == "stagewise" || options.strategy == "jump"; }

/// The images that a run trains on, those included that join once everything is decided.
double trained_images(const SearchOptions& options, const RunData& data) {
  const bool join = grows(options) && options.join_held_out && data.held_out_may_join();
  return static_cast<double>(data.train.size() + (join ? data.validation.size() : 0));
}

}  // namespace

GrowthPlan growth_plan(const SearchOptions& options, const RunData& data, std::int64_t work) {
  const Architecture start = architecture_of(options, data, options.start);
  if (!options.grow_to.empty()) return plan_growth_to(start, options.grow_to, work, options.limits);
  return plan_growth(start, work, std::ssize(data.train), options.limits);
}

std::vector<PlannedStretch> planned_stretches(const SearchOptions& options, const RunData& data, std::int64_t work) {
  const Architecture start = architecture_of(options, data, options.start);
  if (options.strategy == "stagewise") return stretches_of(start, growth_plan(options, data, work));
  if (options.strategy == "jump") {
    GrowthPlan plan = growth_plan(options, data, work);
    plan.rounds.resize(std::min<std::size_t>(plan.rounds.size(), 1));
    if (!plan.rounds.empty()) plan.rounds.front().depths = plan.final_depths;
    return stretches_of(start, plan);
  }
  if (options.strategy != "paper") return {{.share = 1.0, .architecture = start}};
  std::vector<std::int64_t> deepest = start.depths();
  for (std::int64_t& depth : deepest) depth = std::min(kMaxDepth, depth + options.iterations * options.step);
  return {{.share = 0.5, .architecture = start}, {.share = 0.5, .architecture = deepened(start, deepest)}};
}

std::int64_t work_of(const SearchOptions& options, const RunData& data) {
  const Architecture start = architecture_of(options, data, options.start);
  const auto epochs = static_cast<double>(options.training.epochs);
  const std::int64_t images = images_in_pass(std::ssize(data.train), options.training.batch_size);
  const bool frozen = options.training.freeze_trunk;
  if (options.work > 0) {
    const std::int64_t step = training_work(start, options.training.batch_size, frozen);
    require(options.work >= step, "[--work] expected at least ", step,
            " multiply-accumulates, which one step takes, got ", options.work);
    return options.work;
  }
  std::int64_t work = options.training.epochs * training_work(start, images, frozen);
  if (options.strategy == "train") {
    return work + options.training.epochs * evaluation_work(start, std::ssize(data.validation));
  }
  if (!grows(options)) return work;
  // The plan depends on the work, and the work on the plan's networks: a few rounds settle both.
  for (int round = 0; round < 8; ++round) {
    const double passes =
        passes_of(start, growth_plan(options, data, work), static_cast<double>(work), static_cast<double>(images));
    work = std::llround(static_cast<double>(work) * epochs / passes);
  }
  return work;
}

bool needs_held_out(const SearchOptions& options, const RunData& data) {
  if (options.strategy == "jump") return false;
  if (options.strategy != "stagewise") return true;
  const SearchOptions known = settled(options, data);
  return !growth_plan(known, data, work_of(known, data)).rounds.empty();
}

SearchOptions settled(SearchOptions options, const RunData& data) {
  TrainingOptions& training = options.training;
  const auto images = static_cast<double>(data.train.size());
  if (training.batch_size == 0) {
    // Few images take few steps a pass, so they have smaller batches.
    training.batch_size =
        std::clamp<std::int64_t>(std::llround(std::exp2(std::round(std::log2(images / 40.0)))), 8, 128);
  }
  const bool adamw = training.optimiser.kind == OptimiserKind::adamw;
  const double batches_of_128 = static_cast<double>(training.batch_size) / 128.0;
  if (training.schedule.peak == 0.0) {
    // Weights that have been trained are lost again at the full rate.
    training.schedule.peak = (adamw ? 0.004 : 0.4) * batches_of_128 * (options.from.empty() ? 1.0 : 0.1);
  }
  if (training.optimiser.weight_decay < 0.0) {
    const auto work = static_cast<double>(work_of(options, data)) * (training.freeze_trunk ? 3.0 : 1.0);
    const Architecture start = architecture_of(options, data, options.start);
    const GrowthPlan plan = grows(options) ? growth_plan(options, data, std::llround(work)) : GrowthPlan{};
    const double passes = passes_of(start, plan, work, trained_images(options, data));
    // The longer a training, the less a step must forget: 5e-4 at 8 passes, and as 1/sqrt(passes) from there. AdamW's
    // rate is a hundredth, so that rate x decay, what a step forgets, is the same.
    training.optimiser.weight_decay = (adamw ? 5e-2 : 5e-4) * std::min(1.0, std::sqrt(8.0 / passes));
  }
  // What a few per cent of the work have taught isn't worth what it costs to go on from it (bench/SEARCH.md); what another
  // training has learnt may be.
  if (options.shrink < 0.0) options.shrink = options.from.empty() ? 0.0 : 1.0;
  return options;
}

std::unique_ptr<Strategy> make_strategy(const SearchOptions& options, const RunData& data, std::int64_t total_work) {
  if (options.strategy == "train") return std::make_unique<Plain>();
  if (options.strategy == "stagewise") return make_stagewise(options, data, total_work);
  if (options.strategy == "jump") return make_jump(options, data, total_work);
  if (options.strategy == "paper") return make_paper(options, data, total_work);
  if (options.strategy == "evolution") return make_evolution(options, data, total_work);
  fail("[--strategy] expected stagewise, jump, paper or evolution, got `", options.strategy, "`");
}

}  // namespace stagewise
