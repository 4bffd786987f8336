#include "cuda/convolution.h"

#include "cuda/kernels.h"

namespace stagewise::cuda {
namespace {

/// Where a bare convolution writes: to `output`, but for an addend that lies there and is still to be read.
Tensor result_beside(const Tensor& addend, const Tensor& output) {
  if (addend.address() != output.address()) return output;
  return Tensor(output.backend(), output.shape(), output.dtype());
}

}  // namespace

/// relu(batch_norm(x)) in a tensor of its own.
Tensor Convolutions::normalised(const Tensor& x, const BatchNormCoefficients& coefficients) const {
  const Tensor a(x.backend(), x.shape(), x.dtype());
  batch_norm_forward({.x = x, .coefficients = coefficients, .relu = true, .y = a}, stream_);
  return a;
}

void Convolutions::forward(const ConvolutionForward& call) {
  const Tensor input = call.normalise.defined() ? normalised(call.x, call.normalise) : call.x;
  const Tensor result = result_beside(call.addend, call.y);
  convolution_direct_forward({.x = input, .weight = call.weight, .y = result, .options = call.options}, stream_);
  if (call.bias.defined() || call.addend.defined() || call.relu) {
    add_bias(result, call.bias, call.addend, call.relu, call.y, stream_);
  }
  if (call.mean.defined()) batch_norm_moments(call.y, call.mean, call.variance, stream_);
}

void Convolutions::backward_data(const ConvolutionBackwardData& call) {
  const Tensor result = result_beside(call.addend, call.dx);
  convolution_direct_backward_data({.x = result, .weight = call.weight, .y = call.dy, .options = call.options},
                                   stream_);
  if (call.addend.defined()) add(result, call.addend, call.dx, stream_);
  if (!call.normalised_input.defined()) return;
  batch_norm_backward_reduce_normalised(
      {.dy = call.dx, .x = call.x, .coefficients = call.normalised_input, .dz = call.dx, .gradients = call.gradients},
      stream_);
}

void Convolutions::backward_weights(const ConvolutionBackwardWeights& call) {
  const Tensor input = call.normalise.defined() ? normalised(call.x, call.normalise) : call.x;
  Tensor dy = call.dy;
  if (call.batch_norm.defined()) {
    batch_norm_backward_data(
        {.dz = call.dy, .x = call.y, .coefficients = call.batch_norm, .gradients = call.gradients, .dx = call.dy_out},
        stream_);
    dy = call.dy_out;
  }
  convolution_direct_backward_weights({.x = input, .weight = call.d_weight, .y = dy, .options = call.options}, stream_);
  if (call.d_bias.defined()) channel_sums(dy, call.d_bias, stream_);
}

std::vector<ConvolutionPlanText> Convolutions::plan(const Shape&, const Shape&, const Conv2dOptions&) {
  const char* const reason = "our own kernel, as the formula is written";
  return {{"forward", "direct", reason}, {"by data", "direct", reason}, {"by weights", "direct", reason}};
}

}  // namespace stagewise::cuda
