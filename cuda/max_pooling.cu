// Maxima over windows that may overlap, and the shortcut without parameters; NHWC.
//
//   max_pool forward          y[n,p,q,c]  = max of x[n,h,w,c] over the window's pixels that lie on the image
//   max_pool backward         dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows whose first maximum x[n,h,w,c] is
//   padded_shortcut forward   y[n,p,q,zeros + c] = x[n,p stride,q stride,c], 0 in the other channels
//   padded_shortcut backward  dx[n,p stride,q stride,c] = dy[n,p,q,zeros + c], 0 in the other pixels
//
// Bytes: each map read or written about once (a window's pixels again from the caches), comparisons only: memory binds.
// Neighbouring threads take neighbouring channels. Backward, a pixel looks at all windows it lies in, in a fixed order:
// deterministic, without atomics.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

/// Sizes of x and y, and how the windows lie.
struct Windows {
  int height, width, channels, rows, columns, window, stride, before;
  Windows(const Shape& x, const Shape& y, std::int64_t window_, const Conv2dOptions& options)
      : height(static_cast<int>(x[1])),
        width(static_cast<int>(x[2])),
        channels(static_cast<int>(x[3])),
        rows(static_cast<int>(y[1])),
        columns(static_cast<int>(y[2])),
        window(static_cast<int>(window_)),
        stride(static_cast<int>(options.stride)),
        before(static_cast<int>(options.padding_before)) {}
};

/// The largest element of a window, and the pixel that it was first found at. A NaN beats every number, and then stays.
struct Largest {
  float value;
  int pixel;
};

template <class T>
__device__ Largest largest_of(const T* image, int row, int column, int channel, const Windows& of) {
  const int top = max(row * of.stride - of.before, 0), left = max(column * of.stride - of.before, 0);
  const int bottom = min(row * of.stride - of.before + of.window, of.height),
            right = min(column * of.stride - of.before + of.window, of.width);
  Largest best{to_float(image[static_cast<std::int64_t>(top * of.width + left) * of.channels + channel]),
               top * of.width + left};
  for (int h = top; h < bottom; ++h) {
    for (int w = left; w < right; ++w) {
      const float value = to_float(image[static_cast<std::int64_t>(h * of.width + w) * of.channels + channel]);
      if (value > best.value || (isnan(value) && !isnan(best.value))) best = {value, h * of.width + w};
    }
  }
  return best;
}

/// A thread: an element of y.
template <class T>
__global__ void max_pool_forward_kernel(const T* x, T* y, std::int64_t count, Windows of) {
  const std::int64_t thread = global_thread();
  if (thread >= count) return;
  const int channel = static_cast<int>(thread % of.channels);
  const std::int64_t window = thread / of.channels;
  const int column = static_cast<int>(window % of.columns), row = static_cast<int>(window / of.columns % of.rows);
  const std::int64_t image = window / (static_cast<std::int64_t>(of.columns) * of.rows);
  const T* const from = x + image * of.height * of.width * of.channels;
  y[thread] = from_float<T>(largest_of(from, row, column, channel, of).value);
}

/// A thread: an element of dx.
template <class T>
__global__ void max_pool_backward_kernel(const T* x, const T* dy, T* dx, std::int64_t count, Windows of) {
  const std::int64_t thread = global_thread();
  if (thread >= count) return;
  const int channel = static_cast<int>(thread % of.channels);
  const std::int64_t place = thread / of.channels, image = place / (static_cast<std::int64_t>(of.height) * of.width);
  const int pixel = static_cast<int>(place % (static_cast<std::int64_t>(of.height) * of.width));
  const int h = pixel / of.width + of.before, w = pixel % of.width + of.before;
  const T* const from = x + image * of.height * of.width * of.channels;
  float sum = 0.0f;
  for (int row = max(h - of.window + of.stride, 0) / of.stride; row <= min(h / of.stride, of.rows - 1); ++row) {
    for (int column = max(w - of.window + of.stride, 0) / of.stride; column <= min(w / of.stride, of.columns - 1);
         ++column) {
      if (largest_of(from, row, column, channel, of).pixel != pixel) continue;
      sum += to_float(dy[((image * of.rows + row) * of.columns + column) * of.channels + channel]);
    }
  }
  dx[thread] = from_float<T>(sum);
}

