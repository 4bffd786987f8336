// The three passes of a convolution with all that may be fused into them. cuDNN takes the whole call where it has a
// plan for it; else its parts run one after another behind the same call, our kernels between cuDNN's bare
// convolutions; and where cuDNN has no plan even for those, our direct ones (convolution_direct.cu) take them.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/cuda_backend.h"
#include "cuda/cudnn_convolution.h"
#include "tensor/backend.h"

namespace stagewise::cuda {

class Convolutions {
 public:
  /// All work goes to `stream`. Of the options, those that name convolutions.
  Convolutions(cudaStream_t stream, const CudaOptions& options);

  void forward(const ConvolutionForward& call);
  void backward_data(const ConvolutionBackwardData& call);
  void backward_weights(const ConvolutionBackwardWeights& call);
  std::vector<ConvolutionPlanText> plan(const Shape& x, const Shape& weight, const Conv2dOptions& options, DType maps);
  /// `cuDNN 9.19.0, TF32 off`
  std::string description() const;

 private:
  Tensor normalised(const Tensor& x, const BatchNormCoefficients& coefficients) const;
  Tensor filters_for(const Tensor& maps, const Tensor& weight) const;
  bool run_whole(const ConvolutionForward& call);
  void run_parts(const ConvolutionForward& call);
  bool run_with_cudnn(const ConvolutionBackwardWeights& call);

  struct CloseHandle {
    void operator()(cudnnHandle_t handle) const { cudnnDestroy(handle); }
  };

  cudaStream_t stream_;
  bool tf32_;
  std::unique_ptr<cudnnContext, CloseHandle> handle_;
  std::unique_ptr<CudnnConvolutions> cudnn_;  // none: direct convolutions only
};

}  // namespace stagewise::cuda
