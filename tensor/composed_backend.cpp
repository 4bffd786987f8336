#include "tensor/composed_backend.h"

#include "tensor/draws.h"

namespace stagewise {
namespace {

/// A tensor of any shape as images of one pixel: element by element it is the same.
Tensor as_images(const Tensor& tensor) {
  const std::int64_t channels = tensor.shape().back();
  return tensor.reshaped({tensor.count() / channels, 1, 1, channels});
}

Tensor per_channel(Backend& backend, const Tensor& map, double value) {
  return Tensor::full(backend, {map.shape().back()}, value, parameter_type(map.dtype()));
}

}  // namespace

/// Where a result goes that is written while `input` is still to be read: to `output`, but where they are one.
Tensor ComposedBackend::result_beside(const Tensor& input, const Tensor& output) {
  if (input.address() != output.address()) return output;
  return Tensor(*this, output.shape(), output.dtype());
}

/// relu(batch_norm(x)) in a tensor of its own.
Tensor ComposedBackend::normalised(const Tensor& x, const BatchNormCoefficients& coefficients) {
  const Tensor a(*this, x.shape(), x.dtype());
  batch_norm_forward({.x = x, .batch_norm = coefficients, .relu = true, .y = a});
  return a;
}

void ComposedBackend::add_bias(const Tensor& x, const Tensor& bias, const Tensor& addend, bool relu, const Tensor& y) {
  const Tensor zeros = per_channel(*this, x, 0.0), ones = per_channel(*this, x, 1.0);
  batch_norm_forward({.x = x,
                      .batch_norm = {zeros, ones, ones, bias.defined() ? bias : zeros},
                      .addend = addend,
                      .relu = relu,
                      .y = y});
}

void ComposedBackend::channel_sums(const Tensor& x, const Tensor& sums) {
  const Tensor zeros = per_channel(*this, x, 0.0), unused = per_channel(*this, x, 0.0);
  batch_norm_backward_reduce(
      {.dy = x, .x = x, .batch_norm = {zeros, zeros, zeros, zeros}, .gradients = {unused, sums}});
}

void ComposedBackend::batch_norm_backward_reduce_normalised(const BatchNormBackwardReduce& call) {
  BatchNormBackwardReduce with_output = call;
  with_output.y = normalised(call.x, call.batch_norm);
  batch_norm_backward_reduce(with_output);
}

void ComposedBackend::add(const Tensor& a, const Tensor& b, const Tensor& out) {
  if (out.count() > 0) add_bias(as_images(a), {}, as_images(b), false, as_images(out));
}

void ComposedBackend::relu_forward(const Tensor& x, const Tensor& y) {
  if (y.count() > 0) add_bias(as_images(x), {}, {}, true, as_images(y));
}

void ComposedBackend::relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) {
  if (dx.count() == 0) return;
  const Tensor output = as_images(y), zeros = per_channel(*this, output, 0.0), unused = per_channel(*this, output, 0.0),
               other = per_channel(*this, output, 0.0);
  const Tensor dz = result_beside(y, dx);
  batch_norm_backward_reduce({.dy = as_images(dy),
                              .y = output,
                              .x = output,
                              .batch_norm = {zeros, zeros, zeros, zeros},
                              .dz = as_images(dz),
                              .gradients = {unused, other}});
  if (dz.address() != dx.address()) copy(dz, dx);
}

std::vector<ConvolutionPlanText> ComposedBackend::convolution_plan(const Shape&, const Shape&, const Conv2dOptions&,
                                                                   DType) {
  const char* const reason = "a bare convolution, and what is fused one after another";
  return {{"forward", "in parts", reason}, {"by data", "in parts", reason}, {"by weights", "in parts", reason}};
}

void ComposedBackend::convolution_forward(const ConvolutionForward& call) {
  ConvolutionForward rest = call;
  if (call.mean.defined()) {
    rest.mean = rest.variance = {};
    rest.output_batch_norm = {};
    convolution_forward(rest);
    batch_norm_moments({.x = call.y, .mean = call.mean, .variance = call.variance, .prepare = call.output_batch_norm});
  } else if (call.input_batch_norm.defined()) {
    rest.x = normalised(call.x, call.input_batch_norm);
    rest.input_batch_norm = {};
    convolution_forward(rest);
  } else if (call.bias.defined() || call.addend.defined() || call.relu) {
    rest.y = result_beside(call.addend, call.y);
    rest.bias = rest.addend = {};
    rest.relu = false;
    convolution_forward(rest);
    add_bias(rest.y, call.bias, call.addend, call.relu, call.y);
  } else {
    bare_convolution_forward({.x = call.x, .weight = call.weight, .y = call.y, .options = call.options});
  }
}

