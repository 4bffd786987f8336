// That a backend's average_step is its formula to the bit: for the CPU's backends and the GPU's.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tensor/backend.h"
#include "tensor/error.h"
#include "tensor/random.h"

namespace stagewise {

/// average + rate * (value - average), each operation rounded to T: what is volatile can't be fused.
template <class T>
T averaged(T average, T value, double decay) {
  const volatile T rate = static_cast<T>(1.0 - decay);
  const volatile T difference = value - average;
  const volatile T product = rate * difference;
  return average + product;
}

/// Three steps over tensors of these sizes, in one call each, whose values move in between.
template <class T>
void expect_average(Backend& backend, const std::vector<std::int64_t>& sizes, double decay) {
  std::vector<AverageStep::Parameter> parameters;
  std::vector<std::vector<T>> expected;
  const auto numbers = [&](std::size_t tensor, std::uint64_t step) {
    std::vector<T> values(static_cast<std::size_t>(sizes[tensor]));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<T>(Random(tensor + 1, step).normal(i) * std::exp2(static_cast<double>(i % 9) - 4));
    }
    return values;
  };
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    expected.push_back(numbers(i, 0));
    parameters.push_back(
        {Tensor::from_host(backend, {sizes[i]}, expected[i]), Tensor(backend, {sizes[i]}, dtype_of<T>())});
  }
  for (std::uint64_t step = 1; step <= 3; ++step) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const std::vector<T> values = numbers(i, step);
      if (!values.empty()) backend.copy_from_host(values.data(), parameters[i].value);
      for (std::size_t j = 0; j < values.size(); ++j) expected[i][j] = averaged(expected[i][j], values[j], decay);
    }
    backend.average_step({.parameters = parameters, .decay = decay});
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      ASSERT_EQ(parameters[i].average.template to_host<T>(), expected[i])
          << backend.description() << ", decay " << decay << ", step " << step << ", tensor " << i;
      ASSERT_EQ(parameters[i].value.template to_host<T>(), numbers(i, step)) << "values are only read";
    }
  }
}

/// Sizes that end in the middle of vectors and pieces, an empty one, and more tensors than fit one launch on a GPU.
template <class T>
void expect_averages(Backend& backend) {
  for (const double decay : {0.0, 0.9, 0.999}) {
    expect_average<T>(backend, {1, 19, 0, 1023, 1024, 1025, 10007, 4}, decay);
  }
  std::vector<std::int64_t> many(1500);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::int64_t>(i % 7);
  expect_average<T>(backend, many, 0.99);
  backend.average_step({});  // no parameters: nothing to do
}

}  // namespace stagewise
