// A convolution with the batch norm behind it: making one, and visiting its tensors.
#pragma once

#include <string>

#include "layers/initialise.h"
#include "layers/module.h"

namespace stagewise {

/// What one convolution of a network is, in both variants.
struct ConvolutionOptions {
  std::int64_t in_width = 16, width = 16;  // channels
  std::int64_t filter = 3;                 // rows and columns
  std::int64_t stride = 1;
  bool paper = false;  // a bias, epsilon 1e-3, Keras's `same` padding
  bool batch_norm = true;
};

/// The padding that keeps the size at stride 1 and halves it at stride 2: half the filter on each side; in the paper
/// variant at stride 2, as Keras does for even sizes, one pixel less before.
Conv2dOptions padded(const ConvolutionOptions& options);

/// Filters as Initialiser::he_normal draws them for `name`.weight, bias 0; batch norm 1
/// and 0, running statistics 0 and 1.
ConvolutionParameters make_convolution(const Initialiser& initialiser, const std::string& name,
                                       const ConvolutionOptions& options);

void visit_convolution(const ConvolutionParameters& parameters, const std::string& name,
                       const std::string& batch_norm_name, const Visitor& visitor);

}  // namespace stagewise