void ComposedBackend::convolution_backward_data(const ConvolutionBackwardData& call) {
  ConvolutionBackwardData rest = call;
  if (call.input_batch_norm.defined()) {
    rest.x = rest.relu_output = {};
    rest.input_batch_norm = {};
    rest.gradients = {};
    convolution_backward_data(rest);
    const BatchNormBackwardReduce reduce{.dy = call.dx,
                                         .y = call.relu_output,
                                         .x = call.x,
                                         .batch_norm = call.input_batch_norm,
                                         .dz = call.dx,
                                         .gradients = call.gradients};
    call.relu_output.defined() ? batch_norm_backward_reduce(reduce) : batch_norm_backward_reduce_normalised(reduce);
  } else if (call.addend.defined()) {
    rest.dx = result_beside(call.addend, call.dx);
    rest.addend = {};
    convolution_backward_data(rest);
    add(rest.dx, call.addend, call.dx);
  } else {
    bare_convolution_backward_data({.x = call.dx, .weight = call.weight, .y = call.dy, .options = call.options});
  }
}

void ComposedBackend::convolution_backward_weights(const ConvolutionBackwardWeights& call) {
  ConvolutionBackwardWeights rest = call;
  if (call.input_batch_norm.defined()) {
    rest.x = normalised(call.x, call.input_batch_norm);
    rest.input_batch_norm = {};
    convolution_backward_weights(rest);
  } else if (call.output_batch_norm.defined()) {
    batch_norm_backward_data({.dz = call.dy,
                              .x = call.y,
                              .batch_norm = call.output_batch_norm,
                              .gradients = call.gradients,
                              .dx = call.dy_out});
    rest.dy = call.dy_out;
    rest.y = rest.dy_out = {};
    rest.output_batch_norm = {};
    rest.gradients = {};
    convolution_backward_weights(rest);
  } else if (call.d_bias.defined()) {
    rest.d_bias = {};
    convolution_backward_weights(rest);
    channel_sums(call.dy, call.d_bias);
  } else {
    bare_convolution_backward_weights({.x = call.x, .weight = call.d_weight, .y = call.dy, .options = call.options});
  }
}

void ComposedBackend::linear_forward(const LinearForward& call) {
  const Shape &weight = call.weight.shape(), filter{weight[0], 1, 1, weight[1]};
  convolution_forward(
      {.x = as_images(call.x), .weight = call.weight.reshaped(filter), .bias = call.bias, .y = as_images(call.y)});
}

void ComposedBackend::linear_backward(const LinearBackward& call) {
  const Shape &weight = call.weight.shape(), filter{weight[0], 1, 1, weight[1]};
  const Tensor dy = as_images(call.dy);
  if (call.d_weight.defined() || call.d_bias.defined()) {
    const Tensor d_weight = call.d_weight.defined() ? call.d_weight : Tensor(*this, weight, call.weight.dtype());
    convolution_backward_weights(
        {.x = as_images(call.x), .dy = dy, .d_weight = d_weight.reshaped(filter), .d_bias = call.d_bias});
  }
  if (call.dx.defined()) {
    convolution_backward_data({.dy = dy, .weight = call.weight.reshaped(filter), .dx = as_images(call.dx)});
  }
}

namespace {

/// [K,1,1,C], which puts channel c into channel zeros_before + c.
Tensor placing_filter(Backend& backend, const PaddedShortcut& call) {
  const std::int64_t channels = call.x.shape()[3], filters = call.y.shape()[3];
  std::vector<double> ones(static_cast<std::size_t>(filters * channels), 0.0);
  for (std::int64_t c = 0; c < channels; ++c) {
    ones[static_cast<std::size_t>((call.zeros_before + c) * channels + c)] = 1.0;
  }
  return Tensor::from_doubles(backend, {filters, 1, 1, channels}, ones, parameter_type(call.x.dtype()));
}

}  // namespace

void ComposedBackend::padded_shortcut_forward(const PaddedShortcut& call) {
  convolution_forward(
      {.x = call.x, .weight = placing_filter(*this, call), .y = call.y, .options = {.stride = call.stride}});
}

void ComposedBackend::padded_shortcut_backward(const PaddedShortcut& call) {
  convolution_backward_data(
      {.dy = call.y, .weight = placing_filter(*this, call), .dx = call.x, .options = {.stride = call.stride}});
}

void ComposedBackend::draw_numbers(const DrawNumbers& call) {
  const auto draw_as = [&]<class T>(T) {
    std::vector<T> numbers(static_cast<std::size_t>(call.out.count()));
    draw_on_host(call, numbers.data());
    if (!numbers.empty()) copy_from_host(numbers.data(), call.out);
  };
  call.out.dtype() == DType::float64 ? draw_as(double()) : draw_as(float());
}

void ComposedBackend::draw_augmentation(const DrawAugmentation& call) {
  const auto indices = call.indices.to_host<std::int32_t>();
  std::vector<std::int32_t> draws(static_cast<std::size_t>(call.draws.count()));
  draw_on_host(call, indices, draws.data());
  if (!draws.empty()) copy_from_host(draws.data(), call.draws);
}

}  // namespace stagewise
