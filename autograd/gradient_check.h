// Gradients against central differences: the truth that every differentiable op is held against.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "autograd/tape.h"
#include "tensor/backend.h"

namespace stagewise {

/// From inputs to an output of any shape.
using DifferentiableFunction = std::function<Variable(const Context&, const std::vector<Variable>&)>;

struct GradientCheck {
  double largest_error = 0.0;  // |analytic - numeric| / max(1, |numeric|); NaN if either is
  std::size_t input = 0;       // where
  std::int64_t element = 0;
  double analytic = 0.0, numeric = 0.0;
  std::int64_t checked = 0, kinks = 0;  // elements compared, and those left out because a ReLU switches there
};

/// Weights of the sum that turns an output of `count` elements into a loss: fixed, in [-1,1]; 1 for a single element.
std::vector<double> loss_weights(std::int64_t count);

/// Compares the gradients of sum(loss_weights * function(inputs)) with central differences of step 1e-5, in double, at
/// up to `elements` elements of each input. `inputs` are float64 on a backend that computes with it.
GradientCheck check_gradients(const DifferentiableFunction& function, const std::vector<Tensor>& inputs,
                              std::int64_t elements = 48);

}  // namespace stagewise
