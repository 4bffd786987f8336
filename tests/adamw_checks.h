// That a backend's adamw_step is PyTorch's, and the reference's over sizes that end anywhere: for the CPU's backends
// and the GPU's.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cpu/reference_backend.h"
#include "tensor/backend.h"
#include "tensor/error.h"
#include "tensor/random.h"
#include "tests/adamw_figures.h"

namespace stagewise {

inline void expect_close(const Tensor& got, const std::vector<double>& expected, double tolerance,
                         const std::string& what) {
  const std::vector<double> values = got.to_doubles();
  ASSERT_EQ(values.size(), expected.size()) << what;
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_TRUE(std::abs(values[i] - expected[i]) <= tolerance * (0.1 + std::abs(expected[i])))
        << what << ", element " << i << ": " << values[i] << ", expected " << expected[i];
  }
}

/// PyTorch's figures, and each element many times over, so that whole vectors and a cut one compute it. The learning
/// rate is a number in one step and a tensor in the next.
template <class T>
void expect_pytorchs_adamw(Backend& backend) {
  using namespace adamw_figures;
  constexpr int kCopies = 13;
  const auto tiled = [](const auto& number) {
    std::vector<T> values;
    for (int i = 0; i < kCopies * kElements; ++i) values.push_back(static_cast<T>(number(i % kElements)));
    return values;
  };
  const auto tensor = [&](const auto& number) {
    const std::vector<T> values = tiled(number);
    return Tensor::from_host(backend, {static_cast<std::int64_t>(values.size())}, values);
  };
  const auto expect_figures = [&](const Tensor& got, const double(&figures)[kElements], const std::string& what) {
    std::vector<double> expected;
    for (int i = 0; i < kCopies * kElements; ++i) expected.push_back(figures[i % kElements]);
    expect_close(got, expected, sizeof(T) == 8 ? 1e-14 : 1e-6, concat(backend.description(), ", ", what));
  };
  for (const Figures& figures : kFigures) {
    std::vector<AdamWStep::Parameter> parameters;
    for (int p = 0; p < 3; ++p) {
      const bool stepped = p == 1;
      parameters.push_back({.value = tensor([&](int i) { return ((3 * i + p) % 7 - 3) / 4.0; }),
                            .gradient = tensor([](int) { return 0; }),
                            .first = tensor([&](int i) { return stepped ? (i - 1) / 16.0 : 0.0; }),
                            .second = tensor([&](int i) { return stepped ? (i + 1) / 64.0 : 0.0; }),
                            .steps = Tensor::full(backend, {1}, stepped ? 999.0 : 0.0, dtype_of<T>()),
                            .weight_decay = stepped ? 0.0 : kDecay});
    }
    for (int step = 0; step < kSteps; ++step) {
      for (int p = 0; p < 3; ++p) {
        const std::vector<T> gradient = tiled([&](int i) { return ((7 * step + 5 * i + 3 * p) % 11 - 5) / 8.0; });
        backend.copy_from_host(gradient.data(), parameters[static_cast<std::size_t>(p)].gradient);
      }
      const bool all = step >= kJoins;
      AdamWStep call{.parameters = {parameters.data(), all ? std::size_t{3} : std::size_t{2}},
                     .learning_rate = kRates[step],
                     .beta1 = figures.beta1,
                     .beta2 = figures.beta2,
                     .epsilon = figures.epsilon};
      if (step % 2 == 1) {
        call.learning_rate = 77.0;  // not to be used
        call.rate = Tensor::full(backend, {1}, kRates[step]);
      }
      backend.adamw_step(call);
      for (std::size_t p = 0; p < 3; ++p) {
        expect_figures(parameters[p].value, figures.values[p][step], concat("step ", step, ", parameter ", p));
      }
    }
    for (std::size_t p = 0; p < 3; ++p) {
      expect_figures(parameters[p].first, figures.first[p], concat("first moment of parameter ", p));
      expect_figures(parameters[p].second, figures.second[p], concat("second moment of parameter ", p));
    }
    EXPECT_EQ(parameters[0].steps.to_doubles()[0], kSteps);
    EXPECT_EQ(parameters[1].steps.to_doubles()[0], 999 + kSteps);
    EXPECT_EQ(parameters[2].steps.to_doubles()[0], kSteps - kJoins);
  }
}

