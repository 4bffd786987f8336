// Gradient of a convolution's weights: dW[t,k] += sum over pixels p of x[p,t] * dy[p,k].
//
// Layout: x staged as for the forward pass, dy [pixel, channel]. A tile of taps x channel vectors stays in registers
// while it sweeps over the pixels of a few rows: 6 taps x 2 vectors with 16 registers, 8 x 2 or 16 x 1 with 32. The
// rows of a sweep are few enough for x and dy to stay in L1. Cost: 2 * pixels * taps * channels FLOPs. Deterministic:
// one chain of multiply-adds in the order of the pixels.
#include "cpu/kernels/all_kernels.h"
#include "cpu/kernels/prefetch.h"

STAGEWISE_KERNELS_BEGIN

namespace {

template <int Taps, int Vectors>
inline void sweep_tile(const WeightGradientSweep& job, std::int64_t tap, std::int64_t channel) {
  Floats sums[Taps][Vectors];
  float* d_weights = job.d_weights + tap * job.d_weights_stride + channel;
#pragma GCC unroll 16
  for (int t = 0; t < Taps; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sums[t][v] = load(d_weights + t * job.d_weights_stride + v * kLanes);
  }
  for (std::int64_t row = 0; row < job.rows; ++row) {
    const float* x = job.staged + row * job.staged_row + tap;
    const float* dy = job.dy + row * job.dy_row + channel;
    for (std::int64_t column = job.columns; column > 0; --column) {
      Floats gradient[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) gradient[v] = load(dy + v * kLanes);
#pragma GCC unroll 16
      for (int t = 0; t < Taps; ++t) {
        const Floats value = broadcast(x[t]);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sums[t][v] += value * gradient[v];
      }
      x += job.staged_pixel;
      dy += job.dy_pixel;
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < Taps; ++t) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) store(d_weights + t * job.d_weights_stride + v * kLanes, sums[t][v]);
  }
}

template <int Most, int Vectors>
void sweep(const WeightGradientSweep& job) {
  PrefetchSteps soon(job.soon, job.channel_blocks * ((job.taps + Most - 1) / Most));
  for (std::int64_t block = 0; block < job.channel_blocks; ++block) {
    const std::int64_t channel = block * Vectors * kLanes;
    std::int64_t tap = 0;
    for (; tap + Most <= job.taps; tap += Most) {
      soon.next();
      sweep_tile<Most, Vectors>(job, tap, channel);
    }
    // Three pixels of an image's three colours: the first layer's.
    if constexpr (kManyRegisters || Vectors == 1) {
      if (job.taps - tap == 9) sweep_tile<9, Vectors>(job, tap, channel), tap += 9;
    }
    for (; tap + 4 <= job.taps; tap += 4) sweep_tile<4, Vectors>(job, tap, channel);
    for (; tap < job.taps; ++tap) sweep_tile<1, Vectors>(job, tap, channel);
  }
}

}  // namespace

void weight_gradient_sweep(const WeightGradientSweep& job) {
  if constexpr (kManyRegisters) {
    job.vectors == 2 ? sweep<8, 2>(job) : sweep<16, 1>(job);
  } else {
    job.vectors == 2 ? sweep<6, 2>(job) : sweep<12, 1>(job);
  }
}

STAGEWISE_KERNELS_END
