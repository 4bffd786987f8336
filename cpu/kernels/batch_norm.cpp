// Batch norm over rows of pixels [pixel, channel]: forward y = (x - mean) * scale + shift, backward
// dx = scale * (dz - mean(dz) - x_hat * mean(dz * x_hat)). Subtracting the mean first keeps large means harmless.
//
// Memory-bound: the forward reads 1 or 2 elements and writes 1 a value, the reduction reads 2 or 3 and writes 1, the
// backward reads 2 and writes 1. Sums run in float over a run of pixels in four chains, then in double: deterministic,
// whatever the number of threads.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

namespace {

constexpr int kChains = 4;

/// Calls step(pixel, chain) for all pixels of a run, neighbours in different chains.
template <class Step>
STAGEWISE_INLINE void for_pixels(std::int64_t pixels, const Step& step) {
  std::int64_t pixel = 0;
  for (; pixel + kChains <= pixels; pixel += kChains) {
#pragma GCC unroll 4
    for (int chain = 0; chain < kChains; ++chain) step(pixel + chain, chain);
  }
  for (; pixel < pixels; ++pixel) step(pixel, 0);
}

STAGEWISE_INLINE void add_to(double* sums, const Floats (&chains)[kChains], int lanes) {
  const Floats total = (chains[0] + chains[1]) + (chains[2] + chains[3]);
  for (int lane = 0; lane < lanes; ++lane) sums[lane] += static_cast<double>(total[lane]);
}

/// Calls body(float*) or body(uint16_t*), as the elements are.
template <class Body>
STAGEWISE_INLINE void with_type(const Elements& elements, const Body& body) {
  if (elements.narrow) {
    body(static_cast<std::uint16_t*>(elements.data));
  } else {
    body(static_cast<float*>(elements.data));
  }
}

/// One vector of channels over a run of pixels.
template <ReluMask Mask, class Gradient, class Input, class Lanes>
STAGEWISE_INLINE void reduce(const BatchNormReduceRows& job, const Gradient* dy, const Input* x, const Input* y,
                             Gradient* dz_out, std::int64_t pixels, std::int64_t c, Lanes lanes) {
  const std::int64_t channels = job.channels;
  const Floats mean = load_first(job.coefficients.mean + c, lanes),
               inverse_deviation = load_first(job.coefficients.inverse_deviation + c, lanes);
  Floats scale{}, shift{};
  if constexpr (Mask == ReluMask::normalised_input) {
    scale = load_first(job.coefficients.scale + c, lanes);
    shift = load_first(job.coefficients.shift + c, lanes);
  }
  Floats bias_sums[kChains] = {}, weight_sums[kChains] = {};
  for_pixels(
      pixels, [&](std::int64_t pixel, int chain) __attribute__((always_inline)) {
        const std::int64_t at = pixel * channels;
        Floats dz = load_first(dy + at, lanes);
        const Floats centred = load_first(x + at, lanes) - mean;
        if constexpr (Mask == ReluMask::output) dz = where_positive(load_first(y + at, lanes), dz);
        if constexpr (Mask == ReluMask::normalised_input) dz = where_positive(centred * scale + shift, dz);
        if constexpr (Mask != ReluMask::none) store_first(dz_out + at, dz, lanes);
        bias_sums[chain] += dz;
        weight_sums[chain] += dz * centred;
      });
#pragma GCC unroll 4
  for (int chain = 0; chain < kChains; ++chain) weight_sums[chain] *= inverse_deviation;
  add_to(job.bias_sums + c, bias_sums, lanes);
  add_to(job.weight_sums + c, weight_sums, lanes);
}

template <ReluMask Mask, class Gradient, class Input>
void reduce_all(const BatchNormReduceRows& job, const Gradient* dy, const Input* x) {
  const auto* const y = static_cast<const Input*>(job.y.data);
  auto* const dz = static_cast<Gradient*>(job.dz.data);
  for_runs(job.pixels, job.channels, [&](std::int64_t first, std::int64_t pixels) {
    for_vectors(job.channels, [&](std::int64_t c, auto lanes) {
      const std::int64_t at = first * job.channels + c;
      reduce<Mask>(job, dy + at, x + at, Mask == ReluMask::output ? y + at : nullptr,
                   Mask != ReluMask::none ? dz + at : nullptr, pixels, c, lanes);
    });
  });
}

template <class Element>
void forward(const Element* x, const ChannelCoefficients& coefficients, const Element* addend,
             const ChannelCoefficients* addend_coefficients, bool with_relu, Element* y, std::int64_t pixels,
             std::int64_t channels) {
  for_runs(pixels, channels, [&](std::int64_t first, std::int64_t count) {
    for_vectors(channels, [&](std::int64_t c, auto lanes) {
      const Floats mean = load_first(coefficients.mean + c, lanes), scale = load_first(coefficients.scale + c, lanes),
                   shift = load_first(coefficients.shift + c, lanes);
      const std::int64_t next = (first + count) * channels;
      fetch_share(x + next, count * channels, c, channels);
      if (addend != nullptr) fetch_share(addend + next, count * channels, c, channels);
      const auto normalise_all = [&](const auto& other) __attribute__((always_inline)) {
        for (std::int64_t at = first * channels + c; at < (first + count) * channels; at += channels) {
          const Floats value = (load_first(x + at, lanes) - mean) * scale + shift + other(at);
          store_first(y + at, with_relu ? relu(value) : value, lanes);
        }
      };
      if (addend == nullptr) return normalise_all([](std::int64_t) { return Floats{}; });
      if (addend_coefficients == nullptr) {
        return normalise_all([&](std::int64_t at)
                                 __attribute__((always_inline)) { return load_first(addend + at, lanes); });
      }
      const Floats addend_mean = load_first(addend_coefficients->mean + c, lanes),
                   addend_scale = load_first(addend_coefficients->scale + c, lanes),
                   addend_shift = load_first(addend_coefficients->shift + c, lanes);
      normalise_all([&](std::int64_t at) __attribute__((always_inline)) {
        return (load_first(addend + at, lanes) - addend_mean) * addend_scale + addend_shift;
      });
    });
  });
}

template <class Input, class Output>
void backward(const Input* dz, const Input* x, const float* mean, const float* a, const float* b, const float* c,
              Output* dx, std::int64_t pixels, std::int64_t channels) {
  for_runs(pixels, channels, [&](std::int64_t first, std::int64_t count) {
    for_vectors(channels, [&](std::int64_t channel, auto lanes) {
      const Floats centre = load_first(mean + channel, lanes), of_dz = load_first(a + channel, lanes),
                   of_x = load_first(b + channel, lanes), constant = load_first(c + channel, lanes);
      for (std::int64_t at = first * channels + channel; at < (first + count) * channels; at += channels) {
        const Floats centred = load_first(x + at, lanes) - centre;
        store_first(dx + at, of_dz * load_first(dz + at, lanes) + (of_x * centred + constant), lanes);
      }
    });
  });
}

}  // namespace