/// From moments of zero with epsilon = 0, a gradient of 1 makes the step rate (1 - beta1) / sqrt(1 - beta2) times
/// sqrt(1 - beta2^t) / (1 - beta1^t), whatever t: the corrections, to the last digits that float32 has.
inline void expect_adamws_corrections(Backend& backend) {
  const std::vector<double> steps = {1, 2, 3, 10, 100, 1000, 10000, 100000, 1000000};
  const std::vector<std::pair<double, double>> betas = {{0.9, 0.999}, {0.99, 0.999999}, {0.0, 0.5}, {0.5, 0.0}};
  for (const auto& [beta1, beta2] : betas) {
    std::vector<AdamWStep::Parameter> parameters;
    const auto full = [&](double value) { return Tensor::full(backend, {1}, value); };
    for (const double t : steps) parameters.push_back({full(0), full(1), full(0), full(0), full(t - 1)});
    backend.adamw_step(
        {.parameters = parameters, .learning_rate = 0.5, .beta1 = beta1, .beta2 = beta2, .epsilon = 0.0});
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const double t = steps[i];
      const double expected = -0.5 * (1 - beta1) / std::sqrt(1 - beta2) * std::sqrt(-std::expm1(t * std::log(beta2))) /
                              -std::expm1(t * std::log(beta1));
      EXPECT_NEAR(parameters[i].value.to_doubles()[0] / expected, 1.0, 1e-6)
          << backend.description() << ", step " << t << ", betas " << beta1 << " and " << beta2;
      EXPECT_EQ(parameters[i].steps.to_doubles()[0], t);
    }
  }
}

/// Three steps over tensors of these sizes, in one call each, beside the reference's. What a moment is the difference
/// of may be larger than it by any factor, hence the tolerance.
inline void expect_adamw_as_on_the_reference(Backend& backend, const std::vector<std::int64_t>& sizes) {
  const auto reference = make_reference_backend();
  const auto numbers = [](std::int64_t size, std::uint64_t stream, bool square = false) {
    std::vector<float> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double number = Random(5, stream).normal(i);
      values[i] = static_cast<float>(square ? 0.25 + number * number : number);
    }
    return values;
  };
  const auto parameters_on = [&](Backend& on) {
    std::vector<AdamWStep::Parameter> parameters;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const Shape shape{sizes[i]};
      parameters.push_back({.value = Tensor::from_host(on, shape, numbers(sizes[i], 4 * i)),
                            .gradient = Tensor(on, shape),
                            .first = Tensor::from_host(on, shape, numbers(sizes[i], 4 * i + 1)),
                            .second = Tensor::from_host(on, shape, numbers(sizes[i], 4 * i + 2, true)),
                            .steps = Tensor::full(on, {1}, static_cast<double>(i % 5 * (i % 5) * 25)),
                            .weight_decay = i % 3 == 0 ? 0.0 : 0.125});
    }
    return parameters;
  };
  const std::vector<AdamWStep::Parameter> expected = parameters_on(*reference), got = parameters_on(backend);
  for (std::uint64_t step = 0; step < 3; ++step) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const std::vector<float> gradient = numbers(sizes[i], 1000000 * (step + 1) + i);
      if (gradient.empty()) continue;
      reference->copy_from_host(gradient.data(), expected[i].gradient);
      backend.copy_from_host(gradient.data(), got[i].gradient);
    }
    reference->adamw_step({.parameters = expected, .learning_rate = 0.125});
    backend.adamw_step({.parameters = got, .learning_rate = 0.125});
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const std::string where = concat(backend.description(), ", step ", step, ", tensor ", i);
      expect_close(got[i].value, expected[i].value.to_doubles(), 2e-5, concat(where, ", value"));
      expect_close(got[i].first, expected[i].first.to_doubles(), 2e-5, concat(where, ", first moment"));
      expect_close(got[i].second, expected[i].second.to_doubles(), 2e-5, concat(where, ", second moment"));
      ASSERT_EQ(got[i].steps.to_doubles(), expected[i].steps.to_doubles()) << where;
    }
  }
}

/// Sizes that end in the middle of vectors and pieces, an empty one, and more tensors than fit one launch on a GPU.
inline void expect_adamw_as_on_the_reference(Backend& backend) {
  expect_adamw_as_on_the_reference(backend, {1, 19, 0, 1023, 1024, 1025, 10007, 4});
  std::vector<std::int64_t> many(1500);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int64_t>(i % 7);
  expect_adamw_as_on_the_reference(backend, many);
  backend.adamw_step({});  // no parameters: nothing to do
}

}  // namespace stagewise
