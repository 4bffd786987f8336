#include "search/forecast.h"

#include <algorithm>

#include "layers/cost.h"
#include "search/growth.h"
#include "search/run/text.h"

namespace stagewise {

namespace {

constexpr double kTrainingWork = 3.0;

/// Of `epochs` epochs and the scoring behind them.
double model_work(const WorkPlan& plan, const Architecture& architecture, std::int64_t epochs) {
  return training_work(architecture, epochs * plan.train_images) +
         evaluation_work(architecture, epochs * plan.validation_images + (plan.scores ? plan.train_images : 0));
}

bool can_deepen(const Architecture& architecture, std::int64_t step) {
  return std::ranges::max(architecture.depths()) + step <= kMaxDepth;
}

}  // namespace

double evaluation_work(const Architecture& architecture, std::int64_t images) {
  return static_cast<double>(cost_of(architecture).total().macs) * static_cast<double>(images);
}

double training_work(const Architecture& architecture, std::int64_t images) {
  return kTrainingWork * evaluation_work(architecture, images);
}

Work remaining_work(const WorkPlan& plan, const SearchState& state, const Architecture& architecture, bool validating) {
  const bool probing = state.phase == Phase::probe;
  if (!probing && state.phase != Phase::train) return {};
  Work work{.amount = model_work(plan, architecture, plan.epochs - (state.epoch - state.first_epoch)),
            .at_most = probing || state.iteration < plan.iterations};
  if (validating) work.amount -= training_work(architecture, plan.train_images);
  if (probing) work.amount += model_work(plan, architecture, plan.epochs);  // the network grown as the probe is
  Architecture deepest = architecture;
  for (std::int64_t iteration = state.iteration; iteration < plan.iterations; ++iteration) {
    if (!can_deepen(deepest, plan.step)) break;
    deepest = deeper(deepest, plan.step);
    work.amount += 2.0 * model_work(plan, deepest, plan.epochs);  // the probe and what grows
  }
  return work;
}

std::string Forecast::left(const Work& work) const {
  if (work_ <= 0.0 || work.amount <= 0.0) return "";
  return (work.at_most ? "at most " : "") + duration(work.amount * seconds_ / work_) + " left";
}

}  // namespace stagewise
