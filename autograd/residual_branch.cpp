#include "autograd/residual_branch.h"

namespace stagewise {

std::vector<const ConvolutionParameters*> ResidualBlockParameters::branch() const {
  if (conv3.weight.defined()) return {&conv1, &conv2, &conv3};
  return {&conv1, &conv2};
}

bool records(const Context& context, const ConvolutionParameters& parameters) {
  return records(context, parameters.weight, parameters.bias, parameters.batch_norm.weight, parameters.batch_norm.bias);
}

bool records(const Context& context, const ResidualBlockParameters& parameters) {
  return records(context, parameters.conv1) || records(context, parameters.conv2) ||
         records(context, parameters.conv3) || records(context, parameters.projection) ||
         records(context, parameters.pre_activation.weight, parameters.pre_activation.bias);
}

namespace {

Shape check_half(const char* op, const Context& context, const Tensor& x, const Shape& image,
                 const ConvolutionParameters& parameters) {
  const Shape output = check_convolution(op, x, image, parameters.weight, parameters.bias, parameters.options);
  if (has_batch_norm(parameters)) check_batch_norm(op, context, x, output, parameters.batch_norm);
  return output;
}

}  // namespace

Shape check_block(const char* op, const Context& context, const Variable& x,
                  const ResidualBlockParameters& parameters) {
  const Variable& first = parameters.conv1.weight;
  const Shape filter = first.defined() ? first.shape() : Shape();
  require(filter.rank() == 4, "[", op, "] expected conv1's weight [K,R,S,C], got ", filter);
  expect_input(op, "input", x, {"N", "H", "W", filter[3]});
  Shape output = x.shape();
  for (const ConvolutionParameters* const one : parameters.branch()) {
    output = check_half(op, context, x.value(), output, *one);
  }
  const bool projects = parameters.projects(), pads = parameters.pads();
  require(!projects || !pads, "[", op, "] expected a projection or padding, got both");
  const Shape skip = projects ? check_half(op, context, x.value(), x.shape(), parameters.projection)
                     : pads   ? check_padding(op, x.shape(), parameters.padding)
                              : x.shape();
  require(skip == output, "[", op, "] expected ",
          projects ? "a projection"
          : pads   ? "padding"
                   : "an input",
          " of the shape ", output, " of conv", parameters.branch().size(), "'s output, got ", skip);
  return output;
}

Normalised convolve(const Context& context, const Tensor& x, const ConvolutionParameters& parameters,
                    const BatchNormCoefficients& normalise, const Tensor& addend, ChannelMoments* sums) {
  const Shape shape = convolution_output(x.shape(), parameters.weight.shape(), parameters.options);
  ConvolutionForward pass;
  pass.x = x;
  pass.weight = parameters.weight.value();
  pass.bias = value_or_none(parameters.bias);
  pass.y = Tensor(x.backend(), shape, x.dtype());
  pass.options = parameters.options;
  pass.input_batch_norm = normalise;
  pass.addend = addend;
  pass.prepared = parameters.prepared;
  if (context.training && (has_batch_norm(parameters) || sums != nullptr)) {
    pass.mean = Tensor(x.backend(), {shape[3]}, parameters.weight.value().dtype());
    pass.variance = empty_like(pass.mean);
  }
  BatchNormPrepare prepare;
  if (has_batch_norm(parameters)) {
    prepare = batch_norm_preparation(context, parameters.batch_norm, pass.mean, pass.variance,
                                     shape[0] * shape[1] * shape[2]);
  }
  if (context.training) pass.output_batch_norm = prepare;
  x.backend().convolution_forward(pass);
  if (sums != nullptr) *sums = {pass.mean, pass.variance};
  if (!prepare.defined()) return {pass.y, {}};
  if (!context.training) x.backend().batch_norm_prepare(prepare);
  return {pass.y, batch_norm_coefficients(prepare, parameters.batch_norm)};
}

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
  pass.prepared = parameters.prepared;
  return pass;
}

Tensor backward_branch(const std::vector<const ConvolutionParameters*>& branch, const std::vector<Normalised>& outputs,
                       const Tensor& x, const BatchNormCoefficients& normalise, const Tensor& dz,
                       BatchNormGradients gradients) {
  Tensor dy = dz;
  for (std::size_t i = branch.size() - 1; i > 0; --i) {
    const Normalised& before = outputs[i - 1];
    // The last one's apart from dz, which the skip still needs.
    Tensor dy_out = dy;
    if (i == branch.size() - 1 && outputs[i].batch_norm.defined()) dy_out = empty_like(dz);
    backward_weights(*branch[i], before.y, before.batch_norm, dy, outputs[i], gradients, dy_out);
    ConvolutionBackwardData pass = backward_data(*branch[i], dy_out, {}, empty_like(before.y));
    pass.x = before.y;
    pass.input_batch_norm = before.batch_norm;
    pass.gradients = empty_gradients(before.batch_norm);
    dz.backend().convolution_backward_data(pass);
    dy = pass.dx;
    gradients = pass.gradients;
  }
  backward_weights(*branch[0], x, normalise, dy, outputs[0], gradients, dy);
  return dy;
}

}  // namespace stagewise
