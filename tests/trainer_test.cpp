// One pass over images: training, evaluating, and the running statistics that go with them.
#include "search/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cpu/cpu_backend.h"
#include "tests/small_data.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

class Trainer : public testing::Test {
 protected:
  Trainer() : data_(small_data(*backend_, 60, 20)) {
    learner_.network = std::make_unique<Network>(*backend_, data_.architecture({1, 1}, Variant::standard), 1);
  }

  std::unique_ptr<Backend> backend_ = make_cpu_backend();
  RunData data_;
  Learner learner_;
};

TEST_F(Trainer, LowersTheLossAndADivergingOneIsAnError) {
  TrainingOptions options{.epochs = 6, .batch_size = 12, .schedule = {.peak = 0.1}};
  const double first = train_epoch(learner_, data_.images, data_.train, options, 0).loss;
  double last = 0.0;
  for (std::int64_t epoch = 1; epoch < options.epochs; ++epoch) {
    last = train_epoch(learner_, data_.images, data_.train, options, epoch).loss;
  }
  EXPECT_LT(last, first - 0.1);
  options.schedule = {.kind = ScheduleKind::constant, .peak = 1e30};
  EXPECT_THROW(train_epoch(learner_, data_.images, data_.train, options, 0), Error);
}

TEST_F(Trainer, EvaluationCountsEveryImageOnceWhateverTheBatches) {
  const Network& network = *learner_.network;
  const std::vector<std::int32_t> all = all_indices(data_.images.count());
  const PassResult whole = evaluate(network, data_.images, all);
  PassResult parts;
  for (const std::int32_t index : all) {
    const PassResult one = evaluate(network, data_.images, std::span(&index, 1));
    parts.images += one.images;
    parts.right += one.right;
    parts.loss += one.loss / static_cast<double>(all.size());
  }
  EXPECT_EQ(whole.images, 60);
  EXPECT_EQ(parts.images, whole.images);
  EXPECT_EQ(parts.right, whole.right);
  EXPECT_NEAR(parts.loss, whole.loss, 1e-5);
}

/// A network's own loss is in the thousands of millions: its classifier is sure of a class, and wrong.
TEST_F(Trainer, AnAbsurdLossIsADivergenceThoughItIsANumber) {
  backend_->copy_from_host(std::vector<float>{1e9F, 0, 0, 0, 0, 0, 0, 0, 0, 0}.data(),
                           learner_.network->classifier_bias().value());
  const TrainingOptions options{.epochs = 1, .batch_size = 48, .schedule = {.peak = 1e-6}};
  const std::string message = message_of([&] { train_epoch(learner_, data_.images, data_.train, options, 0); });
  EXPECT_TRUE(contains(message, "diverged"));
  EXPECT_TRUE(contains(message, "--learning-rate"));
}

TEST_F(Trainer, RunningStatisticsAreThePlainMeanOverTheBatches) {
  const RunData data = small_data(*backend_, 600, 20);  // batches of 256, 256 and 88
  const std::vector<std::int32_t> all = all_indices(600);
  Network& network = *learner_.network;
  const auto before = network.tensors();
  std::vector<double> kept;
  for (const auto& [name, tensor] : before) {
    if (name.find("running") == std::string::npos) kept.push_back(tensor.to_doubles()[0]);
  }
  estimate_running_statistics(network, data.images, all);
  // The stem's, by hand: a 3x3 convolution, one pixel of padding, over images of 8x8.
  const std::vector<double> weight = network.convolution("stem.conv").weight.value().to_doubles();
  std::vector<double> mean(16), variance(16);
  for (std::size_t from = 0; from < 600; from += 256) {
    const std::size_t count = std::min<std::size_t>(256, 600 - from);
    const std::vector<double> x = data.images.batch(std::span(all).subspan(from, count)).x.to_doubles();
    for (std::size_t k = 0; k < 16; ++k) {
      double sum = 0.0, squares = 0.0;
      for (std::size_t n = 0; n < count; ++n) {
        for (int h = 0; h < 8; ++h) {
          for (int w = 0; w < 8; ++w) {
            double y = 0.0;
            for (int r = 0; r < 3; ++r) {
              for (int s = 0; s < 3; ++s) {
                const int row = h + r - 1, column = w + s - 1;
                if (row < 0 || row > 7 || column < 0 || column > 7) continue;
                for (int c = 0; c < 3; ++c) {
                  y += x[((n * 8 + static_cast<std::size_t>(row)) * 8 + static_cast<std::size_t>(column)) * 3 +
                         static_cast<std::size_t>(c)] *
                       weight[((k * 3 + static_cast<std::size_t>(r)) * 3 + static_cast<std::size_t>(s)) * 3 +
                              static_cast<std::size_t>(c)];
                }
              }
            }
            sum += y;
            squares += y * y;
          }
        }
      }
      const double pixels = static_cast<double>(count) * 64;
      mean[k] += sum / pixels / 3;
      variance[k] += (squares - sum * sum / pixels) / (pixels - 1) / 3;
    }
  }
  const auto after = network.tensors();
  const std::vector<double> got_mean = after.at("stem.batch_norm.running_mean").to_doubles(),
                            got_variance = after.at("stem.batch_norm.running_variance").to_doubles();
  for (std::size_t k = 0; k < 16; ++k) {
    EXPECT_NEAR(got_mean[k], mean[k], 1e-5);
    EXPECT_NEAR(got_variance[k], variance[k], 1e-5 * std::max(1.0, variance[k]));
  }
  // The last one, from the batches one by one: 1 of each is its own moments.
  const std::string last = "stages.1.blocks.0.batch_norm2.running_mean";
  const std::vector<double> got = after.at(last).to_doubles();
  std::vector<double> expected(got.size());
  for (std::size_t from = 0; from < 600; from += 256) {
    const auto clone = network.clone();
    const Batch batch = data.images.batch(std::span(all).subspan(from, std::min<std::size_t>(256, 600 - from)));
    clone->forward({.training = true, .statistics_momentum = 1.0}, Variable(batch.x));
    const std::vector<double> moments = clone->tensors().at(last).to_doubles();
    for (std::size_t k = 0; k < expected.size(); ++k) expected[k] += moments[k] / 3;
  }
  for (std::size_t k = 0; k < expected.size(); ++k) EXPECT_NEAR(got[k], expected[k], 1e-5);
  // Nothing else moved.
  std::vector<double> now;
  for (const auto& [name, tensor] : after) {
    if (name.find("running") == std::string::npos) now.push_back(tensor.to_doubles()[0]);
  }
  EXPECT_EQ(now, kept);
}

}  // namespace
}  // namespace stagewise
