#include "layers/convolution.h"

namespace stagewise {

Conv2dOptions padded(const ConvolutionOptions& options) {
  const std::int64_t half = options.filter / 2;
  const bool uneven = options.paper && options.stride == 2 && half > 0;
  return {options.stride, uneven ? half - 1 : half, half};
}

ConvolutionParameters make_convolution(const Initialiser& initialiser, const std::string& name,
                                       const ConvolutionOptions& options) {
  ConvolutionParameters parameters;
  const Shape filter{options.width, options.filter, options.filter, options.in_width};
  parameters.weight = Variable(initialiser.he_normal(name + ".weight", filter), true);
  if (options.paper) parameters.bias = Variable(initialiser.full({options.width}, 0.0), true);
  parameters.options = padded(options);
  if (!options.batch_norm) return parameters;
  BatchNormParameters& batch_norm = parameters.batch_norm;
  batch_norm.weight = Variable(initialiser.full({options.width}, 1.0), true);
  batch_norm.bias = Variable(initialiser.full({options.width}, 0.0), true);
  batch_norm.running_mean = initialiser.full({options.width}, 0.0);
  batch_norm.running_variance = initialiser.full({options.width}, 1.0);
  batch_norm.epsilon = options.paper ? 1e-3 : 1e-5;
  return parameters;
}

void visit_convolution(const ConvolutionParameters& parameters, const std::string& name,
                       const std::string& batch_norm_name, const Visitor& visitor) {
  visitor.parameter(name + ".weight", parameters.weight, true);
  if (parameters.bias.defined()) visitor.parameter(name + ".bias", parameters.bias, false);
  const BatchNormParameters& batch_norm = parameters.batch_norm;
  if (!batch_norm.weight.defined()) return;
  visitor.parameter(batch_norm_name + ".weight", batch_norm.weight, false);
  visitor.parameter(batch_norm_name + ".bias", batch_norm.bias, false);
  visitor.buffer(batch_norm_name + ".running_mean", batch_norm.running_mean);
  visitor.buffer(batch_norm_name + ".running_variance", batch_norm.running_variance);
}

}  // namespace stagewise
