// From a network to the steps of one that only answers.
#include <cmath>

#include "layers/inference.h"

namespace stagewise {

namespace {

/// What a batch norm multiplies each channel by.
std::vector<double> scales_of(const BatchNormParameters& batch_norm) {
  std::vector<double> scales = batch_norm.weight.value().to_doubles();
  const std::vector<double> variance = batch_norm.running_variance.to_doubles();
  for (std::size_t c = 0; c < scales.size(); ++c) scales[c] /= std::sqrt(variance[c] + batch_norm.epsilon);
  return scales;
}

}  // namespace

FoldedConvolution fold(const Convolution& convolution, const ConvolutionParameters& parameters) {
  const Tensor& weight = parameters.weight.value();
  const Shape& shape = convolution.filter;
  std::vector<double> weights = weight.to_doubles();
  std::vector<double> biases(static_cast<std::size_t>(shape[0]), 0.0);
  if (convolution.bias) biases = parameters.bias.value().to_doubles();
  if (!convolution.batch_norm.empty()) {
    const BatchNormParameters& batch_norm = parameters.batch_norm;
    const std::vector<double> scales = scales_of(batch_norm), beta = batch_norm.bias.value().to_doubles(),
                              mean = batch_norm.running_mean.to_doubles();
    const std::size_t filter = weights.size() / biases.size();
    for (std::size_t k = 0; k < biases.size(); ++k) {
      for (std::size_t i = k * filter; i < (k + 1) * filter; ++i) weights[i] *= scales[k];
      biases[k] = beta[k] + (biases[k] - mean[k]) * scales[k];
    }
  }
  Backend& backend = weight.backend();
  return {.weight = Tensor::from_doubles(backend, shape, weights, weight.dtype()),
          .bias = Tensor::from_doubles(backend, {shape[0]}, biases, weight.dtype())};
}

namespace {

folded::ScaleAndRelu fold(const BatchNormParameters& batch_norm) {
  const Tensor& weight = batch_norm.weight.value();
  const std::vector<double> scale = scales_of(batch_norm), mean = batch_norm.running_mean.to_doubles();
  std::vector<double> shift = batch_norm.bias.value().to_doubles();
  for (std::size_t c = 0; c < scale.size(); ++c) shift[c] -= mean[c] * scale[c];
  return {.scale = Tensor::from_doubles(weight.backend(), weight.shape(), scale, weight.dtype()),
          .shift = Tensor::from_doubles(weight.backend(), weight.shape(), shift, weight.dtype())};
}

/// Puts steps one behind the other. Values are given by number.
class Folder {
 public:
  explicit Folder(const Network& network) : network_(network) {}

  std::size_t add(FoldedStep step) {
    steps_.push_back(std::move(step));
    return steps_.size();
  }
  std::size_t convolve(const Convolution& convolution, std::size_t x, bool relu,
                       std::optional<std::size_t> addend = {}) {
    const FoldedConvolution made = stagewise::fold(convolution, network_.convolution(convolution.name));
    return add({.name = convolution.name,
                .op = folded::Convolve{convolution, made.weight, made.bias, addend, relu},
                .input = x,
                .output = convolution.output});
  }
  std::size_t normalise(const BatchNorm& batch_norm, std::size_t x, const Shape& shape) {
    return add(
        {.name = batch_norm.name, .op = fold(network_.batch_norm(batch_norm.name)), .input = x, .output = shape});
  }
  std::size_t block(const Node& node, const ResidualBlockNode& block, std::size_t x);
  std::size_t node(const Node& node, std::size_t x);
  std::vector<FoldedStep> steps() && { return std::move(steps_); }

 private:
  const Network& network_;
  std::vector<FoldedStep> steps_;
};

std::size_t Folder::block(const Node& node, const ResidualBlockNode& block, std::size_t x) {
  const std::vector<const Convolution*> branch = block.branch();
  std::size_t value = block.pre_activation ? normalise(*block.pre_activation, x, branch.front()->input) : x, skip = x;
  if (block.projection) skip = convolve(*block.projection, value, false);
  if (block.padding) {
    skip = add({.name = node.name + ".padding", .op = *block.padding, .input = x, .output = node.output});
  }
  for (const Convolution* const one : branch) {
    const bool last = one == branch.back();
    value = convolve(*one, value, !last || !block.pre_activation, last ? std::optional(skip) : std::nullopt);
  }
  return value;
}

std::size_t Folder::node(const Node& node, std::size_t x) {
  const ByKind by_kind{
      [&](const StemNode& stem) { return convolve(stem.convolution, x, !stem.convolution.batch_norm.empty()); },
      [&](const MaxPoolNode& pool) {
        return add({node.name, pool, x, node.output});
      },
      [&](const ResidualBlockNode& residual) { return block(node, residual, x); },
      [&](const BatchNormNode& end) { return normalise(end.batch_norm, x, node.output); },
      [&](const GlobalAveragePoolNode& pool) {
        return add({node.name, pool, x, node.output});
      },
      [&](const LinearNode&) {
        return add({node.name, folded::Linear{network_.classifier_weight().value(), network_.classifier_bias().value()},
                    x, node.output});
      },
  };
  return std::visit(by_kind, node.kind);
}

}  // namespace

std::vector<FoldedStep> folded_steps(const Network& network) {
  Folder folder(network);
  std::size_t value = 0;
  for (const Node& node : network.active_graph().nodes) value = folder.node(node, value);
  return std::move(folder).steps();
}

}  // namespace stagewise
