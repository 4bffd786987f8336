// What the seam wants summed in double: the moments of features that the importance criteria are fitted to, and the
// loss of an epoch. Doubles are rare on the device (a card for games does one where it does 64 floats): here and in
// random.cu.
//
//   products += x^T x,  sum += column sums of x,  class_sums[label] += x,  class_counts[label] += 1;  x [N,P]
//
// FLOPs: 2 N P^2, in double. Bytes: products [P,P] read and written once, x once for every 16 columns of products.
// Deterministic: an image's contribution is added after that of the image before it, as the CPU does.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

constexpr int kTile = 16;

/// A block: a tile of products; tiles of kTile images pass through shared memory.
__global__ void accumulate_products_kernel(const float* x, double* products, int images, int features) {
  __shared__ float of_rows[kTile][kTile], of_columns[kTile][kTile];  // [image][feature]
  const int i = static_cast<int>(threadIdx.x), j = static_cast<int>(threadIdx.y);
  const int column = static_cast<int>(blockIdx.x) * kTile + i, row = static_cast<int>(blockIdx.y) * kTile + j;
  const int row_to_load = static_cast<int>(blockIdx.y) * kTile + i;
  const bool inside = row < features && column < features;
  const std::int64_t at = static_cast<std::int64_t>(row) * features + column;
  double sum = inside ? products[at] : 0.0;
  for (int first = 0; first < images; first += kTile) {
    const std::int64_t image = static_cast<std::int64_t>(first + j) * features;
    of_rows[j][i] = first + j < images && row_to_load < features ? x[image + row_to_load] : 0.0f;
    of_columns[j][i] = first + j < images && column < features ? x[image + column] : 0.0f;
    __syncthreads();
    for (int n = 0; n < kTile; ++n) {
      sum += static_cast<double>(of_rows[n][j]) * static_cast<double>(of_columns[n][i]);
    }
    __syncthreads();
  }
  if (inside) products[at] = sum;
}

/// A thread: one feature, all images in order. Nobody else adds to its sums, whatever the labels.
__global__ void accumulate_class_sums_kernel(const float* x, const std::int32_t* labels, double* sum,
                                             double* class_sums, int images, int features, int classes) {
  const int feature = static_cast<int>(global_thread());
  if (feature >= features) return;
  double of_feature = sum[feature];
  for (int n = 0; n < images; ++n) {
    const double value = x[static_cast<std::int64_t>(n) * features + feature];
    of_feature += value;
    const int label = labels[n];
    if (label >= 0 && label < classes) class_sums[static_cast<std::int64_t>(label) * features + feature] += value;
  }
  sum[feature] = of_feature;
}

/// A thread: one class.
__global__ void count_classes_kernel(const std::int32_t* labels, double* class_counts, int images, int classes) {
  const int of_class = static_cast<int>(global_thread());
  if (of_class >= classes) return;
  int count = 0;
  for (int n = 0; n < images; ++n) count += labels[n] == of_class ? 1 : 0;
  class_counts[of_class] += count;
}

/// One block: each thread sums every kBlock-th image, then a tree joins them.
__global__ void reduce_losses_kernel(const float* losses, const std::int32_t* right, float* loss, double* totals,
                                     int images) {
  __shared__ double sums[kBlock];
  __shared__ int counts[kBlock];
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0.0;
  int count = 0;
  for (int n = thread; n < images; n += kBlock) {
    sum += losses[n];
    count += right[n];
  }
  sums[thread] = sum;
  counts[thread] = count;
  for (int half = kBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
      sums[thread] += sums[thread + half];
      counts[thread] += counts[thread + half];
    }
  }
  if (thread != 0) return;
  *loss = static_cast<float>(sums[0] / images);
  if (totals == nullptr) return;
  totals[0] += sums[0];
  totals[1] += counts[0];
}

}  // namespace

void accumulate_moments(const AccumulateMoments& call, cudaStream_t stream) {
  const auto images = static_cast<int>(call.features.shape()[0]), features = static_cast<int>(call.features.shape()[1]);
  const auto classes = static_cast<int>(call.class_counts.count());
  const float* const x = call.features.data<float>();
  const std::int32_t* const labels = call.labels.data<std::int32_t>();
  const auto tiles = static_cast<unsigned>(blocks_for(features, kTile));
  accumulate_products_kernel<<<dim3(tiles, tiles), dim3(kTile, kTile), 0, stream>>>(x, call.products.data<double>(),
                                                                                    images, features);
  STAGEWISE_CHECK_LAUNCH(accumulate_products_kernel);
  accumulate_class_sums_kernel<<<blocks_for(features), kBlock, 0, stream>>>(
      x, labels, call.sum.data<double>(), call.class_sums.data<double>(), images, features, classes);
  STAGEWISE_CHECK_LAUNCH(accumulate_class_sums_kernel);
  count_classes_kernel<<<blocks_for(classes), kBlock, 0, stream>>>(labels, call.class_counts.data<double>(), images,
                                                                   classes);
  STAGEWISE_CHECK_LAUNCH(count_classes_kernel);
}

void reduce_losses(const Tensor& losses, const Tensor& right, const Tensor& loss, const Tensor& totals,
                   cudaStream_t stream) {
  reduce_losses_kernel<<<1, kBlock, 0, stream>>>(losses.data<float>(), right.data<std::int32_t>(), loss.data<float>(),
                                                 totals.data<double>(), static_cast<int>(losses.count()));
  STAGEWISE_CHECK_LAUNCH(reduce_losses_kernel);
}

}  // namespace stagewise::cuda
