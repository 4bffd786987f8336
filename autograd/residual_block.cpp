// The native residual block. Forward, three passes over the big tensors for each of the two halves:
//   y1 = conv1(x)                              gathering y1's moments as it writes
//   y2 = conv2(relu(bn1(y1)))                  normalising as it reads, gathering y2's moments
//   out = relu(bn2(y2) + skip)
// Kept for the way back: x, y1, y2, out and the batch norms' coefficients; never relu(bn1(y1)).
#include "autograd/op.h"

namespace stagewise {
namespace {

constexpr const char* kOp = "residual_block";

// A convolution's output, and what the batch norm behind it will do to it (undefined where there is none).
struct Normalised {
  Tensor y;
  BatchNormCoefficients batch_norm;
};

bool has_batch_norm(const ConvolutionParameters& parameters) { return parameters.batch_norm.weight.defined(); }

Shape check_half(const Context& context, const Tensor& x, const Shape& image, const ConvolutionParameters& parameters) {
  const Shape output = check_convolution(kOp, x, image, parameters.weight, parameters.bias, parameters.options);
  if (has_batch_norm(parameters)) check_batch_norm(kOp, context, x, output, parameters.batch_norm);
  return output;
}

void check(const Context& context, const Variable& x, const ResidualBlockParameters& parameters, bool with_relu) {
  const Variable& first = parameters.conv1.weight;
  const Shape filter = first.defined() ? first.shape() : Shape();
  require(filter.rank() == 4, "[residual_block] expected conv1's weight [K,R,S,C], got ", filter);
  expect_input(kOp, "input", x, {"N", "H", "W", filter[3]});
  require(has_batch_norm(parameters.conv1) && has_batch_norm(parameters.conv2),
          "[residual_block] expected a batch norm behind both convolutions");
  const Shape middle = check_half(context, x.value(), x.shape(), parameters.conv1);
  const Shape output = check_half(context, x.value(), middle, parameters.conv2);
  const bool projected = parameters.projection.weight.defined();
  const Shape skip = projected ? check_half(context, x.value(), x.shape(), parameters.projection) : x.shape();
  require(skip == output, "[residual_block] expected ", projected ? "a projection" : "an input", " of the shape ",
          output, " of conv2's output, got ", skip);
  require(with_relu || context.tape == nullptr,
          "[residual_block] expected a last ReLU with a tape: the sum before it "
          "has no backward");
}

Normalised convolve(const Context& context, const Tensor& x, const ConvolutionParameters& parameters,
                    const BatchNormCoefficients& normalise) {
  const Shape shape = convolution_output(x.shape(), parameters.weight.shape(), parameters.options);
  ConvolutionForward pass;
  pass.x = x;
  pass.weight = parameters.weight.value();
  pass.bias = value_or_none(parameters.bias);
  pass.y = Tensor(x.backend(), shape, x.dtype());
  pass.options = parameters.options;
  pass.input_batch_norm = normalise;
  if (has_batch_norm(parameters) && context.training) {
    pass.mean = empty_like(parameters.batch_norm.running_mean);
    pass.variance = empty_like(parameters.batch_norm.running_mean);
  }
  x.backend().convolution_forward(pass);
  if (!has_batch_norm(parameters)) return {pass.y, {}};
  return {pass.y, batch_norm_coefficients(context, parameters.batch_norm, pass.mean, pass.variance,
                                          shape[0] * shape[1] * shape[2])};
}

// The gradients of one convolution's filters and bias. With a batch norm behind it, `dy` is the gradient of the batch
// norm's output, and the gradient of the convolution's own output goes to `dy_out`.
void backward_weights(const ConvolutionParameters& parameters, const Tensor& x, const BatchNormCoefficients& normalise,
                      const Tensor& dy, const Normalised& output, const BatchNormGradients& gradients,
                      const Tensor& dy_out) {
  ConvolutionBackwardWeights pass;
  pass.x = x;
  pass.input_batch_norm = normalise;
  pass.dy = dy;
  pass.d_weight = empty_like(parameters.weight.value());
  if (parameters.bias.requires_grad()) pass.d_bias = empty_like(parameters.bias.value());
  pass.options = parameters.options;
  if (output.batch_norm.defined()) {
    pass.output_batch_norm = output.batch_norm;
    pass.y = output.y;
    pass.gradients = gradients;
    pass.dy_out = dy_out;
  }
  dy.backend().convolution_backward_weights(pass);
  give(parameters.weight, pass.d_weight);
  give(parameters.bias, pass.d_bias);
  if (!output.batch_norm.defined()) return;
  give(parameters.batch_norm.weight, gradients.weight);
  give(parameters.batch_norm.bias, gradients.bias);
}

ConvolutionBackwardData backward_data(const ConvolutionParameters& parameters, const Tensor& dy, const Tensor& addend,
                                      const Tensor& dx) {
  ConvolutionBackwardData pass;
  pass.dy = dy;
  pass.weight = parameters.weight.value();
  pass.addend = addend;
  pass.dx = dx;
  pass.options = parameters.options;
  return pass;
}

// Everything the way back reads.
struct Saved {
  Variable x;
  ResidualBlockParameters parameters;
  Normalised first, second, skip;  // skip.y is defined where the projection's batch norm needs it
  Variable out;

