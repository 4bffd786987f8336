// Our own gradient of the filters on tensor cores, one of the ways to run a convolution by weights (cuda/convolution.cpp).
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/composed_backend.h"

namespace stagewise::cuda {

/// Whether filter_gradient() takes a convolution of x [N,H,W,C] with `filter` [K,R,S,C], feature maps of type `maps`:
/// filters of 3x3 or 1x1, stride 1 or 2, C and K multiples of 16 up to 64, maps in bfloat16, or in float32 if their
/// values may be rounded to TF32 (`tf32`), code for compute capability 8.0 or later.
bool filter_gradient_applies(const Shape& x, const Shape& filter, const Conv2dOptions& options, DType maps, bool tf32);

/// call.weight [K,R,S,C] (float32) = the gradient of the filters from call.x and call.y, which stands for dy.
void filter_gradient(const BareConvolution& call, cudaStream_t stream);

/// For `describe --plan`: `our own kernel (tensor cores), 256 blocks, 256 parts in 2304 KiB`.
std::string filter_gradient_description(const Shape& x, const Shape& filter, const Conv2dOptions& options, DType maps);

}  // namespace stagewise::cuda
