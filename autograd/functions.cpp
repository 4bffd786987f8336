#include "autograd/functions.h"

#include <algorithm>

#include "autograd/op.h"

namespace stagewise {

Variable add(const Context& context, const Variable& a, const Variable& b) {
  expect_computable("add", "input", value_or_none(a));
  expect_computable("add", "input", value_or_none(b));
  require(a.shape() == b.shape() && a.value().dtype() == b.value().dtype(), "[add] expected inputs alike, got ",
          a.shape(), " of ", name_of(a.value().dtype()), " and ", b.shape(), " of ", name_of(b.value().dtype()));
  if (&a.value().backend() != &b.value().backend()) {
    fail("[add] expected inputs on one backend, got `", a.value().backend().name(), "` and `",
         b.value().backend().name(), "`");
  }
  const Tensor y = empty_like(a.value());
  y.backend().add(a.value(), b.value(), y);
  const Variable output(y, records(context, a, b));
  if (!output.requires_grad()) return output;
  record(context, "add", output, [a, b](const Tensor& dy) {
    // Each input's gradient is its own to add to, so two inputs can't share one.
    if (b.requires_grad()) b.accumulate_grad(a.requires_grad() ? dy.clone() : dy);
    give(a, dy);
  });
  return output;
}

Variable relu(const Context& context, const Variable& x) {
  expect_computable("relu", "input", value_or_none(x));
  const Tensor y = empty_like(x.value());
  y.backend().relu_forward(x.value(), y);
  const Variable output(y, records(context, x));
  if (!output.requires_grad()) return output;
  record(context, "relu", output, [x, y](const Tensor& dy) {
    y.backend().relu_backward(dy, y, dy);
    give(x, dy);
  });
  return output;
}

Variable conv2d(const Context& context, const Variable& x, const Variable& weight, const Variable& bias,
                const Conv2dOptions& options, const Tensor& prepared) {
  const Shape filter = weight.defined() ? weight.shape() : Shape();
  require(filter.rank() == 4, "[conv2d] expected weight [K,R,S,C], got ", filter);
  expect_input("conv2d", "input", x, {"N", "H", "W", filter[3]});
  const Shape shape = check_convolution("conv2d", x.value(), x.shape(), weight, bias, options);
  const Tensor y(x.value().backend(), shape, x.value().dtype());
  ConvolutionForward forward;
  forward.x = x.value();
  forward.weight = weight.value();
  forward.bias = value_or_none(bias);
  forward.y = y;
  forward.options = options;
  forward.prepared = prepared;
  y.backend().convolution_forward(forward);
  const Variable output(y, records(context, x, weight, bias));
  if (!output.requires_grad()) return output;
  record(context, "conv2d", output, [x, weight, bias, options, prepared](const Tensor& dy) {
    if (weight.requires_grad() || bias.requires_grad()) {
      ConvolutionBackwardWeights pass;
      pass.x = x.value();
      pass.dy = dy;
      pass.d_weight = empty_like(weight.value());
      if (bias.requires_grad()) pass.d_bias = empty_like(bias.value());
      pass.options = options;
      dy.backend().convolution_backward_weights(pass);
      give(weight, pass.d_weight);
      give(bias, pass.d_bias);
    }
    if (!x.requires_grad()) return;
    ConvolutionBackwardData pass;
    pass.dy = dy;
    pass.weight = weight.value();
    pass.dx = empty_like(x.value());
    pass.options = options;
    pass.prepared = prepared;
    backward_data_of(x, pass);
  });
  return output;
}

Variable batch_norm(const Context& context, const Variable& x, const BatchNormParameters& parameters, bool with_relu,
                    const Variable& addend) {
  expect_input("batch_norm", "input", x, {"N", "H", "W", "C"});
  const Shape& image = x.shape();
  check_batch_norm("batch_norm", context, x.value(), image, parameters);
  if (addend.defined()) {
    expect_like("batch_norm", "addend", addend.value(), {image[0], image[1], image[2], image[3]}, x.value());
  }
  Backend& backend = x.value().backend();
  const BatchNormCoefficients coefficients = batch_norm_coefficients_of(context, parameters, x);
  const Tensor y = empty_like(x.value());
  BatchNormForward forward;
  forward.x = x.value();
  forward.batch_norm = coefficients;
  forward.addend = value_or_none(addend);
  forward.relu = with_relu;
  forward.y = y;
  backend.batch_norm_forward(forward);
  const Variable output(y, records(context, x, parameters.weight, parameters.bias, addend));
  if (!output.requires_grad()) return output;
  if (with_relu) output.set_origin({x.value(), coefficients, {}});
  record(context, "batch_norm", output,
         [x, addend, coefficients, weight = parameters.weight, bias = parameters.bias, output](const Tensor& dy) {
           const BatchNormGradients gradients = backward_batch_norm(output, x.value(), coefficients, dy);
           if (x.requires_grad()) {
             const Tensor dx = addend.requires_grad() ? empty_like(dy) : dy;
             dy.backend().batch_norm_backward_data({dy, x.value(), coefficients, gradients, dx});
             x.accumulate_grad(dx);
           }
           give(addend, dy);
           give(weight, gradients.weight);
           give(bias, gradients.bias);
         });
  return output;
}

Variable linear(const Context& context, const Variable& x, const Variable& weight, const Variable& bias) {
  const Shape matrix = weight.defined() ? weight.shape() : Shape();
  require(matrix.rank() == 2, "[linear] expected weight [K,C], got ", matrix);
  expect_input("linear", "input", x, {"N", matrix[1]});
  require(x.value().dtype() != DType::bfloat16, "[linear] expected input of type float32, got bfloat16");
  expect_like("linear", "weight", weight.value(), {"K", "C"}, x.value());
  if (bias.defined()) expect_like("linear", "bias", bias.value(), {matrix[0]}, x.value());
  const Tensor y(x.value().backend(), {x.shape()[0], matrix[0]}, x.value().dtype());
  y.backend().linear_forward({x.value(), weight.value(), value_or_none(bias), y});
  const Variable output(y, records(context, x, weight, bias));
  if (!output.requires_grad()) return output;
  record(context, "linear", output, [x, weight, bias](const Tensor& dy) {
    const auto room_for = [](const Variable& input) {
      return input.requires_grad() ? empty_like(input.value()) : Tensor();
    };
    const LinearBackward pass{x.value(), weight.value(), dy, room_for(x), room_for(weight), room_for(bias)};
    dy.backend().linear_backward(pass);
    give(x, pass.dx);
    give(weight, pass.d_weight);
    give(bias, pass.d_bias);
  });
  return output;
}

namespace {

Variable pool(const char* op, const Context& context, const Variable& x, std::int64_t height, std::int64_t width,
              const Shape& output_shape) {
  const Shape& image = x.shape();
  const Shape pooled{image[0], image[1] / height, image[2] / width, image[3]};
  const Tensor y(x.value().backend(), pooled, parameter_type(x.value().dtype()));
  y.backend().average_pool_forward({x.value(), y, height, width});
  const Variable output(y.reshaped(output_shape), records(context, x));
  if (!output.requires_grad()) return output;
  record(context, op, output, [x, pooled, height, width](const Tensor& dy) {
    const Tensor dx = empty_like(x.value());
    dy.backend().average_pool_backward({dx, dy.reshaped(pooled), height, width});
    give(x, dx);
  });
  return output;
}

}  // namespace

Variable average_pool(const Context& context, const Variable& x, std::int64_t height, std::int64_t width) {
  expect_input("average_pool", "input", x, {"N", "H", "W", "C"});
  const Shape& image = x.shape();
  require(height >= 1 && width >= 1 && height <= image[1] && width <= image[2],
          "[average_pool] expected a window of at least 1x1 and at most the image ", image, ", got ", height, "x",
          width);
  return pool("average_pool", context, x, height, width, {image[0], image[1] / height, image[2] / width, image[3]});
}

Variable global_average_pool(const Context& context, const Variable& x) {
  expect_input("global_average_pool", "input", x, {"N", "H", "W", "C"});
  const Shape& image = x.shape();
  return pool("global_average_pool", context, x, image[1], image[2], {image[0], image[3]});
}

Variable max_pool(const Context& context, const Variable& x, std::int64_t window, const Conv2dOptions& options) {
  expect_input("max_pool", "input", x, {"N", "H", "W", "C"});
  const Shape& image = x.shape();
  const std::int64_t padding = std::max(options.padding_before, options.padding_after);
  require(window >= 1 && options.stride >= 1 && std::min(options.padding_before, options.padding_after) >= 0 &&
              padding < window,
          "[max_pool] expected a window and a stride of at least 1 and paddings smaller than the window, got ", window,
          ", ", options.stride, " and paddings ", options.padding_before, ", ", options.padding_after);
  const std::int64_t rows = options.output_size(image[1], window), columns = options.output_size(image[2], window);
  for (const std::int64_t size : {image[1], image[2]}) {
    const std::int64_t last = (options.output_size(size, window) - 1) * options.stride - options.padding_before;
    require(size + options.padding_before + options.padding_after >= window && last < size,
            "[max_pool] expected an image that every window lies on, got ", image, " and a window of ", window);
  }
  const Tensor y(x.value().backend(), {image[0], rows, columns, image[3]}, x.value().dtype());
  y.backend().max_pool_forward({.x = x.value(), .y = y, .window = window, .options = options});
  const Variable output(y, records(context, x));
  if (!output.requires_grad()) return output;
  record(context, "max_pool", output, [x, window, options](const Tensor& dy) {
    const Tensor dx = empty_like(x.value());
    dy.backend().max_pool_backward({.x = x.value(), .dy = dy, .dx = dx, .window = window, .options = options});
    x.accumulate_grad(dx);
  });
  return output;
}

Variable padded_shortcut(const Context& context, const Variable& x, std::int64_t stride, std::int64_t zeros_before,
                         std::int64_t channels) {
  expect_input("padded_shortcut", "input", x, {"N", "H", "W", "C"});
  const PaddingParameters padding{stride, zeros_before, channels};
  const Variable output(padded(x.value(), padding), records(context, x));
  if (!output.requires_grad()) return output;
  record(context, "padded_shortcut", output,
         [x, padding](const Tensor& dy) { x.accumulate_grad(padded_backward(dy, x.value(), padding)); });
  return output;
}

Variable softmax_cross_entropy(const Context& context, const Variable& logits, const Tensor& labels, double smoothing,
                               const Tensor& totals) {
  expect_input("softmax_cross_entropy", "logits", logits, {"N", "K"});
  const char* const op = "softmax_cross_entropy";
  require(logits.value().dtype() != DType::bfloat16, "[", op, "] expected logits of type float32, got bfloat16");
  Backend& backend = logits.value().backend();
  expect_shape(op, "labels", labels, {logits.shape()[0]});
  require(labels.dtype() == DType::int32, "[", op, "] expected labels of type int32, got ", name_of(labels.dtype()));
  require(&labels.backend() == &backend, "[", op, "] expected labels on the logits' backend");
  require(smoothing >= 0.0 && smoothing < 1.0, "[", op, "] expected a smoothing in [0, 1), got ", smoothing);
  if (totals.defined()) {
    expect_shape(op, "totals", totals, {2});
    require(totals.dtype() == DType::float64 && &totals.backend() == &backend, "[", op,
            "] expected totals of type float64 on the logits' backend, got ", name_of(totals.dtype()));
  }
  SoftmaxCrossEntropy pass;
  pass.logits = logits.value();
  pass.labels = labels;
  pass.smoothing = smoothing;
  pass.loss = Tensor(backend, {1}, logits.value().dtype());
  if (records(context, logits)) pass.d_logits = empty_like(logits.value());
  pass.totals = totals;
  backend.softmax_cross_entropy(pass);
  const Variable output(pass.loss, records(context, logits));
  if (!output.requires_grad()) return output;
  // The forward pass has computed the gradient already, for a loss whose own gradient is 1.
  record(context, op, output, [logits, d_logits = pass.d_logits](const Tensor&) { give(logits, d_logits); });
  return output;
}

}  // namespace stagewise
