#include "layers/image_gradient.h"

#include "autograd/op.h"
#include "layers/inference.h"

namespace stagewise {

namespace {

/// x * scale + shift, each channel for itself: a 1x1 convolution with nothing beside its diagonal.
Variable scaled(const Context& context, const Variable& x, const folded::ScaleAndRelu& op) {
  const std::vector<double> scale = op.scale.to_doubles();
  const auto channels = std::ssize(scale);
  std::vector<double> diagonal(scale.size() * scale.size(), 0.0);
  for (std::size_t c = 0; c < scale.size(); ++c) diagonal[c * scale.size() + c] = scale[c];
  const Tensor filter =
      Tensor::from_doubles(op.scale.backend(), {channels, 1, 1, channels}, diagonal, op.scale.dtype());
  return conv2d(context, x, Variable(filter), Variable(op.shift), {});
}

}  // namespace

// A batch norm's own way back leads through the statistics of a batch that is trained on. Folded into the convolution
// before it there is none, and every op that is left knows its way back.
Tensor image_gradient(const Network& network, const Tensor& x, const Tensor& labels) {
  const Shape& image = network.active_graph().input;
  expect_shape("image gradient", "images", x, {"N", image[1], image[2], image[3]});
  Tape tape;
  const Context context{.tape = &tape};
  std::vector<Variable> values{Variable(x, /*requires_grad=*/true)};
  for (const FoldedStep& step : folded_steps(network)) {
    const Variable& input = values[step.input];
    const ByKind by_kind{
        [&](const folded::Convolve& op) {
          Variable y = conv2d(context, input, Variable(op.weight), Variable(op.bias), op.convolution.options);
          if (op.addend) y = add(context, y, values[*op.addend]);
          return op.relu ? relu(context, y) : y;
        },
        [&](const folded::ScaleAndRelu& op) { return relu(context, scaled(context, input, op)); },
        [&](const MaxPoolNode& pool) { return max_pool(context, input, pool.window, pool.options); },
        [&](const ShortcutPadding& padding) {
          return padded_shortcut(context, input, padding.stride, padding.zeros_before, step.output[3]);
        },
        [&](const GlobalAveragePoolNode&) { return global_average_pool(context, input); },
        [&](const folded::Linear& op) { return linear(context, input, Variable(op.weight), Variable(op.bias)); },
    };
    values.push_back(std::visit(by_kind, step.op));
  }
  tape.backward(softmax_cross_entropy(context, values.back(), labels));
  return values.front().grad();
}

}  // namespace stagewise
