#include "layers/inference.h"

#include <cmath>

#include "autograd/op.h"

namespace stagewise {

FoldedConvolution fold(const Convolution& convolution, const ConvolutionParameters& parameters) {
  const Tensor& weight = parameters.weight.value();
  const Shape& shape = convolution.filter;
  std::vector<double> weights = weight.to_doubles();
  std::vector<double> biases(static_cast<std::size_t>(shape[0]), 0.0);
  if (convolution.bias) biases = parameters.bias.value().to_doubles();
  if (!convolution.batch_norm.empty()) {
    const BatchNormParameters& batch_norm = parameters.batch_norm;
    const std::vector<double> gamma = batch_norm.weight.value().to_doubles(),
                              beta = batch_norm.bias.value().to_doubles(), mean = batch_norm.running_mean.to_doubles(),
                              variance = batch_norm.running_variance.to_doubles();
    const std::size_t filter = weights.size() / biases.size();
    for (std::size_t k = 0; k < biases.size(); ++k) {
      const double scale = gamma[k] / std::sqrt(variance[k] + batch_norm.epsilon);
      for (std::size_t i = k * filter; i < (k + 1) * filter; ++i) weights[i] *= scale;
      biases[k] = beta[k] + (biases[k] - mean[k]) * scale;
    }
  }
  Backend& backend = weight.backend();
  return {.weight = Tensor::from_doubles(backend, shape, weights, weight.dtype()),
          .bias = Tensor::from_doubles(backend, {shape[0]}, biases, weight.dtype())};
}

InferenceNetwork::InferenceNetwork(const Network& network)
    : graph_(network.active_graph()),
      classifier_weight_(network.classifier_weight().value().clone()),
      classifier_bias_(network.classifier_bias().value().clone()) {
  for (const Node& node : graph_.nodes) {
    for (const Convolution* const one : convolutions_of(node)) {
      Ready& ready = convolutions_[one->name];
      ready.folded = fold(*one, network.convolution(one->name));
      ready.prepared = network.backend().convolution_prepare(one->input, ready.folded.weight, one->options);
    }
  }
}

Tensor InferenceNetwork::convolve(const Convolution& convolution, const Tensor& x, const Tensor& addend,
                                  bool relu) const {
  const Ready& ready = convolutions_.at(convolution.name);
  ConvolutionForward pass;
  pass.x = x;
  pass.weight = ready.folded.weight;
  pass.bias = ready.folded.bias;
  pass.y = Tensor(x.backend(), convolution_output(x.shape(), convolution.filter, convolution.options), x.dtype());
  pass.options = convolution.options;
  pass.addend = addend;
  pass.relu = relu;
  pass.prepared = ready.prepared;
  x.backend().convolution_forward(pass);
  return pass.y;
}

Tensor InferenceNetwork::run(const Node& node, const Tensor& x) const {
  const Context context;
  const ByKind by_kind{
      [&](const StemNode& stem) { return convolve(stem.convolution, x, {}, true); },
      [&](const ResidualBlockNode& block) {
        const Tensor skip = block.projection ? convolve(*block.projection, x, {}, false) : x;
        return convolve(block.conv2, convolve(block.conv1, x, {}, true), skip, true);
      },
      [&](const GlobalAveragePoolNode&) { return global_average_pool(context, Variable(x)).value(); },
      [&](const LinearNode&) {
        return linear(context, Variable(x), Variable(classifier_weight_), Variable(classifier_bias_)).value();
      },
  };
  return std::visit(by_kind, node.kind);
}

Tensor InferenceNetwork::logits(const Tensor& x) const {
  const Shape& image = graph_.input;
  expect_shape("inference", "images", x, {"N", image[1], image[2], image[3]});
  require(parameter_type(x.dtype()) == classifier_weight_.dtype() && x.backend().supports(x.dtype()) &&
              &x.backend() == &classifier_weight_.backend(),
          "[inference] expected images of ", name_of(classifier_weight_.dtype()), " on the network's backend, got ",
          name_of(x.dtype()), " on `", x.backend().name(), "`");
  Tensor value = x;
  for (const Node& node : graph_.nodes) value = run(node, value);
  return value;
}

}  // namespace stagewise
