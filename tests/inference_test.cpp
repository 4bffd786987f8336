// Networks that only answer, what their images do to that, and networks whose feature maps are stored in bfloat16.
#include "layers/inference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cpu/cpu_backend.h"
#include "cpu/reference_backend.h"
#include "layers/cost.h"
#include "layers/image_gradient.h"
#include "layers/sgd.h"
#include "tensor/random.h"
#include "tests/largest_difference.h"

namespace stagewise {
namespace {

/// A network whose running statistics are no longer 0 and 1, because it has been trained a little.
struct Trained {
  Network network;
  Tensor images;
  std::vector<float> losses;

  Trained(Backend& backend, Variant variant, DType maps, int steps)
      : network(backend, architecture(variant), 3), images(random_images(backend, variant, maps)) {
    const std::vector<std::int32_t> labels = {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
    const Tensor targets = Tensor::from_host(backend, {12}, labels);
    Sgd optimiser;
    for (int step = 0; step < steps; ++step) {
      Tape tape;
      const Context context{.tape = &tape, .training = true};
      const Variable loss = softmax_cross_entropy(context, network.forward(context, Variable(images)), targets);
      tape.backward(loss);
      optimiser.step(network, 0.05);
      losses.push_back(loss.value().to_host<float>()[0]);
    }
  }

  static Architecture architecture(Variant variant) {
    Architecture architecture = Architecture::of_depths({2, 1, 2}, variant);
    architecture.height = variant == Variant::paper ? 8 : 11, architecture.width = 12;
    architecture.classes = 3;
    return architecture;
  }
  static Tensor random_images(Backend& backend, Variant variant, DType maps) {
    const Shape shape{12, architecture(variant).height, 12, 3};
    std::vector<double> values(static_cast<std::size_t>(shape.count()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = Random(8).normal(i);
    return Tensor::from_doubles(backend, shape, values, maps);
  }
};

TEST(InferenceNetwork, AnswersAsTheNetworkDoesInEvaluation) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    const std::unique_ptr<Backend> backends[] = {make_reference_backend(), make_cpu_backend({.threads = 2})};
    for (const auto& backend : backends) {
      const Trained trained(*backend, variant, DType::float32, 3);
      const InferenceNetwork inference(trained.network);
      const Tensor logits = inference.logits(trained.images);
      const Tensor expected = trained.network.evaluate(trained.images);
      EXPECT_LT(largest_difference(logits.to_doubles(), expected.to_doubles()), 1e-4) << backend->name();
      EXPECT_GT(largest_difference(expected.to_doubles(), std::vector<double>(36, 0.0)), 0.1);
    }
  }
}

TEST(InferenceNetwork, OneImageAloneGetsTheAnswerItGetsInABatch) {
  const auto backend = make_cpu_backend({.threads = 2});
  const Trained trained(*backend, Variant::standard, DType::float32, 3);
  const InferenceNetwork inference(trained.network);
  const std::vector<double> all = inference.logits(trained.images).to_doubles();
  const std::vector<float> pixels = trained.images.to_host<float>();
  const Tensor first =
      Tensor::from_host(*backend, {1, 11, 12, 3}, std::vector<float>(pixels.begin(), pixels.begin() + 11 * 12 * 3));
  EXPECT_EQ(inference.logits(first).to_doubles(), std::vector<double>(all.begin(), all.begin() + 3));
}

TEST(InferenceNetwork, StaysAsItWasWhenTheNetworkLearnsOn) {
  const auto backend = make_cpu_backend({.threads = 2});
  const Trained trained(*backend, Variant::standard, DType::float32, 3);
  const InferenceNetwork inference(trained.network);
  const std::vector<double> before = inference.logits(trained.images).to_doubles();
  trained.network.visit({.parameter = [&](const std::string&, const Variable& parameter, bool) {
    backend->fill(parameter.value(), 0.0);
  }});
  EXPECT_EQ(inference.logits(trained.images).to_doubles(), before);
}

TEST(InferenceNetwork, RefusesImagesOfAnotherSizeOrType) {
  const auto backend = make_cpu_backend();
  const Trained trained(*backend, Variant::standard, DType::float32, 1);
  const InferenceNetwork inference(trained.network);
  EXPECT_THROW(inference.logits(Tensor(*backend, {1, 12, 12, 3})), Error);
  EXPECT_THROW(inference.logits(Tensor(*backend, {1, 11, 12, 3}, DType::int32)), Error);
  EXPECT_THROW(inference.logits(Tensor()), Error);
}

TEST(ImageGradient, IsCentralDifferencesOfTheLossOfTheNetworkThatAnswers) {
  const auto backend = make_reference_backend();
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    Architecture architecture = Architecture::of_depths({1, 2}, variant);
    architecture.height = architecture.width = 6;
    architecture.classes = 3;
    Network network(*backend, architecture, 5, DType::float64);
    const Shape shape{2, 6, 6, 3};
    std::vector<double> values(static_cast<std::size_t>(shape.count()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = Random(9).normal(i);
    const Tensor labels = Tensor::from_host<std::int32_t>(*backend, {2}, {2, 0});
    const auto images = [&] { return Tensor::from_doubles(*backend, shape, values, DType::float64); };
    network.forward(Context{.training = true}, Variable(images()));  // so that the statistics aren't 0 and 1
    const std::vector<double> gradient = image_gradient(network, images(), labels).to_doubles();
    const auto loss_with = [&](std::size_t pixel, double change) {
      const double before = values[pixel];
      values[pixel] += change;
      const Tensor loss = softmax_cross_entropy({}, Variable(network.evaluate(images())), labels).value();
      values[pixel] = before;
      return loss.to_doubles()[0];
    };
    for (std::size_t i = 0; i < values.size(); i += 7) {
      EXPECT_NEAR(gradient[i], (loss_with(i, 1e-5) - loss_with(i, -1e-5)) / 2e-5, 1e-7) << i;
    }
    EXPECT_GT(largest_difference(gradient, std::vector<double>(gradient.size(), 0.0)), 1e-3);
  }
}

TEST(BFloat16Maps, TrainAsFloat32DoesWithinTheirRounding) {
  const auto backend = make_cpu_backend({.threads = 2});
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    const Trained narrow(*backend, variant, DType::bfloat16, 8), wide(*backend, variant, DType::float32, 8);
    EXPECT_LT(wide.losses.back(), 0.7F * wide.losses.front());  // there is something to follow
    for (std::size_t step = 0; step < wide.losses.size(); ++step) {
      EXPECT_NEAR(narrow.losses[step], wide.losses[step], 0.02 + 0.02 * static_cast<double>(step)) << "step " << step;
    }
    EXPECT_NE(narrow.losses, wide.losses);
    const InferenceNetwork inference(narrow.network);
    const Tensor logits = inference.logits(narrow.images);
    EXPECT_EQ(logits.dtype(), DType::float32);
    const Tensor expected = narrow.network.evaluate(narrow.images);
    EXPECT_LT(largest_difference(logits.to_doubles(), expected.to_doubles()), 0.1);
  }
}

TEST(BFloat16Maps, TheNumberOfThreadsDoesNotChangeABit) {
  const auto weights = [](int threads) {
    const auto backend = make_cpu_backend({.threads = threads});
    const Trained trained(*backend, Variant::standard, DType::bfloat16, 4);
    std::vector<std::vector<float>> all;
    for (const auto& [name, tensor] : trained.network.tensors()) all.push_back(tensor.to_host<float>());
    return all;
  };
  const auto one = weights(1);
  EXPECT_EQ(weights(2), one);
  EXPECT_EQ(weights(3), one);
}

TEST(BFloat16Maps, AreRefusedWhereTheBackendLacksThem) {
  const auto reference = make_reference_backend();
  const Tensor x(*reference, {1, 4, 4, 3}, DType::bfloat16), weight(*reference, {2, 3, 3, 3});
  EXPECT_THROW(conv2d(Context{}, Variable(x), Variable(weight), {}, {}), Error);
  const auto cpu = make_cpu_backend();
  EXPECT_THROW(Network(*cpu, Trained::architecture(Variant::standard), 1, DType::bfloat16), Error);
  EXPECT_THROW(linear(Context{}, Variable(Tensor(*cpu, {2, 3}, DType::bfloat16)), Variable(Tensor(*cpu, {4, 3})), {}),
               Error);
}

TEST(Convolutions, OfANetworkAddUpToItsCost) {
  for (const Variant variant : {Variant::standard, Variant::paper}) {
    const Architecture architecture = Architecture::of_depths({6, 8, 6}, variant);
    std::int64_t macs = architecture.stages.back().width * architecture.classes, count = 0;
    for (const auto& [convolution, of_them] : distinct_convolutions(architecture)) {
      const Shape &x = convolution.input, &filter = convolution.filter;
      macs += of_them * filter.count() * convolution.options.output_size(x[1], filter[1]) *
              convolution.options.output_size(x[2], filter[2]);
      count += of_them;
    }
    EXPECT_EQ(macs, cost_of(architecture).total().macs);
    EXPECT_EQ(count, 1 + 2 * (6 + 8 + 6) + 2);
  }
}

}  // namespace
}  // namespace stagewise
