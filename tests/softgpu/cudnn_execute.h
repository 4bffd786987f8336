// Running a plan of the stand-in cuDNN.
#pragma once

#include "cudnn_descriptors.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace softgpu::cudnn {

/// Checks the addresses of a variant pack against the plan's tensors, and queues the plan's operations on `stream`.
void execute(cudaStream_t stream, const Descriptor& plan, const Descriptor& pack);

}  // namespace softgpu::cudnn
