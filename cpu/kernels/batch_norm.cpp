// Batch norm over rows of pixels [pixel, channel]: forward y = (x - mean) * scale + shift, backward
// dx = scale * (dz - mean(dz) - x_hat * mean(dz * x_hat)). Subtracting the mean first keeps large means harmless.
//
// Memory-bound: the forward reads 1 or 2 floats and writes 1 an element, the reduction reads 2 or 3 and writes 1, the
// backward reads 2 and writes 1. Sums run in float over a few dozen pixels in four chains, then in double:
// deterministic, whatever the number of threads.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

namespace {

constexpr int kChains = 4;
// Pixels whose sums may stay in float before they are added in double.
constexpr std::int64_t kFloatPixels = 64;

void add_to(double* sums, const Floats (&chains)[kChains], int lanes) {
  const Floats total = (chains[0] + chains[1]) + (chains[2] + chains[3]);
  for (int lane = 0; lane < lanes; ++lane) sums[lane] += static_cast<double>(total[lane]);
}

template <ReluMask Mask>
void reduce(const BatchNormReduceRows& job, std::int64_t first, std::int64_t pixels) {
  for (std::int64_t c = 0; c < job.channels; c += kLanes) {
    const int lanes = static_cast<int>(smaller(kLanes, job.channels - c));
    const Floats mean = load_first(job.coefficients.mean + c, lanes),
                 inverse_deviation = load_first(job.coefficients.inverse_deviation + c, lanes);
    Floats scale{}, shift{};
    if constexpr (Mask == ReluMask::normalised_input) {
      scale = load_first(job.coefficients.scale + c, lanes);
      shift = load_first(job.coefficients.shift + c, lanes);
    }
    Floats bias_sums[kChains] = {}, weight_sums[kChains] = {};
    const auto step = [&](std::int64_t pixel, int chain) {
      const std::int64_t at = (first + pixel) * job.channels + c;
      Floats dz = load_first(job.dy + at, lanes);
      const Floats centred = load_first(job.x + at, lanes) - mean;
      if constexpr (Mask == ReluMask::output) dz = where_positive(load_first(job.y + at, lanes), dz);
      if constexpr (Mask == ReluMask::normalised_input) dz = where_positive(centred * scale + shift, dz);
      if constexpr (Mask != ReluMask::none) store_first(job.dz + at, dz, lanes);
      bias_sums[chain] += dz;
      weight_sums[chain] += dz * centred;
    };
    std::int64_t pixel = 0;
    for (; pixel + kChains <= pixels; pixel += kChains) {
#pragma GCC unroll 4
      for (int chain = 0; chain < kChains; ++chain) step(pixel + chain, chain);
    }
    for (; pixel < pixels; ++pixel) step(pixel, 0);
    for (Floats& sum : weight_sums) sum *= inverse_deviation;
    add_to(job.bias_sums + c, bias_sums, lanes);
    add_to(job.weight_sums + c, weight_sums, lanes);
  }
}

template <ReluMask Mask>
void reduce_all(const BatchNormReduceRows& job) {
  for (std::int64_t first = 0; first < job.pixels; first += kFloatPixels) {
    reduce<Mask>(job, first, smaller(kFloatPixels, job.pixels - first));
  }
}

}  // namespace

void moment_sums(const float* x, std::int64_t pixels, std::int64_t channels, const float* pivot, double* sum,
                 double* square_sum) {
  for (std::int64_t first = 0; first < pixels; first += kFloatPixels) {
    const std::int64_t last = smaller(first + kFloatPixels, pixels);
    for (std::int64_t c = 0; c < channels; c += kLanes) {
      const int lanes = static_cast<int>(smaller(kLanes, channels - c));
      const Floats zero = load_first(pivot + c, lanes);
      Floats sums[kChains] = {}, squares[kChains] = {};
      std::int64_t pixel = first;
      const auto step = [&](std::int64_t at, int chain) {
        const Floats value = load_first(x + at * channels + c, lanes) - zero;
        sums[chain] += value;
        squares[chain] += value * value;
      };
      for (; pixel + kChains <= last; pixel += kChains) {
#pragma GCC unroll 4
        for (int chain = 0; chain < kChains; ++chain) step(pixel + chain, chain);
      }
      for (; pixel < last; ++pixel) step(pixel, 0);
      add_to(sum + c, sums, lanes);
      add_to(square_sum + c, squares, lanes);
    }
  }
}

void batch_norm_forward(const float* x, const ChannelCoefficients& coefficients, const float* addend,
                        const ChannelCoefficients* addend_coefficients, bool with_relu, float* y, std::int64_t pixels,
                        std::int64_t channels) {
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    const int lanes = static_cast<int>(smaller(kLanes, channels - c));
    const Floats mean = load_first(coefficients.mean + c, lanes), scale = load_first(coefficients.scale + c, lanes),
                 shift = load_first(coefficients.shift + c, lanes);
    Floats addend_mean{}, addend_scale{}, addend_shift{};
    if (addend_coefficients) {
      addend_mean = load_first(addend_coefficients->mean + c, lanes);
      addend_scale = load_first(addend_coefficients->scale + c, lanes);
      addend_shift = load_first(addend_coefficients->shift + c, lanes);
    }
    for (std::int64_t at = c; at < pixels * channels; at += channels) {
      Floats value = (load_first(x + at, lanes) - mean) * scale + shift;
      if (addend) {
        Floats other = load_first(addend + at, lanes);
        if (addend_coefficients) other = (other - addend_mean) * addend_scale + addend_shift;
        value += other;
      }
      store_first(y + at, with_relu ? relu(value) : value, lanes);
    }
  }
}

void batch_norm_reduce(const BatchNormReduceRows& job) {
  switch (job.mask) {
    case ReluMask::none: return reduce_all<ReluMask::none>(job);
    case ReluMask::output: return reduce_all<ReluMask::output>(job);
    case ReluMask::normalised_input: return reduce_all<ReluMask::normalised_input>(job);
  }
}

void batch_norm_backward(const float* dz, const float* x, const float* mean, const float* a, const float* b,
                         const float* c, float* dx, std::int64_t pixels, std::int64_t channels) {
  for (std::int64_t channel = 0; channel < channels; channel += kLanes) {
    const int lanes = static_cast<int>(smaller(kLanes, channels - channel));
    const Floats centre = load_first(mean + channel, lanes), of_dz = load_first(a + channel, lanes),
                 of_x = load_first(b + channel, lanes), constant = load_first(c + channel, lanes);
    for (std::int64_t at = channel; at < pixels * channels; at += channels) {
      const Floats centred = load_first(x + at, lanes) - centre;
      store_first(dx + at, of_dz * load_first(dz + at, lanes) + (of_x * centred + constant), lanes);
    }
  }
}

void channel_sums(const float* x, std::int64_t pixels, std::int64_t channels, double* sums) {
  for (std::int64_t first = 0; first < pixels; first += kFloatPixels) {
    const std::int64_t last = smaller(first + kFloatPixels, pixels);
    for (std::int64_t c = 0; c < channels; c += kLanes) {
      const int lanes = static_cast<int>(smaller(kLanes, channels - c));
      Floats chains[kChains] = {};
      for (std::int64_t pixel = first; pixel < last; ++pixel) {
        chains[0] += load_first(x + pixel * channels + c, lanes);
      }
      add_to(sums + c, chains, lanes);
    }
  }
}

STAGEWISE_KERNELS_END
