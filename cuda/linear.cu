// The fully connected layer, x [N,C], weight [K,C]:
//
//   forward   y  = x weight^T + bias
//   backward  dx = dy weight,  d_weight = dy^T x,  d_bias = column sums of dy
//
// One kernel does all three products: a block computes a tile of 16 x 16 outputs, a thread one of them, while tiles of
// both factors pass through shared memory. The classifier is small (64 x 10), so what counts is that even a batch of
// 128 makes a few dozen blocks, not the peak of a large product. FLOPs: 2 N C K a product. Bytes: each factor once for
// every 16 rows or columns of the result. Deterministic: a thread adds its products in order.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

constexpr int kTile = 16;

/// A matrix, or its transpose: element (i, j) is at[i * row_stride + j * column_stride].
struct Matrix {
  const float* at;
  std::int64_t row_stride, column_stride;
  __device__ float operator()(std::int64_t i, std::int64_t j) const { return at[i * row_stride + j * column_stride]; }
};
Matrix matrix(const Tensor& tensor) { return {tensor.data<float>(), tensor.shape()[1], 1}; }
Matrix transposed(const Tensor& tensor) { return {tensor.data<float>(), 1, tensor.shape()[1]}; }

/// out [rows, columns] = a [rows, depth] b [depth, columns] + bias [columns].
__global__ void matrix_product_kernel(Matrix a, Matrix b, const float* bias, float* out, int rows, int columns,
                                      int depth) {
  // One column more than the tile, so that the threads of a warp that walk down one hit different banks.
  __shared__ float a_tile[kTile][kTile + 1], b_tile[kTile][kTile + 1];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int row = static_cast<int>(blockIdx.y) * kTile + y, column = static_cast<int>(blockIdx.x) * kTile + x;
  float sum = bias != nullptr && column < columns ? bias[column] : 0.0f;
  for (int first = 0; first < depth; first += kTile) {
    a_tile[y][x] = row < rows && first + x < depth ? a(row, first + x) : 0.0f;
    b_tile[y][x] = first + y < depth && column < columns ? b(first + y, column) : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTile; ++i) sum += a_tile[y][i] * b_tile[i][x];
    __syncthreads();
  }
  if (row < rows && column < columns) out[static_cast<std::int64_t>(row) * columns + column] = sum;
}

void matrix_product(const Matrix& a, const Matrix& b, const Tensor& bias, const Tensor& out, std::int64_t depth,
                    cudaStream_t stream) {
  const auto rows = static_cast<int>(out.shape()[0]), columns = static_cast<int>(out.shape()[1]);
  if (out.count() == 0) return;
  const dim3 grid(static_cast<unsigned>(blocks_for(columns, kTile)), static_cast<unsigned>(blocks_for(rows, kTile)));
  matrix_product_kernel<<<grid, dim3(kTile, kTile), 0, stream>>>(a, b, bias.data<float>(), out.data<float>(), rows,
                                                                 columns, static_cast<int>(depth));
  STAGEWISE_CHECK_LAUNCH(matrix_product_kernel);
}

/// A warp a column of dy [rows, columns].
__global__ void column_sums_kernel(const float* dy, float* sums, int rows, int columns) {
  const int column = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (column >= columns) return;
  float sum = 0.0f;
  for (int row = static_cast<int>(threadIdx.x % kWarp); row < rows; row += kWarp) {
    sum += dy[static_cast<std::int64_t>(row) * columns + column];
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) sums[column] = sum;
}

}  // namespace

void linear_forward(const LinearForward& call, cudaStream_t stream) {
  matrix_product(matrix(call.x), transposed(call.weight), call.bias, call.y, call.x.shape()[1], stream);
}

void linear_backward(const LinearBackward& call, cudaStream_t stream) {
  const auto rows = static_cast<int>(call.dy.shape()[0]), columns = static_cast<int>(call.dy.shape()[1]);
  if (call.dx.defined()) matrix_product(matrix(call.dy), matrix(call.weight), {}, call.dx, columns, stream);
  if (call.d_weight.defined()) matrix_product(transposed(call.dy), matrix(call.x), {}, call.d_weight, rows, stream);
  if (!call.d_bias.defined()) return;
  column_sums_kernel<<<blocks_for(columns, kBlock / kWarp), kBlock, 0, stream>>>(
      call.dy.data<float>(), call.d_bias.data<float>(), rows, columns);
  STAGEWISE_CHECK_LAUNCH(column_sums_kernel);
}

}  // namespace stagewise::cuda
