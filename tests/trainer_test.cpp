// One pass over images: training, evaluating, and the running statistics that go with them.
#include "search/training/trainer.h"

#include <gtest/gtest.h>

#include "cpu/cpu_backend.h"
#include "tests/small_data.h"
#include "tests/temporary_folder.h"

namespace stagewise {
namespace {

class Trainer : public testing::Test {
 protected:
  Trainer() : data_(small_data(*backend_, 60, 20)) {
    learner_.network = std::make_unique<ResNet>(*backend_, data_.architecture({1, 1}, Variant::standard), 1);
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
  const ResNet& network = *learner_.network;
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

}  // namespace
}  // namespace stagewise
