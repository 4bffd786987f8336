#include "autograd/op.h"

namespace stagewise {
namespace {

std::string text_of(std::initializer_list<ExpectedSize> expected) {
  std::string text = "[";
  for (const ExpectedSize& size : expected) {
    if (text.size() > 1) text += ',';
    text += size.letter != nullptr ? std::string(size.letter) : std::to_string(size.size);
  }
  return text + "]";
}

bool matches(const Shape& shape, std::initializer_list<ExpectedSize> expected) {
  if (shape.rank() != static_cast<int>(expected.size())) return false;
  int axis = 0;
  for (const ExpectedSize& size : expected) {
    const std::int64_t got = shape[axis++];
    if (size.letter != nullptr ? got < 1 : got != size.size) return false;
  }
  return true;
}

}  // namespace

// The texts below are built only once a check has failed: every op checks every input at every step.
void expect_shape(const char* op, const char* what, const Tensor& tensor,
                  std::initializer_list<ExpectedSize> expected) {
  if (!tensor.defined()) fail("[", op, "] expected ", what, " ", text_of(expected), ", got none");
  if (matches(tensor.shape(), expected)) return;
  fail("[", op, "] expected ", what, " ", text_of(expected), ", got ", tensor.shape());
}

void expect_computable(const char* op, const char* what, const Tensor& tensor) {
  require(tensor.defined(), "[", op, "] expected ", what, ", got none");
  if (tensor.backend().supports(tensor.dtype())) return;
  fail("[", op, "] expected ", what, " of a type that backend `", tensor.backend().name(), "` computes with, got ",
       name_of(tensor.dtype()));
}

void expect_input(const char* op, const char* what, const Variable& variable,
                  std::initializer_list<ExpectedSize> expected) {
  const Tensor tensor = value_or_none(variable);
  expect_shape(op, what, tensor, expected);
  expect_computable(op, what, tensor);
}

namespace {

void expect(const char* op, const char* what, const Tensor& tensor, std::initializer_list<ExpectedSize> expected,
            DType dtype, const Tensor& input) {
  expect_shape(op, what, tensor, expected);
  require(tensor.dtype() == dtype, "[", op, "] expected ", what, " of type ", name_of(dtype), " for an input of ",
          name_of(input.dtype()), ", got ", name_of(tensor.dtype()));
  if (&tensor.backend() == &input.backend()) return;
  fail("[", op, "] expected ", what, " on the input's backend `", input.backend().name(), "`, got one on another, `",
       tensor.backend().name(), "`");
}

}  // namespace

void expect_like(const char* op, const char* what, const Tensor& tensor, std::initializer_list<ExpectedSize> expected,
                 const Tensor& input) {
  expect(op, what, tensor, expected, input.dtype(), input);
}

void expect_parameter(const char* op, const char* what, const Tensor& tensor,
                      std::initializer_list<ExpectedSize> expected, const Tensor& input) {
  expect(op, what, tensor, expected, parameter_type(input.dtype()), input);
}

Shape check_convolution(const char* op, const Tensor& like, const Shape& image, const Variable& weight,
                        const Variable& bias, const Conv2dOptions& options) {
  expect_parameter(op, "weight", value_or_none(weight), {"K", "R", "S", image[3]}, like);
  const Shape& filter = weight.shape();
  if (bias.defined()) expect_parameter(op, "bias", bias.value(), {filter[0]}, like);
  require(options.stride >= 1 && options.padding_before >= 0 && options.padding_after >= 0, "[", op,
          "] expected a stride of at least 1 and paddings of at least 0, got stride ", options.stride, " and paddings ",
          options.padding_before, ", ", options.padding_after);
  const std::int64_t padding = options.padding_before + options.padding_after;
  require(image[1] + padding >= filter[1] && image[2] + padding >= filter[2], "[", op,
          "] expected an image no smaller than the filter with paddings ", options.padding_before, ", ",
          options.padding_after, ", got image ", image, " and filter ", filter);
  return convolution_output(image, filter, options);
}

void check_batch_norm(const char* op, const Context& context, const Tensor& like, const Shape& image,
                      const BatchNormParameters& parameters) {
  const std::int64_t channels = image[3];
  expect_parameter(op, "batch-norm weight", value_or_none(parameters.weight), {channels}, like);
  expect_parameter(op, "batch-norm bias", value_or_none(parameters.bias), {channels}, like);
  expect_parameter(op, "running mean", parameters.running_mean, {channels}, like);
  expect_parameter(op, "running variance", parameters.running_variance, {channels}, like);
  require(context.training || context.tape == nullptr, "[", op,
          "] expected no tape in evaluation: a batch norm by its running statistics has no backward");
  require(!context.training || image[0] * image[1] * image[2] > 1, "[", op,
          "] expected more than one value per channel in training (one has no variance), got input ", image);
}

BatchNormPrepare batch_norm_preparation(const Context& context, const BatchNormParameters& parameters,
                                        const Tensor& mean, const Tensor& variance, std::int64_t pixels) {
  BatchNormPrepare prepare;
  prepare.mean = context.training ? mean : parameters.running_mean;
  prepare.variance = context.training ? variance : parameters.running_variance;
  prepare.weight = parameters.weight.value();
  prepare.epsilon = parameters.epsilon;
  prepare.inverse_deviation = empty_like(prepare.weight);
  prepare.scale = empty_like(prepare.weight);
  if (context.training) {
    prepare.running_mean = parameters.running_mean;
    prepare.running_variance = parameters.running_variance;
    prepare.momentum = context.statistics_momentum.value_or(parameters.momentum);
    prepare.pixels = pixels;
  }
  return prepare;
}

BatchNormCoefficients batch_norm_coefficients_of(const Context& context, const BatchNormParameters& parameters,
                                                 const Variable& x) {
  const Shape& image = x.shape();
  Backend& backend = x.value().backend();
  ChannelMoments moments = x.moments();
  const bool gathers = context.training && !moments.defined();
  if (gathers) moments = {empty_like(parameters.running_mean), empty_like(parameters.running_mean)};
  const BatchNormPrepare prepare =
      batch_norm_preparation(context, parameters, moments.mean, moments.variance, image[0] * image[1] * image[2]);
  if (gathers) {
    backend.batch_norm_moments(
        {.x = x.value(), .mean = moments.mean, .variance = moments.variance, .prepare = prepare});
  } else {
    backend.batch_norm_prepare(prepare);
  }
  return batch_norm_coefficients(prepare, parameters);
}

Shape check_padding(const char* op, const Shape& image, const PaddingParameters& padding) {
  const auto& [stride, zeros_before, channels] = padding;
  require(stride >= 1 && zeros_before >= 0 && channels >= zeros_before + image[3], "[", op,
          "] expected a stride of at least 1 and no fewer channels than the input's, got stride ", stride, ", ",
          zeros_before, " channels of zeros before ", image[3], ", ", channels, " in all");
  return {image[0], (image[1] + stride - 1) / stride, (image[2] + stride - 1) / stride, channels};
}

Tensor padded(const Tensor& x, const PaddingParameters& padding) {
  const Tensor y(x.backend(), check_padding("padded_shortcut", x.shape(), padding), x.dtype());
  x.backend().padded_shortcut_forward({.x = x, .y = y, .stride = padding.stride, .zeros_before = padding.zeros_before});
  return y;
}

Tensor padded_backward(const Tensor& dy, const Tensor& x, const PaddingParameters& padding) {
  const Tensor dx = empty_like(x);
  x.backend().padded_shortcut_backward(
      {.x = dx, .y = dy, .stride = padding.stride, .zeros_before = padding.zeros_before});
  return dx;
}

BatchNormGradients empty_gradients(const BatchNormCoefficients& coefficients) {
  return {empty_like(coefficients.mean), empty_like(coefficients.mean)};
}

void backward_data_of(const Variable& x, ConvolutionBackwardData pass) {
  if (BatchNormRelu* const origin = x.origin()) {
    pass.x = origin->y;
    pass.input_batch_norm = origin->batch_norm;
    pass.relu_output = x.value();
    pass.gradients = origin->gradients = empty_gradients(origin->batch_norm);
  }
  pass.dx.backend().convolution_backward_data(pass);
  x.accumulate_grad(pass.dx);
}

BatchNormGradients backward_batch_norm(const Variable& output, const Tensor& y,
                                       const BatchNormCoefficients& coefficients, const Tensor& gradient) {
  const BatchNormRelu* const origin = output.origin();
  if (origin != nullptr && origin->gradients.defined()) return origin->gradients;
  BatchNormBackwardReduce reduce;
  reduce.dy = gradient;
  reduce.x = y;
  reduce.batch_norm = coefficients;
  if (origin != nullptr) reduce.y = output.value(), reduce.dz = gradient;
  reduce.gradients = empty_gradients(coefficients);
  gradient.backend().batch_norm_backward_reduce(reduce);
  return reduce.gradients;
}

}  // namespace stagewise
