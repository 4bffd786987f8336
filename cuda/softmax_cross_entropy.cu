// Softmax, and its cross-entropy with smoothed labels, forward and backward in one pass; logits [N,K].
//
//   p_k = exp(logit_k - largest) / sum of them,  target_k = smoothing/K + (k is the label) * (1 - smoothing)
//   loss of an image = -sum of target_k * log p_k,  d_logit_k = (p_k - target_k) / N
//
// A warp takes an image, its lanes share the classes, and shuffles join their maxima and sums: no shared memory, no
// block waits. Bytes: logits read (three times, from cache) and d_logits written once, 8 a logit. FLOPs: about 6 a
// logit and one exponential. Deterministic.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

/// The largest logit, and the first class that has it.
struct Largest {
  float value;
  int at;
};

/// In every lane. A NaN is never the largest; it comes back in the sum of the exponentials.
__device__ Largest largest_of(const float* logits, int classes, int lane) {
  Largest best{-INFINITY, classes};
  for (int k = lane; k < classes; k += kWarp) {
    if (logits[k] > best.value || (logits[k] == best.value && k < best.at)) best = {logits[k], k};
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const Largest other{__shfl_xor_sync(0xffffffffu, best.value, distance),
                        __shfl_xor_sync(0xffffffffu, best.at, distance)};
    if (other.value > best.value || (other.value == best.value && other.at < best.at)) best = other;
  }
  return best;
}

__device__ float sum_of_exponentials(const float* logits, int classes, int lane, float largest) {
  float sum = 0.0f;
  for (int k = lane; k < classes; k += kWarp) sum += expf(logits[k] - largest);
  return warp_sum(sum);
}

/// The image of this thread's warp; images go beyond the last in the last block.
__device__ int image_of_warp() { return static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp); }

__global__ void softmax_kernel(const float* logits, float* probabilities, int images, int classes) {
  const int image = image_of_warp(), lane = static_cast<int>(threadIdx.x % kWarp);
  if (image >= images) return;
  const float* const row = logits + static_cast<std::int64_t>(image) * classes;
  const float largest = largest_of(row, classes, lane).value;
  const float sum = sum_of_exponentials(row, classes, lane, largest);
  for (int k = lane; k < classes; k += kWarp) {
    probabilities[static_cast<std::int64_t>(image) * classes + k] = expf(row[k] - largest) / sum;
  }
}

struct CrossEntropyArguments {
  const float* logits;
  const std::int32_t* labels;
  float* losses;        // [N]
  std::int32_t* right;  // [N]
  float* d_logits;      // or nullptr
  int images, classes;
  float spread, kept;  // of the target: the share of every class, and the label's on top
};

__global__ void softmax_cross_entropy_kernel(CrossEntropyArguments call) {
  const int image = image_of_warp(), lane = static_cast<int>(threadIdx.x % kWarp);
  if (image >= call.images) return;
  const std::int64_t first = static_cast<std::int64_t>(image) * call.classes;
  const float* const logits = call.logits + first;
  const int label = call.labels[image];
  const bool known = label >= 0 && label < call.classes;
  const float spread = known ? call.spread : NAN;  // all that comes of it is NaN, too
  const Largest largest = largest_of(logits, call.classes, lane);
  const float sum = sum_of_exponentials(logits, call.classes, lane, largest.value);
  float spread_logits = 0.0f;  // without smoothing nothing is spread, not even an infinite logit
  for (int k = lane; k < call.classes; k += kWarp) {
    const float logit = logits[k] - largest.value;
    if (call.spread > 0.0f) spread_logits += logit;
    if (call.d_logits != nullptr) {
      const float target = spread + (k == label ? call.kept : 0.0f);
      call.d_logits[first + k] = (expf(logit) / sum - target) / static_cast<float>(call.images);
    }
  }
  spread_logits = warp_sum(spread_logits);
  if (lane != 0) return;
  call.losses[image] = logf(sum) - call.kept * (logits[known ? label : 0] - largest.value) - spread * spread_logits;
  call.right[image] = largest.at == label ? 1 : 0;
}

constexpr int kImagesABlock = kBlock / kWarp;

}  // namespace

void softmax(const Tensor& logits, const Tensor& probabilities, cudaStream_t stream) {
  const auto images = static_cast<int>(logits.shape()[0]), classes = static_cast<int>(logits.shape()[1]);
  if (logits.count() == 0) return;
  softmax_kernel<<<blocks_for(images, kImagesABlock), kBlock, 0, stream>>>(
      logits.data<float>(), probabilities.data<float>(), images, classes);
  STAGEWISE_CHECK_LAUNCH(softmax_kernel);
}

void softmax_cross_entropy(const SoftmaxCrossEntropy& call, cudaStream_t stream) {
  const std::int64_t images = call.logits.shape()[0], classes = call.logits.shape()[1];
  const Tensor losses(call.logits.backend(), {images}), right(call.logits.backend(), {images}, DType::int32);
  const CrossEntropyArguments arguments{call.logits.data<float>(),
                                        call.labels.data<std::int32_t>(),
                                        losses.data<float>(),
                                        right.data<std::int32_t>(),
                                        call.d_logits.data<float>(),
                                        static_cast<int>(images),
                                        static_cast<int>(classes),
                                        static_cast<float>(call.smoothing / static_cast<double>(classes)),
                                        static_cast<float>(1.0 - call.smoothing)};
  softmax_cross_entropy_kernel<<<blocks_for(images, kImagesABlock), kBlock, 0, stream>>>(arguments);
  STAGEWISE_CHECK_LAUNCH(softmax_cross_entropy_kernel);
  reduce_losses(losses, right, call.loss, call.totals, stream);
}

}  // namespace stagewise::cuda
