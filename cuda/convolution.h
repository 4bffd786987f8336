// The three passes of a convolution with all that may be fused into them: what one kernel can't do in one go runs as
// parts, one after another, behind the same call.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "tensor/backend.h"

namespace stagewise::cuda {

class Convolutions {
 public:
  explicit Convolutions(cudaStream_t stream) : stream_(stream) {}

  void forward(const ConvolutionForward& call);
  void backward_data(const ConvolutionBackwardData& call);
  void backward_weights(const ConvolutionBackwardWeights& call);
  std::vector<ConvolutionPlanText> plan(const Shape& x, const Shape& weight, const Conv2dOptions& options);

 private:
  Tensor normalised(const Tensor& x, const BatchNormCoefficients& coefficients) const;

  cudaStream_t stream_;
};

}  // namespace stagewise::cuda
