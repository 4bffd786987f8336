// How the kernels that keep a channel's coefficients or sums in registers cut a map [pixels, channels]: a thread owns
// kLanes neighbouring channels and walks down a run of pixels; threads side by side own neighbouring channels, so that
// each row of threads reads whole pixels.
//
//   block (x, y): x over vectors of channels, y over pixels      grid (x, y): x over runs of pixels, y over channels
#pragma once

#include <algorithm>

#include "cuda/kernel_tools.h"

namespace stagewise::cuda {

/// The cut depends on the shape only, so sums over pixels are the same on every card.
struct ChannelRuns {
  std::int64_t pixels;
  int channels;
  int run;  // pixels of a block
  dim3 block, grid;

  ChannelRuns(const Tensor& map, int lanes) : pixels(0), channels(static_cast<int>(map.shape().back())), run(0) {
    constexpr int kWidest = 128, kBlocksWanted = 512, kFewest = 4, kMost = 64;  // pixels a thread
    pixels = map.count() / channels;
    const int vectors = channels / lanes;
    block.x = static_cast<unsigned>(std::min(vectors, kWidest));
    block.y = static_cast<unsigned>(kBlock) / block.x;
    const std::int64_t wanted = pixels / (static_cast<std::int64_t>(block.y) * kBlocksWanted);
    run = static_cast<int>(block.y) * static_cast<int>(std::clamp<std::int64_t>(wanted, kFewest, kMost));
    grid.x = static_cast<unsigned>(blocks_for(pixels, run));
    grid.y = static_cast<unsigned>(blocks_for(vectors, static_cast<int>(block.x)));
  }
};

/// Calls body(offset) for each of this thread's pixels, `offset` being that of its channels' first element.
template <class Body>
__device__ void for_pixels_of_run(std::int64_t pixels, int channels, int run, int channel, const Body& body) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * run;
  const std::int64_t end = min(first + run, pixels);
  for (std::int64_t pixel = first + threadIdx.y; pixel < end; pixel += blockDim.y) body(pixel * channels + channel);
}

/// The first channel of this thread; beyond the last where there are more threads than channels.
template <int kLanes>
__device__ int channel_of_thread() {
  return static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * kLanes;
}

/// A batch norm's coefficients, each [C].
struct Coefficients {
  const float *mean = nullptr, *inverse_deviation = nullptr, *scale = nullptr, *shift = nullptr;
  explicit Coefficients(const BatchNormCoefficients& of)
      : mean(of.mean.data<float>()),
        inverse_deviation(of.inverse_deviation.data<float>()),
        scale(of.scale.data<float>()),
        shift(of.shift.data<float>()) {}
};

}  // namespace stagewise::cuda