void moment_sums(Elements x, std::int64_t pixels, std::int64_t channels, const float* pivot, double* sum,
                 double* square_sum) {
  with_type(x, [&](const auto* values) {
    for_runs(pixels, channels, [&](std::int64_t first, std::int64_t count) {
      for_vectors(channels, [&](std::int64_t c, auto lanes) {
        const auto* const from = values + first * channels + c;
        const Floats zero = load_first(pivot + c, lanes);
        Floats sums[kChains] = {}, squares[kChains] = {};
        for_pixels(
            count, [&](std::int64_t pixel, int chain) __attribute__((always_inline)) {
              const Floats value = load_first(from + pixel * channels, lanes) - zero;
              sums[chain] += value;
              squares[chain] += value * value;
            });
        add_to(sum + c, sums, lanes);
        add_to(square_sum + c, squares, lanes);
      });
    });
  });
}

void batch_norm_forward(Elements x, const ChannelCoefficients& coefficients, Elements addend,
                        const ChannelCoefficients* addend_coefficients, bool with_relu, Elements y, std::int64_t pixels,
                        std::int64_t channels) {
  with_type(x, [&]<class Element>(const Element* from) {
    forward(from, coefficients, static_cast<const Element*>(addend.data), addend_coefficients, with_relu,
            static_cast<Element*>(y.data), pixels, channels);
  });
}

void batch_norm_reduce(const BatchNormReduceRows& job) {
  with_type(job.dy, [&](const auto* dy) {
    with_type(job.x, [&](const auto* x) {
      switch (job.mask) {
        case ReluMask::none: return reduce_all<ReluMask::none>(job, dy, x);
        case ReluMask::output: return reduce_all<ReluMask::output>(job, dy, x);
        case ReluMask::normalised_input: return reduce_all<ReluMask::normalised_input>(job, dy, x);
      }
    });
  });
}

void batch_norm_backward(Elements dz, Elements x, const float* mean, const float* a, const float* b, const float* c,
                         Elements dx, std::int64_t pixels, std::int64_t channels) {
  with_type(dz, [&]<class Input>(const Input* from) {
    with_type(
        dx, [&](auto* to) { backward(from, static_cast<const Input*>(x.data), mean, a, b, c, to, pixels, channels); });
  });
}

void channel_sums(const float* x, std::int64_t pixels, std::int64_t channels, double* sums) {
  for_runs(pixels, channels, [&](std::int64_t first, std::int64_t count) {
    for_vectors(channels, [&](std::int64_t c, auto lanes) {
      const float* const from = x + first * channels + c;
      Floats chains[kChains] = {};
      for_pixels(
          count, [&](std::int64_t pixel, int chain)
                     __attribute__((always_inline)) { chains[chain] += load_first(from + pixel * channels, lanes); });
      add_to(sums + c, chains, lanes);
    });
  });
}

STAGEWISE_KERNELS_END