  void backward(const Tensor& dz) const;
  Tensor backward_second(const Tensor& dz, const BatchNormGradients& gradients) const;
  void backward_projection(const Tensor& dz, const Tensor& dx) const;
};

// From dz, the gradient of bn2's output, through conv2 and the ReLU before it and into conv1's filters: returns the
// gradient of y1.
Tensor Saved::backward_second(const Tensor& dz, const BatchNormGradients& gradients) const {
  // Apart from dz, which the skip still needs.
  const Tensor dy2 = empty_like(dz);
  backward_weights(parameters.conv2, first.y, first.batch_norm, dz, second, gradients, dy2);
  ConvolutionBackwardData pass = backward_data(parameters.conv2, dy2, {}, empty_like(first.y));
  pass.x = first.y;
  pass.input_batch_norm = first.batch_norm;
  pass.gradients = empty_gradients(first.batch_norm);
  dz.backend().convolution_backward_data(pass);
  backward_weights(parameters.conv1, x.value(), {}, pass.dx, first, pass.gradients, pass.dx);
  return pass.dx;
}

// Through the projection, whose share of the gradient of x is added to `dx` where x wants one. It comes last because a
// strided filter of 1x1 then computes only the pixels that it read.
void Saved::backward_projection(const Tensor& dz, const Tensor& dx) const {
  BatchNormGradients gradients;
  if (skip.batch_norm.defined()) gradients = backward_batch_norm({}, skip.y, skip.batch_norm, dz);
  backward_weights(parameters.projection, x.value(), {}, dz, skip, gradients, dz);
  if (dx.defined()) backward_data_of(x, backward_data(parameters.projection, dz, dx, dx));
}

// From the gradient of the output, which becomes that of the sum.
void Saved::backward(const Tensor& dz) const {
  const BatchNormGradients gradients = backward_batch_norm(out, second.y, second.batch_norm, dz);
  const Tensor dy1 = backward_second(dz, gradients);
  if (!parameters.projection.weight.defined()) {
    if (x.requires_grad()) backward_data_of(x, backward_data(parameters.conv1, dy1, dz, dz));
    return;
  }
  Tensor dx;
  if (x.requires_grad()) {
    dx = empty_like(x.value());
    dx.backend().convolution_backward_data(backward_data(parameters.conv1, dy1, {}, dx));
  }
  backward_projection(dz, dx);
}

bool records(const Context& context, const ConvolutionParameters& parameters) {
  return records(context, parameters.weight, parameters.bias, parameters.batch_norm.weight, parameters.batch_norm.bias);
}

}  // namespace

Variable residual_block(const Context& context, const Variable& x, const ResidualBlockParameters& parameters,
                        bool with_relu) {
  check(context, x, parameters, with_relu);
  Saved saved{x, parameters, {}, {}, {}, {}};
  saved.first = convolve(context, x.value(), parameters.conv1, {});
  saved.second = convolve(context, saved.first.y, parameters.conv2, saved.first.batch_norm);
  saved.skip.y = x.value();
  if (parameters.projection.weight.defined()) saved.skip = convolve(context, x.value(), parameters.projection, {});
  const bool recorded = records(context, x) || records(context, parameters.conv1) ||
                        records(context, parameters.conv2) || records(context, parameters.projection);
  saved.out = Variable(recorded ? empty_like(saved.second.y) : saved.second.y, recorded);
  BatchNormForward sum;
  sum.x = saved.second.y;
  sum.batch_norm = saved.second.batch_norm;
  sum.addend = saved.skip.y;
  sum.addend_batch_norm = saved.skip.batch_norm;
  sum.relu = with_relu;
  sum.y = saved.out.value();
  sum.y.backend().batch_norm_forward(sum);
  const Variable output = saved.out;
  if (!recorded) return output;
  output.set_origin({saved.second.y, saved.second.batch_norm, {}});
  if (!saved.skip.batch_norm.defined()) saved.skip.y = Tensor();
  record(context, kOp, output, [saved = std::move(saved)](const Tensor& dz) { saved.backward(dz); });
  return output;
}

}  // namespace stagewise
