#include "cudnn_convolutions.h"

#include <algorithm>

namespace softgpu::cudnn {
namespace {

/// Calls visit(input pixel, output pixel, filter position) wherever a filter lies over the image, by output pixels.
template <class Visit>
void for_each_tap(const ConvolutionSizes& sizes, const Visit& visit) {
  for (std::int64_t n = 0; n < sizes.images; ++n) {
    for (std::int64_t p = 0; p < sizes.out_height; ++p) {
      for (std::int64_t q = 0; q < sizes.out_width; ++q) {
        const std::int64_t top = p * sizes.stride[0] - sizes.padding[0], left = q * sizes.stride[1] - sizes.padding[1];
        const std::int64_t first_row = std::max<std::int64_t>(0, -top), first_column = std::max<std::int64_t>(0, -left);
        const std::int64_t end_row = std::min(sizes.rows, sizes.height - top);
        const std::int64_t end_column = std::min(sizes.columns, sizes.width - left);
        for (std::int64_t r = first_row; r < end_row; ++r) {
          for (std::int64_t s = first_column; s < end_column; ++s) {
            visit((n * sizes.height + top + r) * sizes.width + left + s,
                  (n * sizes.out_height + p) * sizes.out_width + q, r * sizes.columns + s);
          }
        }
      }
    }
  }
}

/// to[i] += factor * from[i].
void add_multiple(double* to, const double* from, double factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += factor * from[i];
}

Values zeros(std::int64_t count) { return Values(static_cast<std::size_t>(count), 0.0); }

std::int64_t input_count(const ConvolutionSizes& sizes) {
  return sizes.images * sizes.height * sizes.width * sizes.channels;
}
std::int64_t output_count(const ConvolutionSizes& sizes) {
  return sizes.images * sizes.out_height * sizes.out_width * sizes.filters;
}

}  // namespace

Values convolve(const ConvolutionSizes& sizes, const Values& x, const Values& weight) {
  const std::int64_t C = sizes.channels, K = sizes.filters, taps = sizes.rows * sizes.columns;
  // [tap, channel, filter]: the inner loop runs over filters, whose sums lie side by side.
  Values turned = zeros(taps * C * K);
  for (std::int64_t k = 0; k < K; ++k) {
    for (std::int64_t i = 0; i < taps * C; ++i) turned[i * K + k] = weight[k * taps * C + i];
  }
  Values y = zeros(output_count(sizes));
  for_each_tap(sizes, [&](std::int64_t in, std::int64_t out, std::int64_t tap) {
    for (std::int64_t c = 0; c < C; ++c) {
      add_multiple(y.data() + out * K, turned.data() + (tap * C + c) * K, x[in * C + c], K);
    }
  });
  return y;
}

Values convolve_by_data(const ConvolutionSizes& sizes, const Values& dy, const Values& weight) {
  const std::int64_t C = sizes.channels, K = sizes.filters, taps = sizes.rows * sizes.columns;
  Values dx = zeros(input_count(sizes));
  for_each_tap(sizes, [&](std::int64_t in, std::int64_t out, std::int64_t tap) {
    for (std::int64_t k = 0; k < K; ++k) {
      add_multiple(dx.data() + in * C, weight.data() + (k * taps + tap) * C, dy[out * K + k], C);
    }
  });
  return dx;
}

Values convolve_by_weights(const ConvolutionSizes& sizes, const Values& x, const Values& dy) {
  const std::int64_t C = sizes.channels, K = sizes.filters, taps = sizes.rows * sizes.columns;
  Values d_weight = zeros(K * taps * C);
  for_each_tap(sizes, [&](std::int64_t in, std::int64_t out, std::int64_t tap) {
    for (std::int64_t k = 0; k < K; ++k) {
      add_multiple(d_weight.data() + (k * taps + tap) * C, x.data() + in * C, dy[out * K + k], C);
    }
  });
  return d_weight;
}

}  // namespace softgpu::cudnn
