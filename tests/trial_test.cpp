// Blocks on trial: which are skipped, and what a stage's score says.
#include "search/trial.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cpu/cpu_backend.h"
#include "search/work.h"
#include "tests/small_data.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

TEST(DrawnForm, SkipsEachStagesBlocksIndependentlyWithTheProbability) {
  const BlocksOnTrial on_trial = {{1}, {}, {3, 4}};
  std::array<int, 8> counts{};
  const int steps = 20'000;
  for (int step = 0; step < steps; ++step) {
    const NetworkForm form = drawn_form(on_trial, 0.3, 7, step);
    ASSERT_LT(form, 8U);
    ++counts.at(form);
    EXPECT_EQ(drawn_form(on_trial, 0.3, 7, step), form);
  }
  const auto expect_share = [&](NetworkForm form, double share) {
    EXPECT_NEAR(counts.at(form), steps * share, 5 * std::sqrt(steps * share * (1 - share))) << form;
  };
  expect_share(0, 0.49);
  expect_share(1, 0.21);
  expect_share(4, 0.21);
  expect_share(5, 0.09);
  for (const NetworkForm form : {2, 3, 6, 7}) EXPECT_EQ(counts.at(form), 0) << "stage 2 has none to skip";
  for (int step = 0; step < 100; ++step) EXPECT_EQ(drawn_form(on_trial, 0.0, 7, step), 0U);
}

/// A network of two stages with a block on trial in each, and images it was trained on a little.
class Trial : public testing::Test {
 protected:
  Trial() : data_(coloured_data(*backend_, 300, 0.0)) {
    learner_.network = std::make_unique<Network>(*backend_, data_.architecture({1, 1}, Variant::standard), 1);
    train(4);
  }

  void train(std::int64_t epochs) {
    const TrainingOptions options{.epochs = epochs, .batch_size = 30, .schedule = {.peak = 0.1}};
    for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
      train_epoch(learner_, data_.images, data_.train, options, epoch);
    }
  }

  void insert(BlockInitialiser first, BlockInitialiser second) {
    on_trial_ = {{network().insert(0, 1, first)}, {network().insert(1, 1, second)}};
  }

  Network& network() { return *learner_.network; }
  TrialImages images() const { return {data_.images, data_.train, data_.train, data_.validation}; }

  /// The held-out losses of the network as it stands, its running statistics estimated.
  std::vector<float> losses() {
    estimate_running_statistics(network(), data_.images, data_.train);
    return predict_all(InferenceNetwork(network()), data_.images, data_.validation).loss;
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  RunData data_;
  Learner learner_;
  BlocksOnTrial on_trial_;
};

TEST_F(Trial, AFormSkipsTheBlocksOfItsStagesAndNoOthers) {
  insert(BlockInitialiser::he, BlockInitialiser::he);
  const std::vector<std::vector<std::int64_t>> depths = {{2, 2}, {1, 2}, {2, 1}, {1, 1}};
  for (NetworkForm form = 0; form < 4; ++form) {
    take_form(network(), on_trial_, form);
    EXPECT_EQ(network().active_architecture().depths(), depths[form]);
  }
  take_form(network(), on_trial_, 0);
  EXPECT_EQ(network().active_architecture(), network().architecture());
}

TEST_F(Trial, ABlockThatDoesNothingScoresNothing) {
  insert(BlockInitialiser::zero_gamma, BlockInitialiser::copy_zero);
  for (const StageScore& score : score_trial(network(), on_trial_, images(), "ablation", 0, 1)) {
    EXPECT_NEAR(score.value, 0.0, 1e-6);
    EXPECT_LT(score.lower, 0.0);
    EXPECT_GT(score.upper, 0.0);
    EXPECT_LT(score.upper - score.lower, 0.01);
  }
}

