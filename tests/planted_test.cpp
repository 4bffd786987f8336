// The search as a whole on data of which it is known what depth is worth: the same network on every instruction set.
#include "tests/search_runs.h"

namespace stagewise {
namespace {

/// Two classes: whether the left and the right edge are alike. A feature that doesn't see both edges knows nothing, and
/// neither does a sum of such features, which is what a network's average over the image is.
Images edges(std::int64_t count) {
  const Random random(3, stream_of("edges"));
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
    options_.training.epochs = 30;
    options_.training.schedule.peak = 0.1;
    options_.training.schedule.warm_up = 0.02;
    options_.margin = 0.03;  // for so few images and steps
    options_.shortest_trial = 0;
    options_.training.augmentation = {.crop_padding = 0, .flip = Flip::none};
  }

  using Depths = std::vector<std::int64_t>;

  /// Searches by each instruction set up to the decision, and expects a clear one for this network.
  void expect_found(const std::function<RunData(Backend&)>& data, const Depths& expected) {
    for (const std::string& set : cpu_instruction_sets()) {
      SCOPED_TRACE(set);
      const auto backend = make_cpu_backend({.instruction_set = set});
      const RunData images = data(*backend);
      const RunDirectory run = new_run(set);
      SearchRun search(*backend, images, options_, run, progress_);
      while (search.state().round == 0 || !search.state().on_trial.empty()) search.step();
      const auto decisions = journal_of(run, "decision");
      ASSERT_EQ(decisions.size(), 1U);
      EXPECT_EQ(search.network().architecture().depths(), expected) << decisions[0];
      for (const auto& stage : decisions[0]["stages"]) EXPECT_NE(stage["verdict"], "toss-up") << stage;
    }
  }
};

TEST_F(Planted, WhereDepthCannotHelpTheBlocksAreTakenOut) {
  options_.grow_to = {2, 2};
  expect_found([](Backend& backend) { return coloured_data(backend, 600, 0.1); }, {1, 1});
}

TEST_F(Planted, WhereAStageMustGrowItDoes) {
  options_.start = {1};
  options_.grow_to = {3};
  expect_found(
      [](Backend& backend) {
        const Dataset dataset{
            .description = "edges", .classes = {"differ", "equal"}, .train = edges(600), .load_test = [] {
              return edges(20);
            }};
        return run_data(backend, dataset);
      },
      {3});
}

}  // namespace
}  // namespace stagewise
