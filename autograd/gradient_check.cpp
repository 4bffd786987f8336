#include "autograd/gradient_check.h"

#include <algorithm>
#include <cmath>

#include "tensor/random.h"

namespace stagewise {
namespace {

constexpr double kStep = 1e-5;
// One-sided slopes of a smooth op differ by about the step; across a ReLU's switch they differ by much more.
constexpr double kKink = 1e-2;

std::vector<Variable> variables(const std::vector<Tensor>& inputs) {
  std::vector<Variable> result;
  result.reserve(inputs.size());
  for (const Tensor& input : inputs) result.emplace_back(input, true);
  return result;
}

double loss_of(const DifferentiableFunction& function, const std::vector<Tensor>& inputs) {
  const Variable output = function({.tape = nullptr, .training = true}, variables(inputs));
  const std::vector<double> values = output.value().to_doubles(), weights = loss_weights(output.value().count());
  double loss = 0;
  for (std::size_t i = 0; i < values.size(); ++i) loss += values[i] * weights[i];
  return loss;
}

/// The loss with one element of one input moved by `by`.
double moved_loss(const DifferentiableFunction& function, std::vector<Tensor> inputs, std::size_t input,
                  std::int64_t element, double by) {
  std::vector<double> values = inputs[input].to_doubles();
  values[static_cast<std::size_t>(element)] += by;
  inputs[input] = Tensor::from_host(inputs[input].backend(), inputs[input].shape(), values);
  return loss_of(function, inputs);
}

}  // namespace

std::vector<double> loss_weights(std::int64_t count) {
  if (count == 1) return {1.0};
  const Random random(7, stream_of("loss weights"));
  std::vector<double> weights(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 2.0 * random.uniform(i) - 1.0;
  return weights;
}

GradientCheck check_gradients(const DifferentiableFunction& function, const std::vector<Tensor>& inputs,
                              std::int64_t elements) {
  Tape tape;
  const std::vector<Variable> with_gradients = variables(inputs);
  const Variable output = function({.tape = &tape, .training = true}, with_gradients);
  output.accumulate_grad(
      Tensor::from_host(output.value().backend(), output.shape(), loss_weights(output.value().count())));
  tape.backward();

  GradientCheck result;
  const double here = loss_of(function, inputs);
  for (std::size_t input = 0; input < inputs.size(); ++input) {
    const std::vector<double> gradient = with_gradients[input].grad().to_doubles();
    const std::int64_t stride = std::max<std::int64_t>(1, inputs[input].count() / elements);
    for (std::int64_t element = 0; element < inputs[input].count(); element += stride) {
      const double up = moved_loss(function, inputs, input, element, kStep);
      const double down = moved_loss(function, inputs, input, element, -kStep);
      const double analytic = gradient[static_cast<std::size_t>(element)], numeric = (up - down) / (2 * kStep);
      const double scale = std::max(1.0, std::abs(numeric));
      ++result.checked;
      if (std::abs((up - here) - (here - down)) / kStep > kKink * scale) {
        ++result.kinks;
        continue;
      }
      const double error = std::abs(analytic - numeric) / scale;
      if (error <= result.largest_error) continue;
      result.largest_error = error;
      result.input = input;
      result.element = element;
      result.analytic = analytic;
      result.numeric = numeric;
      if (std::isnan(error)) return result;
    }
  }
  return result;
}

}  // namespace stagewise