TEST_F(Trial, ABlockThatTheNetworkCannotDoWithoutScoresWhatItSaves) {
  insert(BlockInitialiser::zero_gamma, BlockInitialiser::zero_gamma);
  // The second block adds 4 to a channel, which the classifier counts on: without it, each class is off by so much.
  const auto tensors = network().tensors();
  const auto change = [&](const Tensor& tensor, const std::function<void(std::vector<float>&)>& how) {
    std::vector<float> values = tensor.to_host<float>();
    how(values);
    backend_->copy_from_host(values.data(), tensor);
  };
  const std::string block = block_name(1, on_trial_[1][0]);
  change(tensors.at(block + ".batch_norm2.bias"), [](std::vector<float>& bias) { bias[0] = 4.0F; });
  change(tensors.at("classifier.weight"), [](std::vector<float>& weight) { weight[0] = 1.0F; });  // class 0, channel 0
  change(tensors.at("classifier.bias"), [](std::vector<float>& bias) { bias[0] -= 4.0F; });
  const std::vector<float> whole = losses();
  network().skip(1, on_trial_[1][0]);
  const std::vector<float> without = losses();
  network().skip(1, on_trial_[1][0], false);
  double saved = 0.0;
  for (std::size_t i = 0; i < whole.size(); ++i) saved += (without[i] - whole[i]) / static_cast<double>(whole.size());
  const std::vector<StageScore> scores = score_trial(network(), on_trial_, images(), "ablation", 0, 1);
  EXPECT_NEAR(scores[0].value, 0.0, 1e-6);
  EXPECT_GT(saved, 0.3);
  EXPECT_NEAR(scores[1].value, saved, 1e-5);
  EXPECT_GT(scores[1].lower, 0.1);
  EXPECT_EQ(network().active_architecture(), network().architecture()) << "all blocks are back";
}

TEST_F(Trial, AnAblationsIntervalIsTheImagesAndTheTwins) {
  insert(BlockInitialiser::he, BlockInitialiser::gaussian_bn);
  train(2);
  const std::vector<StageScore> scores = score_trial(network(), on_trial_, images(), "ablation", 0, 1);
  const std::vector<float> whole = losses();
  for (std::size_t stage = 0; stage < 2; ++stage) {
    take_form(network(), on_trial_, NetworkForm{1} << stage);
    const std::vector<float> without = losses();
    const auto count = static_cast<double>(whole.size());
    double mean = 0.0, squares = 0.0;
    for (std::size_t i = 0; i < whole.size(); ++i) mean += (without[i] - whole[i]) / count;
    for (std::size_t i = 0; i < whole.size(); ++i) squares += std::pow(without[i] - whole[i] - mean, 2.0);
    // bench/search/twins: a deviation of 0.002 and 15% of the score from training to training.
    const double deviation = std::sqrt(squares / (count - 1) / count + 0.002 * 0.002 + std::pow(0.15 * mean, 2.0));
    EXPECT_NEAR(scores[stage].value, mean, 1e-5);
    EXPECT_NEAR(scores[stage].upper - scores[stage].value, 1.96 * deviation, 1e-5);
    EXPECT_NEAR(scores[stage].value - scores[stage].lower, 1.96 * deviation, 1e-5);
    EXPECT_NE(mean, 0.0);
  }
}

TEST_F(Trial, OtherCriteriaScoreTheDifferenceThatTheBlocksMake) {
  insert(BlockInitialiser::he, BlockInitialiser::he);
  on_trial_[1].push_back(network().insert(1, 1, BlockInitialiser::he));
  const std::vector<StageScore> uniform = score_trial(network(), on_trial_, images(), "uniform", 0, 1);
  EXPECT_EQ(uniform[0].value, 1.0);  // scores a stage by its depth
  EXPECT_EQ(uniform[1].value, 2.0);
  EXPECT_EQ(uniform[0].upper, 1.0);
  for (const char* criterion : {"vip", "r2y", "probe"}) {
    for (const StageScore& score : score_trial(network(), on_trial_, images(), criterion, 0, 1)) {
      EXPECT_TRUE(std::isfinite(score.value)) << criterion;
      EXPECT_LE(score.lower, score.value) << criterion;
      EXPECT_LE(score.value, score.upper) << criterion;
    }
  }
  on_trial_[0].clear();
  EXPECT_EQ(score_trial(network(), on_trial_, images(), "uniform", 0, 1)[0].value, 0.0);
  EXPECT_EQ(trial_criterion_names().front(), "ablation");
}

TEST_F(Trial, ScoringCountsEveryLookAtAThird) {
  insert(BlockInitialiser::he, BlockInitialiser::he);
  // The network and each of the two forms: running statistics, and what the criterion looks at.
  const Architecture& architecture = network().architecture();
  EXPECT_EQ(scoring_work(network(), on_trial_, images(), "ablation"), 3 * evaluation_work(architecture, 240 + 60));
  EXPECT_EQ(scoring_work(network(), on_trial_, images(), "vip"), 3 * evaluation_work(architecture, 240 + 240));
  EXPECT_EQ(scoring_work(network(), on_trial_, images(), "probe"), 3 * evaluation_work(architecture, 240 + 240 + 60));
}

TEST_F(Trial, AblationNeedsHeldOutImages) {
  insert(BlockInitialiser::he, BlockInitialiser::he);
  TrialImages none = images();
  none.held_out = {};
  EXPECT_TRUE(contains(message_of([&] { score_trial(network(), on_trial_, none, "ablation", 0, 1); }), "--validation"));
}

}  // namespace
}  // namespace stagewise
