// Which plan serves each convolution best, measured: the work of `stagewise tune`.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/cuda_backend.h"
#include "cuda/cudnn_convolution.h"

namespace stagewise::cuda {

/// As tune_convolutions(), of a backend whose convolutions are these, on its stream.
std::map<std::string, TunedPlan> tune(Backend& backend, CudnnConvolutions& convolutions, cudaStream_t stream,
                                      const std::function<void()>& work,
                                      const std::function<void(const TuningProgress&)>& watch);

}  // namespace stagewise::cuda
