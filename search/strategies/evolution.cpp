// Regularised evolution over the stages' depths (Real, Aggarwal, Huang, Le, "Regularized Evolution for Image Classifier
// Architecture Search", AAAI 2019): a control that knows nothing of stages' importance. Half of the work goes to small
// trainings from scratch, each of a network that differs by one block from the best of three drawn from the latest
// ones; the other half to the best network that was seen, from scratch on all images.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "search/plan.h"
#include "search/run/text.h"
#include "search/strategies/strategies.h"
#include "search/work.h"
#include "tensor/random.h"

namespace stagewise {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t kPopulation = 4, kTournament = 3;

struct Individual {
  std::vector<std::int64_t> depths;
  double accuracy = 0.0;
};

class Evolution final : public Strategy {
 public:
  Evolution(const SearchOptions& options, const RunData& data, std::int64_t total_work)
      : models_(options.models), work_a_model_(total_work / (2 * options.models)) {
    require(!data.validation.empty(),
            "[--strategy] evolution judges on held-out images, and there are none: give --validation a share");
    const std::string excess = over_limits(architecture_of(options, data, options.start), options.limits);
    require(excess.empty(), "the start network ", join(options.start), " ", excess);
  }

  std::string plan() const override {
    return concat(counted(models_, "network"), " with ", work_text(static_cast<double>(work_a_model_)),
                  " each, then the best of them from scratch");
  }

  void next(SearchRun& run) override {
    SearchState& state = run.state();
    if (state.strategy_memory.empty()) {
      state.strategy_memory = OrderedJson::array().dump();
      state.schedule.end = work_a_model_;
      return run.stretch_to(work_a_model_);
    }
    run.validate();
    if (state.work >= run.total_work()) return run.stop("the work is done");
    std::vector<Individual> seen = recall(state.strategy_memory);
    seen.push_back({run.network().architecture().depths(), state.validation_accuracy});
    state.strategy_memory = remembered(seen);
    run.log(individual_event(seen.size(), seen.back().depths, seen.back().accuracy, state.work));
    state.round += 1;
    const bool last = std::ssize(seen) == models_;
    const std::vector<std::int64_t> depths = last ? best(seen).depths : child(run, seen);
    const std::int64_t end = last ? run.total_work() : state.work + work_a_model_;
    if (last && run.options().join_held_out) run.join_held_out();
    run.start_network(architecture_of(run.options(), run.data(), depths), end);
    run.stretch_to(end);
  }

 private:
  static std::vector<Individual> recall(const std::string& memory) {
    std::vector<Individual> seen;
    for (const OrderedJson& one : OrderedJson::parse(memory)) seen.push_back({one["depths"], one["accuracy"]});
    return seen;
  }

  static std::string remembered(const std::vector<Individual>& seen) {
    OrderedJson memory = OrderedJson::array();
    for (const Individual& one : seen) memory.push_back({{"depths", one.depths}, {"accuracy", one.accuracy}});
    return memory.dump();
  }

  static const Individual& best(const std::vector<Individual>& seen) {
    return *std::max_element(seen.begin(), seen.end(),
                             [](const Individual& a, const Individual& b) { return a.accuracy < b.accuracy; });
  }

  /// One block more or less in one stage of the best of a tournament among the latest: the stage and the direction that
  /// are drawn, or the next ones that the limits allow.
  static std::vector<std::int64_t> child(const SearchRun& run, const std::vector<Individual>& seen) {
    const Random random(run.options().seed, stream_of("evolution", static_cast<std::uint64_t>(seen.size())));
    const std::size_t latest = std::min(seen.size(), kPopulation);
    const auto drawn = [&](std::uint64_t place) -> const Individual& {
      return seen[seen.size() - 1 - random.below(place, latest)];
    };
    const Individual* parent = &drawn(0);
    for (std::uint64_t place = 1; place < kTournament; ++place) {
      if (drawn(place).accuracy > parent->accuracy) parent = &drawn(place);
    }
    const std::size_t stages = parent->depths.size(), first = random.below(kTournament, stages);
    const std::int64_t change = random.below(kTournament + 1, 2) == 1 ? 1 : -1;
    for (std::size_t i = 0; i < 2 * stages; ++i) {
      std::vector<std::int64_t> depths = parent->depths;
      depths[(first + i / 2) % stages] += i % 2 == 0 ? change : -change;
      if (allowed(run, depths)) return depths;
    }
    return parent->depths;
  }

  static bool allowed(const SearchRun& run, const std::vector<std::int64_t>& depths) {
    const auto [least, most] = std::minmax_element(depths.begin(), depths.end());
    return *least >= 1 && *most <= kMaxDepth &&
           over_limits(architecture_of(run.options(), run.data(), depths), run.options().limits).empty();
  }

  std::int64_t models_, work_a_model_;
};

}  // namespace

std::unique_ptr<Strategy> make_evolution(const SearchOptions& options, const RunData& data, std::int64_t total_work) {
  return std::make_unique<Evolution>(options, data, total_work);
}

}  // namespace stagewise