/// Sizes of x and y, and where x's pixels and channels go.
struct Placing {
  int height, width, channels, rows, columns, filters, stride, zeros;
  explicit Placing(const PaddedShortcut& call)
      : height(static_cast<int>(call.x.shape()[1])),
        width(static_cast<int>(call.x.shape()[2])),
        channels(static_cast<int>(call.x.shape()[3])),
        rows(static_cast<int>(call.y.shape()[1])),
        columns(static_cast<int>(call.y.shape()[2])),
        filters(static_cast<int>(call.y.shape()[3])),
        stride(static_cast<int>(call.stride)),
        zeros(static_cast<int>(call.zeros_before)) {}
};

/// A thread: an element of y.
template <class T>
__global__ void padded_shortcut_forward_kernel(const T* x, T* y, std::int64_t count, Placing of) {
  const std::int64_t thread = global_thread();
  if (thread >= count) return;
  const int channel = static_cast<int>(thread % of.filters) - of.zeros;
  const std::int64_t pixel = thread / of.filters;
  const std::int64_t q = pixel % of.columns, p = pixel / of.columns % of.rows, image = pixel / of.columns / of.rows;
  const bool passes = channel >= 0 && channel < of.channels;
  const std::int64_t from = (image * of.height + p * of.stride) * of.width + q * of.stride;
  y[thread] = passes ? x[from * of.channels + channel] : from_float<T>(0.0f);
}

/// A thread: an element of dx.
template <class T>
__global__ void padded_shortcut_backward_kernel(const T* dy, T* dx, std::int64_t count, Placing of) {
  const std::int64_t thread = global_thread();
  if (thread >= count) return;
  const int channel = static_cast<int>(thread % of.channels);
  const std::int64_t pixel = thread / of.channels;
  const std::int64_t w = pixel % of.width, h = pixel / of.width % of.height, image = pixel / of.width / of.height;
  const bool was_read = w % of.stride == 0 && h % of.stride == 0;
  const std::int64_t to = (image * of.rows + h / of.stride) * of.columns + w / of.stride;
  dx[thread] = was_read ? dy[to * of.filters + of.zeros + channel] : from_float<T>(0.0f);
}

}  // namespace

void max_pool_forward(const MaxPoolForward& call, cudaStream_t stream) {
  if (call.y.count() == 0) return;
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    max_pool_forward_kernel<T><<<blocks_for(call.y.count()), kBlock, 0, stream>>>(
        elements<T>(call.x), elements<T>(call.y), call.y.count(),
        Windows(call.x.shape(), call.y.shape(), call.window, call.options));
    STAGEWISE_CHECK_LAUNCH(max_pool_forward_kernel);
  });
}

void max_pool_backward(const MaxPoolBackward& call, cudaStream_t stream) {
  if (call.dx.count() == 0) return;
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    max_pool_backward_kernel<T><<<blocks_for(call.dx.count()), kBlock, 0, stream>>>(
        elements<T>(call.x), elements<T>(call.dy), elements<T>(call.dx), call.dx.count(),
        Windows(call.x.shape(), call.dy.shape(), call.window, call.options));
    STAGEWISE_CHECK_LAUNCH(max_pool_backward_kernel);
  });
}

void padded_shortcut_forward(const PaddedShortcut& call, cudaStream_t stream) {
  if (call.y.count() == 0) return;
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    padded_shortcut_forward_kernel<T><<<blocks_for(call.y.count()), kBlock, 0, stream>>>(
        elements<T>(call.x), elements<T>(call.y), call.y.count(), Placing(call));
    STAGEWISE_CHECK_LAUNCH(padded_shortcut_forward_kernel);
  });
}

void padded_shortcut_backward(const PaddedShortcut& call, cudaStream_t stream) {
  if (call.x.count() == 0) return;
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    padded_shortcut_backward_kernel<T><<<blocks_for(call.x.count()), kBlock, 0, stream>>>(
        elements<T>(call.y), elements<T>(call.x), call.x.count(), Placing(call));
    STAGEWISE_CHECK_LAUNCH(padded_shortcut_backward_kernel);
  });
}

}  // namespace stagewise::cuda
