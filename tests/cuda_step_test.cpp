// What a training step asks of a device, counted on the software GPU (tests/softgpu): ResNet-20's launches, and the bytes
// that they read and write, which docs/cuda.md has and this test holds there; its filters in bfloat16; what it uploads.
#include <gtest/gtest.h>

#include "autograd/functions.h"
#include "cuda/cuda_backend.h"
#include "layers/weight_average.h"
#include "search/training/trainer.h"
#include "tests/primitive_cases.h"
#include "tests/small_data.h"
#include "tests/softgpu/softgpu.h"

namespace stagewise {
namespace {

Architecture of_depths(const std::vector<std::int64_t>& depths) {
  Architecture architecture = Architecture::of_depths(depths);
  architecture.height = architecture.width = 8;  // a sixteenth of the pixels
  return architecture;
}

class StepOfResNet20 : public testing::Test {
 protected:
  /// Counts the third of three steps over `images` images, when all that stays has been allocated.
  void count(std::int64_t images, DType maps) {
    const Variable x(primitive_cases::map(*cuda_, {images, 8, 8, 3}, 1, maps));
    const Tensor labels = primitive_cases::labels(*cuda_, images, 10), rate = Tensor::full(*cuda_, {1}, 0.1);
    for (int step = 0; step < 3; ++step) {
      cuda_->synchronise();
      softgpu_count_traffic(step == 2 ? 1 : 0);
      Tape tape;
      const Context context{.tape = &tape, .training = true};
      tape.backward(softmax_cross_entropy(context, network_.forward(context, x), labels, 0.1));
      optimiser_->step(network_, rate);
      cuda_->synchronise();
    }
    softgpu_count_traffic(0);
  }

  /// Without the workspaces, for what a real cuDNN needs of them is its own: the stand-in's is as large as the output and
  /// 256 bytes more, and all of it is written. Nor do the parts count that our gradients of filters leave and join: beyond
  /// some batch size they don't grow.
  static double bytes_moved() {
    const softgpu_traffic all = softgpu_counted(""), convolutions = softgpu_counted("cudnnBackendExecute");
    const auto outputs = (convolutions.bytes_written - 256 * convolutions.works) / 2;
    const auto parts = 2 * softgpu_counted("join_parts_kernel").bytes_read;
    return static_cast<double>(all.bytes_read + all.bytes_written - convolutions.bytes_written + outputs - parts);
  }

  void expect(DType maps, std::uint64_t launches, double gigabytes_at_128) {
    // Maps and partial sums grow with the pixels, parameters don't: two sizes give the third.
    count(4, maps);
    EXPECT_EQ(softgpu_counted("").works, launches) << name_of(maps);
    const double of_a_quarter = bytes_moved();
    count(8, maps);
    const double of_an_image = 4 * (bytes_moved() - of_a_quarter);
    EXPECT_NEAR((of_a_quarter + 127.75 * of_an_image) / 1e9, gigabytes_at_128, 0.01 * gigabytes_at_128)
        << name_of(maps);
  }

