// Networks of every kind of block, stem and shortcut: they train, grow, answer and are taken apart as plain ones are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "layers/image_gradient.h"
#include "layers/inference.h"
#include "layers/presets.h"
#include "layers/sgd.h"
#include "tensor/random.h"
#include "tests/largest_difference.h"

namespace stagewise {
namespace {

constexpr std::int64_t kImages = 6, kClasses = 3;

std::vector<NetworkStyle> styles() {
  std::vector<NetworkStyle> all;
  for (const BlockKind block :
       {BlockKind::basic, BlockKind::bottleneck, BlockKind::pre_activation, BlockKind::pre_activation_bottleneck}) {
    all.push_back({.block = block, .widths = {8, 12}});
    all.push_back({.block = block, .shortcut = Shortcut::padding, .widths = {6, 9}, .stem_width = 4});
    all.push_back({.block = block, .stem = StemKind::imagenet, .widths = {8, 8}});
  }
  return all;
}

std::string text_of(const Network& network) { return network.architecture().to_json(); }

/// A network of two stages, a batch for it, and some steps of training.
struct Trial {
  Network network;
  Tensor images;
  Sgd optimiser;

  Trial(Backend& backend, const NetworkStyle& style, DType dtype = DType::float32, DType maps = DType::float32)
      : network(backend, architecture(style), 3, dtype), images(random_images(backend, style, maps)) {}

  static Architecture architecture(const NetworkStyle& style) {
    Architecture architecture = Architecture::of_depths({2, 2}, Variant::standard, style);
    architecture.height = architecture.width = style.stem == StemKind::imagenet ? 33 : 10;
    architecture.classes = kClasses;
    return architecture;
  }
  static Tensor random_images(Backend& backend, const NetworkStyle& style, DType maps) {
    const std::int64_t side = architecture(style).height;
    std::vector<double> values(static_cast<std::size_t>(kImages * side * side * 3));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = Random(8).normal(i);
    return Tensor::from_doubles(backend, {kImages, side, side, 3}, values, maps);
  }
  Tensor labels() const {
    return Tensor::from_host(network.backend(), {kImages}, std::vector<std::int32_t>{0, 1, 2, 0, 1, 2});
  }

