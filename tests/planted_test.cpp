// The search as a whole on data of which it is known what depth is worth: the same network on every instruction set.
#include <iostream>

#include "tests/search_runs.h"

namespace stagewise {
namespace {

/// Two classes: whether the left and the right edge are alike. A feature that doesn't see both edges knows nothing, and
/// neither does a sum of such features, which is what a network's average over the image is.
Images edges(std::int64_t count, std::uint64_t seed) {
  const Random random(seed, stream_of("edges"));
  Images images{.height = 8, .width = 8};
  std::uint64_t draw = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const bool left = random.below(draw++, 2) == 1, right = random.below(draw++, 2) == 1;
    for (int pixel = 0; pixel < 64; ++pixel) {
      const int column = pixel % 8;
      const bool bright = (column == 0 && left) || (column == 7 && right);
      for (int channel = 0; channel < 3; ++channel) {
        images.pixels.push_back(static_cast<std::uint8_t>((bright ? 200 : 100) + random.below(draw++, 20)));
      }
    }
    images.labels.push_back(left == right ? 1 : 0);
  }
  return images;
}

class Planted : public SearchRuns {
 protected:
  Planted() {
    options_.training.batch_size = 8;
    options_.training.epochs = 60;
    options_.training.schedule.peak = 0.1;
    options_.training.schedule.warm_up = 0.02;
    options_.margin = 0.03;  // for so few images and steps
    options_.shortest_trial = 0;
    options_.training.augmentation = {.crop_padding = 0, .flip = Flip::none};
  }

  using Depths = std::vector<std::int64_t>;
  using Data = std::function<RunData(Backend&, std::uint64_t seed)>;

  /// Depth is worth nothing: the colour says it all.
  static RunData coloured(Backend& backend, std::uint64_t seed) { return coloured_data(backend, 600, 0.1, seed); }
  /// Depth is worth everything.
  static RunData of_edges(Backend& backend, std::uint64_t seed) {
    const Dataset dataset{
        .description = "edges", .classes = {"differ", "equal"}, .train = edges(600, seed), .load_test = [=] {
          return edges(20, seed + 100);
        }};
    return run_data(backend, dataset);
  }

  /// Searches up to the decision, and returns it.
  nlohmann::json decision_of(SearchRun& search, const RunDirectory& run) {
    while (search.state().round == 0 || !search.state().on_trial.empty()) search.step();
    const auto decisions = journal_of(run, "decision");
    EXPECT_EQ(decisions.size(), 1U);
    return decisions.at(0);
  }

  /// A clear decision for this network, by each instruction set.
  void expect_found(const Data& data, const Depths& expected) {
    for (const std::string& set : cpu_instruction_sets()) {
      SCOPED_TRACE(set);
      const auto backend = make_cpu_backend({.instruction_set = set});
      const RunData images = data(*backend, 3);
      const RunDirectory run = new_run(set);
      SearchRun search(*backend, images, options_, run, progress_);
      const nlohmann::json decision = decision_of(search, run);
      EXPECT_EQ(search.network().architecture().depths(), expected) << decision;
      for (const auto& stage : decision["stages"]) EXPECT_NE(stage["verdict"], "toss-up") << stage;
    }
  }

  /// How many of twenty searches, each with weights, order and images of its own, find this network.
  int found_by_twenty(const Data& data, const Depths& expected) {
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      options_.seed = seed;
      const RunData images = data(*backend_, seed);
      const RunDirectory run = new_run(concat("seed-", seed));
      SearchRun search(*backend_, images, options_, run, progress_);
      const nlohmann::json decision = decision_of(search, run);
      if (search.network().architecture().depths() == expected) {
        ++found;
      } else {
        std::cout << "seed " << seed << ": " << decision << "\n";
      }
    }
    std::cout << found << " of 20\n";
    return found;
  }
};

TEST_F(Planted, WhereDepthCannotHelpTheBlocksAreTakenOut) {
  options_.grow_to = {2, 2};
  expect_found(coloured, {1, 1});
}

TEST_F(Planted, WhereAStageMustGrowItDoes) {
  options_.start = {1};
  options_.grow_to = {3};
  expect_found(of_edges, {3});
}

using TwentySeeds = Planted;

TEST_F(TwentySeeds, NineteenTakeOutWhatCannotHelp) {
  options_.grow_to = {2, 2};
  options_.training.epochs = 24;  // as many steps on more images, of which 60 held out would be too few to be sure
  const auto many = [](Backend& backend, std::uint64_t seed) { return coloured_data(backend, 1500, 0.1, seed); };
  EXPECT_GE(found_by_twenty(many, {1, 1}), 19);
}

TEST_F(TwentySeeds, NineteenGrowWhatMustGrow) {
  options_.start = {1};
  options_.grow_to = {3};
  EXPECT_GE(found_by_twenty(of_edges, {3}), 19);
}

}  // namespace
}  // namespace stagewise