  std::unique_ptr<Backend> cuda_ = make_cuda_backend();
  Network network_{*cuda_, of_depths({3, 3, 3}), 1};
  std::unique_ptr<Optimiser> optimiser_ = make_optimiser();
};

TEST_F(StepOfResNet20, HasTheLaunchesAndMovesTheBytesThatTheDocsSay) {
  expect(DType::float32, 226, 1.79);
  expect(DType::bfloat16, 220, 0.868);
}

TEST(Filters, AreRoundedAsTheHostDoesInOneLaunch) {
  const auto cuda = make_cuda_backend();
  std::vector<Tensor> filters;
  for (std::int64_t i = 0; i < 12; ++i) {
    const std::int64_t count = i < 4 ? 1022 + i : i % 7;
    filters.push_back(Tensor(*cuda, {count, 1, 1, 1}));
    cuda->draw_numbers({.out = filters.back(), .seed = static_cast<std::uint64_t>(i)});
  }
  EXPECT_TRUE(cuda->prepare_filters(filters, DType::float32).empty());
  cuda->synchronise();
  softgpu_count_traffic(1);
  const std::vector<Tensor> rounded = cuda->prepare_filters(filters, DType::bfloat16);
  cuda->synchronise();
  softgpu_count_traffic(0);
  EXPECT_EQ(softgpu_counted("_kernel").works, 1U);
  ASSERT_EQ(rounded.size(), filters.size());
  for (std::size_t i = 0; i < filters.size(); ++i) {
    std::vector<double> expected = filters[i].to_doubles();
    for (double& value : expected) value = static_cast<double>(BFloat16(value));
    ASSERT_EQ(rounded[i].to_doubles(), expected) << "tensor " << i;
  }
}

/// Whatever writes a weight, the next pass reads it: as a clone does, which has never had another one.
TEST(Filters, OfAPassAreThoseOfTheWeightsAsTheyAre) {
  const auto cuda = make_cuda_backend();
  Network network(*cuda, of_depths({1, 1}), 1), other(*cuda, of_depths({1, 1}), 2);
  const Tensor x = primitive_cases::map(*cuda, {2, 8, 8, 3}, 1, DType::bfloat16);
  const Tensor labels = primitive_cases::labels(*cuda, 2, 10);
  WeightAverage average(0.5);
  std::vector<double> last = network.evaluate(x).to_doubles();
  const auto expect_fresh = [&](const char* after) {
    const std::vector<double> logits = network.evaluate(x).to_doubles();
    EXPECT_NE(logits, last) << after;
    EXPECT_EQ(logits, network.clone()->evaluate(x).to_doubles()) << after;
    last = logits;
  };
  for (const OptimiserKind kind : {OptimiserKind::sgd, OptimiserKind::adamw}) {
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    tape.backward(softmax_cross_entropy(context, network.forward(context, Variable(x)), labels));
    average.step(network);
    make_optimiser({.kind = kind})->step(network, 0.1);
    expect_fresh("a step");
  }
  average.exchange(network);
  expect_fresh("an exchange with averages");
  network.insert(0, 1, BlockInitialiser::copy);
  expect_fresh("growing");
  network.copy_from(other);
  expect_fresh("loading");
}

/// A pass over 32 images in steps of four, recorded from the third on.
class RecordedPass : public testing::Test {
 protected:
  Learner learner() {
    Learner learner;
    learner.network = std::make_unique<Network>(*cuda_, data_.architecture({1, 1}, Variant::standard), 1);
    return learner;
  }

  std::unique_ptr<Backend> cuda_ = make_cuda_backend();
  const RunData data_ = small_data(*cuda_, 40, 10);
  const TrainingOptions options_{.epochs = 1, .batch_size = 4, .schedule = {.peak = 0.05}};
};

/// An upload would wait for the device.
TEST_F(RecordedPass, UploadsNothingInAStep) {
  std::int64_t steps = 0;
  Learner one = learner();
  train_epoch(one, data_.images, data_.train, options_, 0, 0, [&](const PassProgress&) {
    cuda_->synchronise();
    if (++steps == 4) softgpu_count_traffic(1);
    if (steps == 6) softgpu_count_traffic(0);
  });
  ASSERT_EQ(steps, 8);
  EXPECT_TRUE(cuda_->can_record());
  EXPECT_EQ(softgpu_counted("sgd_kernel").works, 2U);
  EXPECT_EQ(softgpu_counted("augment_kernel").works, 2U);
  EXPECT_EQ(softgpu_counted("draw_augmentation").works, 0U) << "the whole pass's are drawn at once";
  EXPECT_EQ(softgpu_counted("cudaMemcpy").works, 0U);
}

TEST_F(RecordedPass, ThatWasStoppedGoesOnWithTheSameBits) {
  std::vector<std::vector<double>> weights;
  for (const std::int64_t stop : {8, 5, 1}) {
    Learner one = learner();
    PassPosition position;
    PassResult result;
    bool stopped = false;
    const auto choose = [&](std::int64_t) -> std::optional<StepChoice> {
      if (position.batch == stop && !std::exchange(stopped, true)) return std::nullopt;
      return StepChoice{.rate = 0.05 / static_cast<double>(1 + position.batch)};
    };
    const auto go_on = [&] { return train_pass(one, data_.images, data_.train, options_, position, result, choose); };
    EXPECT_EQ(go_on(), stop == 8);
    if (stop < 8) {
      EXPECT_TRUE(go_on());
    }
    weights.emplace_back();
    for (const auto& [name, tensor] : one.network->tensors()) {
      const std::vector<double> values = tensor.to_doubles();
      weights.back().insert(weights.back().end(), values.begin(), values.end());
    }
    EXPECT_EQ(weights.back(), weights.front()) << "stopped before step " << stop;
  }
}

}  // namespace
}  // namespace stagewise
