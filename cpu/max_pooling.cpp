// Maxima over windows that may overlap; one work item is an image.
//
//   forward   y[p,q,c]  = max of x[h,w,c] over the window's pixels
//   backward  dx[h,w,c] = sum of dy[p,q,c] over the windows whose first maximum x[h,w,c] is
//
// x is read once a window row, y written once; backward looks the maxima up again. Comparisons only, so memory binds.
// Windows are added up in their order, within an image: the bits don't depend on threads.
#include <algorithm>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

/// The first row of x under the windows of row p of y.
std::int64_t first_row(std::int64_t p, const Conv2dOptions& options) {
  return std::max<std::int64_t>(p * options.stride - options.padding_before, 0);
}

/// The windows of row p of y, without what they read and write.
MaxPoolRow windows_of_row(std::int64_t p, const Shape& x, const Shape& y, std::int64_t window,
                          const Conv2dOptions& options) {
  const std::int64_t end = std::min(p * options.stride - options.padding_before + window, x[1]);
  return {.rows = end - first_row(p, options),
          .width = x[2],
          .channels = x[3],
          .columns = y[2],
          .window = window,
          .stride = options.stride,
          .padding = options.padding_before};
}

}  // namespace

void CpuBackend::max_pool_forward(const MaxPoolForward& call) {
  const Shape &in = call.x.shape(), &out = call.y.shape();
  const std::int64_t x_row = in[2] * in[3], y_row = out[2] * out[3];
  const FeatureMap x(call.x), y(call.y);
  pool_.sweep(in[0], [&](std::int64_t image) {
    for (std::int64_t p = 0; p < out[1]; ++p) {
      MaxPoolRow windows = windows_of_row(p, in, out, call.window, call.options);
      const std::int64_t row = first_row(p, call.options);
      const std::int64_t at = (image * out[1] + p) * y_row;
      windows.x = x.read(kernels_, Scratch::first_map, (image * in[1] + row) * x_row, windows.rows * x_row);
      windows.y = y.target(Scratch::result, at, y_row);
      kernels_.max_pool_forward(windows);
      y.written(kernels_, windows.y, at, y_row);
    }
  });
}

void CpuBackend::max_pool_backward(const MaxPoolBackward& call) {
  const Shape &in = call.x.shape(), &out = call.dy.shape();
  const std::int64_t x_row = in[2] * in[3], y_row = out[2] * out[3], x_image = in[1] * x_row;
  const FeatureMap x(call.x), dy(call.dy), dx(call.dx);
  pool_.sweep(in[0], [&](std::int64_t image) {
    float* const sums = dx.target(Scratch::result, image * x_image, x_image);
    std::fill_n(sums, x_image, 0.0f);
    for (std::int64_t p = 0; p < out[1]; ++p) {
      MaxPoolRow windows = windows_of_row(p, in, out, call.window, call.options);
      const std::int64_t row = first_row(p, call.options);
      windows.x = x.read(kernels_, Scratch::first_map, (image * in[1] + row) * x_row, windows.rows * x_row);
      windows.dy = dy.read(kernels_, Scratch::second_map, (image * out[1] + p) * y_row, y_row);
      windows.dx = sums + row * x_row;
      kernels_.max_pool_backward(windows);
    }
    dx.written(kernels_, sums, image * x_image, x_image);
  });
}

}  // namespace stagewise::cpu
