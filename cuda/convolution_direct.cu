// Convolution as the formula says: the fallback where cuDNN has no plan, and the truth that cuDNN is held against on
// the device. To be read, not to be fast. x [N,H,W,C], weight [K,R,S,C] (float32), y [N,P,Q,K].
//
//   forward     y[n,p,q,k]  = sum over r, s, c of x[n,h,w,c] * weight[k,r,s,c],  h = p*stride + r - padding
//   by data     dx[n,h,w,c] = sum over the (p,r) and (q,s) that meet at (h,w), and k, of dy[n,p,q,k] * weight[k,r,s,c]
//   by weights  d_weight[k,r,s,c] = sum over n, p, q of x[n,h,w,c] * dy[n,p,q,k]
//
// What lies in the padding is zero and adds nothing. FLOPs: 2 N P Q K R S C each. Bytes: neighbouring threads read
// neighbouring channels, but nothing is kept for the next thread: the caches carry it all. Sums in float32, in a fixed
// order: deterministic.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

struct Sizes {
  int N, H, W, C, K, R, S, P, Q, stride, padding;
  explicit Sizes(const BareConvolution& of) {
    const auto size = [](const Tensor& tensor, int axis) { return static_cast<int>(tensor.shape()[axis]); };
    N = size(of.x, 0), H = size(of.x, 1), W = size(of.x, 2), C = size(of.x, 3);
    K = size(of.weight, 0), R = size(of.weight, 1), S = size(of.weight, 2);
    P = size(of.y, 1), Q = size(of.y, 2);
    stride = static_cast<int>(of.options.stride), padding = static_cast<int>(of.options.padding_before);
  }
};

/// A thread: one element of y.
template <class T>
__global__ void convolution_forward_kernel(const T* x, const float* weight, T* y, Sizes of) {
  const std::int64_t i = global_thread(), pixel = i / of.K;
  const int k = static_cast<int>(i % of.K), q = static_cast<int>(pixel % of.Q),
            p = static_cast<int>(pixel / of.Q % of.P);
  const std::int64_t n = pixel / of.Q / of.P;
  if (n >= of.N) return;
  float sum = 0.0f;
  for (int r = 0; r < of.R; ++r) {
    const int h = p * of.stride + r - of.padding;
    if (h < 0 || h >= of.H) continue;
    for (int s = 0; s < of.S; ++s) {
      const int w = q * of.stride + s - of.padding;
      if (w < 0 || w >= of.W) continue;
      const T* const from = x + ((n * of.H + h) * of.W + w) * of.C;
      const float* const by = weight + ((static_cast<std::int64_t>(k) * of.R + r) * of.S + s) * of.C;
      for (int c = 0; c < of.C; ++c) sum += to_float(from[c]) * by[c];
    }
  }
  y[i] = from_float<T>(sum);
}

/// A thread: one element of dx.
template <class T>
__global__ void convolution_backward_data_kernel(const T* dy, const float* weight, T* dx, Sizes of) {
  const std::int64_t i = global_thread(), pixel = i / of.C;
  const int c = static_cast<int>(i % of.C), w = static_cast<int>(pixel % of.W),
            h = static_cast<int>(pixel / of.W % of.H);
  const std::int64_t n = pixel / of.W / of.H;
  if (n >= of.N) return;
  float sum = 0.0f;
  for (int r = 0; r < of.R; ++r) {
    const int row = h + of.padding - r, p = row / of.stride;
    if (row < 0 || row % of.stride != 0 || p >= of.P) continue;
    for (int s = 0; s < of.S; ++s) {
      const int column = w + of.padding - s, q = column / of.stride;
      if (column < 0 || column % of.stride != 0 || q >= of.Q) continue;
      const T* const from = dy + ((n * of.P + p) * of.Q + q) * of.K;
      const float* by = weight + (static_cast<std::int64_t>(r) * of.S + s) * of.C + c;
      for (int k = 0; k < of.K; ++k, by += static_cast<std::int64_t>(of.R) * of.S * of.C) {
        sum += to_float(from[k]) * *by;
      }
    }
  }
  dx[i] = from_float<T>(sum);
}

constexpr int kRows = 8;

/// A block: one filter position (k, r, s), kWarp input channels; its rows share the output pixels between them.
template <class T>
__global__ void convolution_backward_weights_kernel(const T* x, const T* dy, float* d_weight, Sizes of) {
  __shared__ float of_row[kRows][kWarp];
  const int c = static_cast<int>(blockIdx.y * kWarp + threadIdx.x);
  const int s = static_cast<int>(blockIdx.x % of.S), r = static_cast<int>(blockIdx.x / of.S % of.R);
  const int k = static_cast<int>(blockIdx.x / of.S / of.R);
  const std::int64_t pixels = static_cast<std::int64_t>(of.N) * of.P * of.Q;
  float sum = 0.0f;
  for (std::int64_t pixel = threadIdx.y; c < of.C && pixel < pixels; pixel += kRows) {
    const int q = static_cast<int>(pixel % of.Q), p = static_cast<int>(pixel / of.Q % of.P);
    const std::int64_t n = pixel / of.Q / of.P;
    const int h = p * of.stride + r - of.padding, w = q * of.stride + s - of.padding;
    if (h < 0 || h >= of.H || w < 0 || w >= of.W) continue;
    sum += to_float(x[((n * of.H + h) * of.W + w) * of.C + c]) * to_float(dy[pixel * of.K + k]);
  }
  of_row[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= of.C) return;
  for (int row = 1; row < kRows; ++row) sum += of_row[row][threadIdx.x];
  d_weight[static_cast<std::int64_t>(blockIdx.x) * of.C + c] = sum;
}

}  // namespace

void convolution_direct_forward(const BareConvolution& call, cudaStream_t stream) {
  if (call.y.count() == 0) return;
  with_map_type(call.y.dtype(), [&]<class T>(T) {
    convolution_forward_kernel<<<blocks_for(call.y.count()), kBlock, 0, stream>>>(
        elements<T>(call.x), call.weight.data<float>(), elements<T>(call.y), Sizes(call));
    STAGEWISE_CHECK_LAUNCH(convolution_forward_kernel);
  });
}

void convolution_direct_backward_data(const BareConvolution& call, cudaStream_t stream) {
  if (call.x.count() == 0) return;
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    convolution_backward_data_kernel<<<blocks_for(call.x.count()), kBlock, 0, stream>>>(
        elements<T>(call.y), call.weight.data<float>(), elements<T>(call.x), Sizes(call));
    STAGEWISE_CHECK_LAUNCH(convolution_backward_data_kernel);
  });
}

void convolution_direct_backward_weights(const BareConvolution& call, cudaStream_t stream) {
  const Shape& filter = call.weight.shape();
  if (call.weight.count() == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks_for(filter[0] * filter[1] * filter[2], 1)),
                  static_cast<unsigned>(blocks_for(filter[3], kWarp)));
  with_map_type(call.x.dtype(), [&]<class T>(T) {
    convolution_backward_weights_kernel<<<grid, dim3(kWarp, kRows), 0, stream>>>(
        elements<T>(call.x), elements<T>(call.y), call.weight.data<float>(), Sizes(call));
    STAGEWISE_CHECK_LAUNCH(convolution_backward_weights_kernel);
  });
}

}  // namespace stagewise::cuda
