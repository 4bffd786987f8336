// Average pooling over windows of height x width pixels that don't overlap; NHWC.
//
//   forward   y[n,p,q,c]  = mean of x[n, p*height + i, q*width + j, c] over i < height, j < width
//   backward  dx[n,h,w,c] = dy[n, h/height, w/width, c] / (height * width), 0 where no window reaches
//
// Bytes: x read once (dx written once), y small. FLOPs: one an element, so memory binds. Neighbouring threads take
// neighbouring channels; forward, the block's rows share a window's pixels between them, since a global pool has few
// windows. Deterministic: a window's partial sums are added in a fixed order.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

/// Sizes of x, and of the windows.
struct Windows {
  int image_height, image_width, channels, rows, columns, height, width;
  explicit Windows(const AveragePool& call)
      : image_height(static_cast<int>(call.x.shape()[1])),
        image_width(static_cast<int>(call.x.shape()[2])),
        channels(static_cast<int>(call.x.shape()[3])),
        rows(static_cast<int>(call.y.shape()[1])),
        columns(static_cast<int>(call.y.shape()[2])),
        height(static_cast<int>(call.height)),
        width(static_cast<int>(call.width)) {}
};

constexpr int kRows = 8;

/// A block: one window, kWarp channels.
template <class T>
__global__ void average_pool_forward_kernel(const T* x, float* y, Windows of) {
  __shared__ float of_row[kRows][kWarp];
  const int channel = static_cast<int>(blockIdx.y * kWarp + threadIdx.x);
  const std::int64_t window = blockIdx.x;
  const int column = static_cast<int>(window % of.columns), row = static_cast<int>(window / of.columns % of.rows);
  const std::int64_t image = window / (of.columns * of.rows);
  const std::int64_t corner =
      (image * of.image_height + row * of.height) * of.image_width + static_cast<std::int64_t>(column) * of.width;
  float sum = 0.0f;
  if (channel < of.channels) {
    for (int i = static_cast<int>(threadIdx.y); i < of.height * of.width; i += kRows) {
      const std::int64_t pixel = corner + static_cast<std::int64_t>(i / of.width) * of.image_width + i % of.width;
      sum += to_float(x[pixel * of.channels + channel]);
    }
  }
  of_row[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || channel >= of.channels) return;
  for (int part = 1; part < kRows; ++part) sum += of_row[part][threadIdx.x];
  y[window * of.channels + channel] = sum / static_cast<float>(of.height * of.width);
}

/// A thread: kLanes channels of one pixel of dx.
template <class T, int kLanes>
__global__ void average_pool_backward_kernel(const float* dy, T* dx, std::int64_t vectors, Windows of) {
  const std::int64_t thread = global_thread();
  if (thread >= vectors) return;
  const std::int64_t at = thread * kLanes, pixel = at / of.channels;
  const int channel = static_cast<int>(at % of.channels);
  const int w = static_cast<int>(pixel % of.image_width),
            h = static_cast<int>(pixel / of.image_width % of.image_height);
  const std::int64_t image = pixel / (static_cast<std::int64_t>(of.image_width) * of.image_height);
  const int row = h / of.height, column = w / of.width;
  Floats<kLanes> values{};
  if (row < of.rows && column < of.columns) {
    values = load<kLanes>(dy + ((image * of.rows + row) * of.columns + column) * of.channels + channel);
    const float share = 1.0f / static_cast<float>(of.height * of.width);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) values.at[lane] *= share;
  }
  store(values, dx + at);
}

}  // namespace

void average_pool_forward(const AveragePool& call, cudaStream_t stream) {
  if (call.y.count() == 0) return;
  const Windows windows(call);
  const std::int64_t count = call.y.count() / windows.channels;
  const dim3 grid(static_cast<unsigned>(blocks_for(count, 1)),
                  static_cast<unsigned>(blocks_for(windows.channels, kWarp)));
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    average_pool_forward_kernel<<<grid, dim3(kWarp, kRows), 0, stream>>>(elements<T>(call.x), call.y.data<float>(),
                                                                         windows);
    STAGEWISE_CHECK_LAUNCH(average_pool_forward_kernel);
  });
}

void average_pool_backward(const AveragePool& call, cudaStream_t stream) {
  if (call.x.count() == 0) return;
  with_type_and_lanes(call.x, [&]<class T, int kLanes>() {
    const std::int64_t vectors = call.x.count() / kLanes;
    average_pool_backward_kernel<T, kLanes>
        <<<blocks_for(vectors), kBlock, 0, stream>>>(call.y.data<float>(), elements<T>(call.x), vectors, Windows(call));
    STAGEWISE_CHECK_LAUNCH(average_pool_backward_kernel);
  });
}

}  // namespace stagewise::cuda
