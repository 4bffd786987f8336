// What the convolution's algorithms share: where the data lies, and what is folded into reading and writing it.
#pragma once

#include "cpu/convolution_plan.h"
#include "cpu/feature_map.h"
#include "cpu/partial_sums.h"

namespace stagewise::cpu {

/// What happens to output rows as soon as they are computed, while they are in the cache.
struct Epilogue {
  PartialMoments* moments = nullptr;  // forward: gathers the output's moments
  bool relu = false;                  // forward
  PartialSums* sums = nullptr;        // by data: the ReLU's mask, and the sums of the batch norm's backward
  FeatureMap x = {};                  // with sums: what the forward pass normalised
  FeatureMap relu_output = {};        // with sums, may be undefined: decides the mask
  ChannelCoefficients coefficients = {};

  /// Finishes `rows`, the `pixels` of output from element `offset` on.
  void operator()(const Kernels& kernels, std::int64_t item, float* rows, std::int64_t offset, std::int64_t pixels,
                  std::int64_t channels) const;
};

/// Forward and by data: output = convolution(input) + bias + addend.
struct ConvolutionRun {
  FeatureMap input;
  const ChannelCoefficients* normalise;  // or nullptr: read relu(normalise(input))
  const float* filter;                   // as CpuBackend::prepare makes it
  const float* bias;                     // or nullptr
  FeatureMap addend;                     // may be undefined
  FeatureMap output;
  Epilogue epilogue;

  bool in_place() const { return output.defined() && output == addend; }
};

/// By weights: the gradient of the filter from x and dy, with dy computed as it is read where a batch norm is folded
/// in.
struct WeightsRun {
  ConvolutionShape shape;
  FeatureMap x;
  const ChannelCoefficients* normalise;  // or nullptr: read relu(normalise(x))
  FeatureMap dy;
  FeatureMap dy_out = {};  // with a batch norm: where dy is written
  FeatureMap y = {};
  const float* mean = nullptr;
  const BatchNormBackwardFactors* factors = nullptr;

  /// dy of `pixels` pixels from `first` on, and their sum by channel added to `bias` if there is one.
  const float* read_dy(const Kernels& kernels, std::int64_t first, std::int64_t pixels, double* bias) const;
};

}  // namespace stagewise::cpu
