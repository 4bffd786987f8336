// Our own gradient of the filters, on tensor cores or in exact float32: one of the ways to run a convolution by weights
// (cuda/convolution.cpp).
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/composed_backend.h"

namespace stagewise::cuda {

/// Whether filter_gradient() takes a convolution of x [N,H,W,C], maps of that type, with `filter` [K,R,S,C]: filters of
/// 3x3 or 1x1, stride 1 or 2, K and C multiples of 16 up to 64, in float32 also C up to 4 (an image's), code for compute
/// capability 8.0 or later.
bool filter_gradient_applies(const Shape& x, const Shape& filter, const Conv2dOptions& options, DType maps);

/// call.weight [K,R,S,C] (float32) = the gradient of the filters from call.x and call.y, which stands for dy. Maps in
/// bfloat16 are multiplied by tensor cores, in float32 too if their values may be rounded to TF32 (`tf32`) and an image has
/// more than 4 channels, else exactly.
void filter_gradient(const BareConvolution& call, bool tf32, cudaStream_t stream);

/// For `describe --plan`: `our own kernel (tensor cores), 256 blocks, 256 parts in 2304 KiB`.
std::string filter_gradient_description(const Shape& x, const Shape& filter, const Conv2dOptions& options, DType maps,
                                        bool tf32);

}  // namespace stagewise::cuda
