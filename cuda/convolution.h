// Which of the seam's convolutions cuDNN takes, and what it needs for that. It takes a call in one go where it has a
// plan for all of it; else tensor/composed_backend.h takes the call apart and comes back with less. Where cuDNN has no
// plan even for the bare convolution, our direct one (convolution_direct.cu) takes it. The gradient of the filters is our
// own kernel's (filter_gradient.cu) where that applies.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <span>
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

  /// Backend::prepare_filters: the weights in the maps' type, as cuDNN wants them.
  std::vector<Tensor> prepare(std::span<const Tensor> weights, DType maps) const;

  /// Each queues all of the call, or nothing and returns false.
  bool run(const ConvolutionForward& call);
  bool run(const ConvolutionBackwardData& call);
  bool run(const ConvolutionBackwardWeights& call);

  /// The plans' workspace; nullptr where cuDNN isn't used.
  Workspace* workspace() { return cudnn_ ? &cudnn_->workspace() : nullptr; }

  /// As Backend::expect_batch().
  void expect_batch(std::int64_t images) {
    if (cudnn_) cudnn_->expect_batch(images);
  }
  /// For cuda/tuning.cpp; nullptr where cuDNN isn't used.
  CudnnConvolutions* cudnn() { return cudnn_.get(); }

  std::vector<ConvolutionPlanText> plan(const Shape& x, const Shape& weight, const Conv2dOptions& options, DType maps);
  /// `cuDNN 9.19.0, TF32 off, 31 tuned plans`
  std::string description() const;

 private:
  Tensor filters_for(const Tensor& maps, const Tensor& weight, const Tensor& prepared) const;

  struct CloseHandle {
    void operator()(cudnnHandle_t handle) const { cudnnDestroy(handle); }
  };

  cudaStream_t stream_;
  bool tf32_;
  std::size_t tuned_;  // plans that a plan file has
  std::unique_ptr<cudnnContext, CloseHandle> handle_;
  std::unique_ptr<CudnnConvolutions> cudnn_;  // none: direct convolutions only
};

}  // namespace stagewise::cuda
