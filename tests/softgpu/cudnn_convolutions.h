// The stand-in cuDNN's convolutions: plain loops in double over channels-last images and filters.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace softgpu::cudnn {

struct ConvolutionSizes {
  std::int64_t images, height, width, channels;  // x
  std::int64_t out_height, out_width, filters;   // y
  std::int64_t rows, columns;                    // of a filter
  std::array<std::int64_t, 2> stride, padding;   // before; what lies beyond on the other side follows from y's sizes
};

using Values = std::vector<double>;

/// y [N,P,Q,K] = sum over r, s, c of x [N,H,W,C] * weight [K,R,S,C].
Values convolve(const ConvolutionSizes& sizes, const Values& x, const Values& weight);
/// dx [N,H,W,C] and d_weight [K,R,S,C]: its adjoints.
Values convolve_by_data(const ConvolutionSizes& sizes, const Values& dy, const Values& weight);
Values convolve_by_weights(const ConvolutionSizes& sizes, const Values& x, const Values& dy);

}  // namespace softgpu::cudnn