  double step(double rate = 0.02) {
    Tape tape;
    const Context context{.tape = &tape, .training = true};
    const Variable loss = softmax_cross_entropy(context, network.forward(context, Variable(images)), labels());
    tape.backward(loss);
    optimiser.step(network, rate);
    return loss.value().to_doubles()[0];
  }
  std::vector<double> losses(int steps) {
    std::vector<double> all;
    for (int i = 0; i < steps; ++i) all.push_back(step());
    return all;
  }
  std::vector<double> logits() const { return network.evaluate(images).to_doubles(); }
};

TEST(EveryBlock, TrainsOnTheCpuAsOnTheReference) {
  const auto reference = make_reference_backend(), cpu = make_cpu_backend({.threads = 2});
  for (const NetworkStyle& style : styles()) {
    Trial slow(*reference, style, DType::float64, DType::float64), fast(*cpu, style);
    fast.network.visit({.parameter = [&](const std::string& name, const Variable& parameter, bool) {
      const std::vector<double> values = slow.network.tensors().at(name).to_doubles();
      const Tensor same = Tensor::from_doubles(*cpu, parameter.shape(), values, DType::float32);
      parameter.set_value(same);
    }});
    const std::vector<double> expected = slow.losses(4), got = fast.losses(4);
    EXPECT_LT(largest_difference(got, expected), 1e-3) << text_of(fast.network);
    EXPECT_LT(fast.losses(16).back(), 0.7 * expected.front()) << "nothing is learnt: " << text_of(fast.network);
  }
}

TEST(EveryBlock, GrowsWithoutChangingTheFunctionAndTheNewBlockLearns) {
  const auto backend = make_cpu_backend({.threads = 2});
  for (const NetworkStyle& style : styles()) {
    for (const BlockInitialiser initialiser : {BlockInitialiser::zero_gamma, BlockInitialiser::copy_zero}) {
      Trial trial(*backend, style);
      trial.losses(2);
      const std::vector<double> before = trial.logits();
      const std::vector<float> folded = InferenceNetwork(trial.network).logits(trial.images).to_host<float>();
      const std::int64_t number = trial.network.insert(1, 1, initialiser);
      EXPECT_EQ(trial.logits(), before) << text_of(trial.network);
      EXPECT_EQ(InferenceNetwork(trial.network).logits(trial.images).to_host<float>(), folded);
      const auto of_block = [&] {
        std::map<std::string, std::vector<double>> tensors;
        for (const auto& [name, tensor] : trial.network.tensors()) {
          if (name.starts_with(block_name(1, number) + ".")) tensors[name] = tensor.to_doubles();
        }
        return tensors;
      };
      const auto fresh = of_block();
      // What closes the block moves in the first step, and opens the way for the rest of it.
      trial.losses(2);
      for (const auto& [name, values] : of_block()) EXPECT_NE(values, fresh.at(name)) << name;

      trial.network.skip(1, number);
      const std::vector<double> skipped = trial.logits();
      EXPECT_NE(skipped, before);
      trial.network.skip(1, number, false);
      trial.network.remove(1, number);
      EXPECT_EQ(trial.logits(), skipped);
    }
  }
}

TEST(EveryBlock, AnswersFoldedAsItDoesInEvaluation) {
  const std::unique_ptr<Backend> backends[] = {make_reference_backend(), make_cpu_backend({.threads = 2})};
  for (const NetworkStyle& style : styles()) {
    for (const auto& backend : backends) {
      Trial trial(*backend, style);
      trial.losses(3);
      const std::vector<double> folded = InferenceNetwork(trial.network).logits(trial.images).to_doubles();
      EXPECT_LT(largest_difference(folded, trial.logits()), 1e-4) << backend->name() << text_of(trial.network);
      EXPECT_GT(largest_difference(folded, std::vector<double>(folded.size(), 0.0)), 0.05);
    }
  }
}

TEST(EveryBlock, HasAnImageGradientThatIsCentralDifferences) {
  const auto backend = make_reference_backend();
  for (const NetworkStyle& style : styles()) {
    Trial trial(*backend, style, DType::float64, DType::float64);
    trial.losses(1);
    const std::vector<double> gradient = image_gradient(trial.network, trial.images, trial.labels()).to_doubles();
    const Shape shape = trial.images.shape();
    std::vector<double> values = trial.images.to_doubles();
    const auto loss_with = [&](std::size_t pixel, double change) {
      values[pixel] += change;
      const Tensor images = Tensor::from_doubles(*backend, shape, values, DType::float64);
      values[pixel] -= change;
      return softmax_cross_entropy({}, Variable(trial.network.evaluate(images)), trial.labels())
          .value()
          .to_doubles()[0];
    };
    for (std::size_t i = 5; i < values.size(); i += values.size() / 5) {
      EXPECT_NEAR(gradient[i], (loss_with(i, 1e-5) - loss_with(i, -1e-5)) / 2e-5, 1e-7) << text_of(trial.network);
    }
  }
}

TEST(EveryBlock, TrainsWithMapsInBFloat16WithinTheirRounding) {
  const auto backend = make_cpu_backend({.threads = 2});
  for (const NetworkStyle& style : styles()) {
    Trial narrow(*backend, style, DType::float32, DType::bfloat16), wide(*backend, style);
    const std::vector<double> narrow_losses = narrow.losses(4), wide_losses = wide.losses(4);
    for (std::size_t step = 0; step < 4; ++step) {
      EXPECT_NEAR(narrow_losses[step], wide_losses[step], 0.03 + 0.03 * static_cast<double>(step))
          << text_of(narrow.network);
    }
    EXPECT_NE(narrow_losses, wide_losses);
  }
}

TEST(EveryBlock, KeepsItsBitsWhateverTheNumberOfThreads) {
  for (const NetworkStyle& style : styles()) {
    std::vector<std::map<std::string, std::vector<float>>> weights;
    for (const int threads : {1, 2, 3}) {
      const auto backend = make_cpu_backend({.threads = threads});
      Trial trial(*backend, style);
      trial.losses(2);
      for (auto& one = weights.emplace_back(); const auto& [name, tensor] : trial.network.tensors()) {
        one[name] = tensor.to_host<float>();
      }
    }
    EXPECT_EQ(weights[1], weights[0]);
    EXPECT_EQ(weights[2], weights[0]);
  }
}

/// A pass over an image of 224 pixels each way, on the plans for large maps.
TEST(Presets, OfLargeImagesComputeWhatTheReferenceDoes) {
  Architecture architecture = preset("resnet18");
  architecture.classes = 5;
  for (auto& stage : architecture.stages) stage.width /= 16, stage.blocks.resize(1);
  const auto reference = make_reference_backend(), cpu = make_cpu_backend({.threads = 2});
  std::vector<double> values(224 * 224 * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = Random(4).normal(i);
  std::vector<std::vector<double>> results[2];
  for (const auto* backend : {&reference, &cpu}) {
    const Network network(**backend, architecture, 1);
    const Tensor images = Tensor::from_doubles(**backend, {1, 224, 224, 3}, values, DType::float32);
    std::vector<Tensor> sums;
    auto& result = results[backend == &cpu ? 1 : 0];
    result.push_back(network.evaluate(images, &sums).to_doubles());
    for (const Tensor& sum : sums) result.push_back(sum.to_doubles());
  }
  EXPECT_EQ(results[0][1].size(), 56U * 56U * 4U);
  for (std::size_t i = 0; i < results[0].size(); ++i) EXPECT_LT(largest_difference(results[1][i], results[0][i]), 1e-4);
}

}  // namespace
}  // namespace stagewise
