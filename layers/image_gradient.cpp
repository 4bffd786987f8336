#include "layers/image_gradient.h"

#include "autograd/op.h"
#include "layers/inference.h"

namespace stagewise {

// A batch norm's own way back leads through the statistics of a batch that is trained on. Folded into the convolution
// before it there is none, and every op that is left knows its way back.
Tensor image_gradient(const Network& network, const Tensor& x, const Tensor& labels) {
  const Graph& graph = network.active_graph();
  const Shape& image = graph.input;
  expect_shape("image gradient", "images", x, {"N", image[1], image[2], image[3]});
  Tape tape;
  const Context context{.tape = &tape};
  const auto convolve = [&](const Convolution& convolution, const Variable& input) {
    const FoldedConvolution folded = fold(convolution, network.convolution(convolution.name));
    return conv2d(context, input, Variable(folded.weight), Variable(folded.bias), convolution.options);
  };
  const Variable images(x, /*requires_grad=*/true);
  Variable value = images;
  const ByKind by_kind{
      [&](const StemNode& stem) { return relu(context, convolve(stem.convolution, value)); },
      [&](const ResidualBlockNode& block) {
        const Variable inner = convolve(block.conv2, relu(context, convolve(block.conv1, value)));
        return relu(context, add(context, inner, block.projection ? convolve(*block.projection, value) : value));
      },
      [&](const GlobalAveragePoolNode&) { return global_average_pool(context, value); },
      [&](const LinearNode&) {
        return linear(context, value, Variable(network.classifier_weight().value()),
                      Variable(network.classifier_bias().value()));
      },
  };
  for (const Node& node : graph.nodes) value = std::visit(by_kind, node.kind);
  tape.backward(softmax_cross_entropy(context, value, labels));
  return images.grad();
}

}  // namespace stagewise
