#include "layers/inference.h"

#include <cmath>

namespace stagewise {
namespace {

Shape output_of(const Shape& image, const ConvolutionParameters& parameters) {
  const Shape& filter = parameters.weight.shape();
  return {image[0], parameters.options.output_size(image[1], filter[1]),
          parameters.options.output_size(image[2], filter[2]), filter[0]};
}

}  // namespace

InferenceNetwork::Convolution InferenceNetwork::fold(const ConvolutionParameters& parameters, const Shape& image) {
  const Tensor& weight = parameters.weight.value();
  const Shape& shape = weight.shape();
  std::vector<double> weights = weight.to_doubles();
  std::vector<double> biases(static_cast<std::size_t>(shape[0]), 0.0);
  if (parameters.bias.defined()) biases = parameters.bias.value().to_doubles();
  if (const BatchNormParameters& batch_norm = parameters.batch_norm; batch_norm.weight.defined()) {
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
  Convolution folded;
  folded.weight = Tensor::from_doubles(backend, shape, weights, weight.dtype());
  folded.bias = Tensor::from_doubles(backend, {shape[0]}, biases, weight.dtype());
  folded.prepared = backend.convolution_prepare(image, folded.weight, parameters.options);
  folded.options = parameters.options;
  return folded;
}

InferenceNetwork::InferenceNetwork(const ResNet& network)
    : classifier_weight_(network.classifier_weight().value().clone()),
      classifier_bias_(network.classifier_bias().value().clone()) {
  const Architecture architecture = network.architecture();
  image_ = {1, architecture.height, architecture.width, architecture.channels};
  stem_ = fold(network.stem(), image_);
  Shape image = output_of(image_, network.stem());
  for (const Stage& stage : network.stages()) {
    for (const ResidualBlock& block : stage.blocks()) {
      if (block.skipped) continue;
      const ResidualBlockParameters& parameters = block.parameters;
      const Shape middle = output_of(image, parameters.conv1);
      Block folded{fold(parameters.conv1, image), fold(parameters.conv2, middle), std::nullopt};
      if (parameters.projection.weight.defined()) folded.projection = fold(parameters.projection, image);
      blocks_.push_back(std::move(folded));
      image = output_of(middle, parameters.conv2);
    }
  }
}

Tensor InferenceNetwork::convolve(const Convolution& convolution, const Tensor& x, const Tensor& addend, bool relu) {
  const Shape &image = x.shape(), &filter = convolution.weight.shape();
  ConvolutionForward pass;
  pass.x = x;
  pass.weight = convolution.weight;
  pass.bias = convolution.bias;
  pass.y = Tensor(x.backend(),
                  {image[0], convolution.options.output_size(image[1], filter[1]),
                   convolution.options.output_size(image[2], filter[2]), filter[0]},
                  x.dtype());
  pass.options = convolution.options;
  pass.addend = addend;
  pass.relu = relu;
  pass.prepared = convolution.prepared;
  x.backend().convolution_forward(pass);
  return pass.y;
}

Tensor InferenceNetwork::logits(const Tensor& x) const {
  require(x.defined() && x.shape().rank() == 4 && x.shape()[1] == image_[1] && x.shape()[2] == image_[2] &&
              x.shape()[3] == image_[3],
          "[inference] expected images [N,", image_[1], ",", image_[2], ",", image_[3], "], got ",
          x.defined() ? concat(x.shape()) : "none");
  require(parameter_type(x.dtype()) == stem_.weight.dtype() && x.backend().supports(x.dtype()) &&
              &x.backend() == &stem_.weight.backend(),
          "[inference] expected images of ", name_of(stem_.weight.dtype()), " on the network's backend, got ",
          name_of(x.dtype()), " on `", x.backend().name(), "`");
  Tensor activation = convolve(stem_, x, {}, true);
  for (const Block& block : blocks_) {
    const Tensor skip = block.projection ? convolve(*block.projection, activation, {}, false) : activation;
    activation = convolve(block.conv2, convolve(block.conv1, activation, {}, true), skip, true);
  }
  const Context context;
  return linear(context, global_average_pool(context, Variable(activation)), classifier_weight_, classifier_bias_)
      .value();
}

}  // namespace stagewise
