// Direct convolution: y[p,k] = sum over taps t of x[p,t] * w[t,k].
//
// Layout: x staged with its padding (stage_rows), so that the taps of one filter row lie side by side under a pixel;
// weights packed [tap, channel block]. A tile of pixels x channel vectors stays in registers while it runs over all
// taps: 6 pixels x 2 vectors with 16 registers, 8 x 2 or 16 x 1 with 32. Each step loads the weights' vectors,
// broadcasts one float a pixel and does pixels x vectors multiply-adds, so loads stay below the multiply-adds. Cost: 2
// * pixels * taps * channels FLOPs; x and y move once, weights stay in L1 or L2. Deterministic: every output is one
// chain of multiply-adds in the order of the taps.
#include "cpu/kernels/all_kernels.h"
#include "cpu/kernels/prefetch.h"

STAGEWISE_KERNELS_BEGIN

namespace {

/// Pixels that lie x_pixel elements apart, side by side into `out`.
template <class Element>
void normalise_pixels(const Element* x, std::int64_t x_pixel, const ChannelCoefficients& by, std::int64_t pixels,
                      std::int64_t channels, float* out) {
  for_vectors(channels, [&](std::int64_t c, auto lanes) {
    const Floats mean = load_first(by.mean + c, lanes), scale = load_first(by.scale + c, lanes),
                 shift = load_first(by.shift + c, lanes);
    const Element* from = x + c;
    for (std::int64_t at = c; at < pixels * channels; at += channels, from += x_pixel) {
      store_first(out + at, relu((load_first(from, lanes) - mean) * scale + shift), lanes);
    }
  });
}

template <class Element>
void copy_pixels(const Element* x, std::int64_t x_pixel, std::int64_t pixels, std::int64_t channels, float* out) {
  if (x_pixel == channels) channels *= pixels, pixels = 1;
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel, x += x_pixel, out += channels) {
    for_vectors(channels, [=](std::int64_t c, auto lanes) { store_first(out + c, load_first(x + c, lanes), lanes); });
  }
}

template <class Element>
void stage(const StageRows& job, const Element* image) {
  const std::int64_t row_floats = job.padded_width * job.channels, x_pixel = job.step * job.channels;
  for (std::int64_t row = 0; row < job.rows; ++row) {
    float* out = job.staged + row * row_floats;
    const std::int64_t image_row = (job.first_row + row - job.top) * job.step;
    if (image_row < 0 || image_row >= job.height) {
      __builtin_memset(out, 0, sizeof(float) * row_floats);
      continue;
    }
    const std::int64_t pixels = smaller((job.width + job.step - 1) / job.step, job.padded_width - job.left);
    const std::int64_t left = job.left * job.channels, right = left + pixels * job.channels;
    const Element* from = image + image_row * job.width * job.channels;
    __builtin_memset(out, 0, sizeof(float) * left);
    if (job.normalise) {
      normalise_pixels(from, x_pixel, *job.normalise, pixels, job.channels, out + left);
    } else {
      copy_pixels(from, x_pixel, pixels, job.channels, out + left);
    }
    __builtin_memset(out + right, 0, sizeof(float) * (row_floats - right));
  }
}

/// Bias and addend to a tile's sums, and out with them. Most tiles are `Whole`: all pixels and lanes exist.
template <bool Whole, int Groups, int Group, int Vectors>
STAGEWISE_INLINE void finish_tile(const ConvolutionBlock& job, const PixelGroup* groups,
                                  const Floats (&sums)[Groups * Group][Vectors]) {
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) {
    const std::int64_t left = Whole ? kLanes : smaller(kLanes, job.channels - v * kLanes);
    if (left <= 0) break;
    const int lanes = static_cast<int>(left);
    const Floats bias = job.bias ? load_first(job.bias + v * kLanes, lanes) : Floats{};
#pragma GCC unroll 32
    for (int pixel = 0; pixel < Groups * Group; ++pixel) {
      const PixelGroup& group = groups[pixel / Group];
      if (!Whole && pixel % Group >= group.pixels) continue;
      float* const output =
          job.output + group.output + (pixel % Group) * job.output_stride + job.first_channel + v * kLanes;
      Floats sum = sums[pixel][v] + bias;
      if (job.has_addend) sum += load_first(output + job.addend, lanes);
      store_first(output, sum, lanes);
    }
  }
}

/// One tile: `Groups` groups of `Group` pixels, `Vectors` vectors of channels.
template <int Groups, int Group, int Vectors>
inline void tile(const ConvolutionBlock& job, const PixelGroup* groups) {
  constexpr int kPixels = Groups * Group;
  Floats sums[kPixels][Vectors];
#pragma GCC unroll 32
  for (int pixel = 0; pixel < kPixels; ++pixel) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sums[pixel][v] = Floats{};
  }
  const float* weights = job.weights;
  for (std::int64_t row = 0; row < job.tap_row_count; ++row) {
    const TapRow& taps = job.tap_rows[row];
    if (groups[Groups - 1].row + taps.row < job.first_row || groups[0].row + taps.row >= job.end_row) {
      weights += taps.length * Vectors * kLanes;  // zeros for all pixels
      continue;
    }
    const float* input[Groups];
#pragma GCC unroll 4
    for (int group = 0; group < Groups; ++group) input[group] = job.input + groups[group].input + taps.offset;
    for (std::int64_t tap = taps.length; tap > 0; --tap) {
      Floats weight[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) weight[v] = load(weights + v * kLanes);
      weights += Vectors * kLanes;
#pragma GCC unroll 32
      for (int pixel = 0; pixel < kPixels; ++pixel) {
        const Floats value = broadcast(input[pixel / Group][(pixel % Group) * job.input_stride]);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sums[pixel][v] += value * weight[v];
      }
#pragma GCC unroll 4
      for (int group = 0; group < Groups; ++group) ++input[group];
    }
  }
  bool whole = job.channels >= Vectors * kLanes;
  for (int group = 0; group < Groups; ++group) whole = whole && groups[group].pixels >= Group;
  whole ? finish_tile<true, Groups, Group, Vectors>(job, groups, sums)
        : finish_tile<false, Groups, Group, Vectors>(job, groups, sums);
}

template <int Most, int Group, int Vectors>
void tiles(const ConvolutionBlock& job) {
  PrefetchSteps soon(job.soon, (job.group_count + Most - 1) / Most);
  std::int64_t done = 0;
  for (; done + Most <= job.group_count; done += Most) {
    soon.next();
    tile<Most, Group, Vectors>(job, job.groups + done);
  }
  soon.next();
  const std::int64_t left = job.group_count - done;
  if constexpr (Most > 3) {
    if (left == 3) return tile<3, Group, Vectors>(job, job.groups + done);
  }
  if constexpr (Most > 2) {
    if (left == 2) return tile<2, Group, Vectors>(job, job.groups + done);
  }
  if (left == 1) tile<1, Group, Vectors>(job, job.groups + done);
}

}  // namespace

void stage_rows(const StageRows& job) {
  job.image.narrow ? stage(job, static_cast<const std::uint16_t*>(job.image.data))
                   : stage(job, static_cast<const float*>(job.image.data));
}

void convolution_block(const ConvolutionBlock& job) {
  if constexpr (kManyRegisters) {
    if (job.vectors == 2) return tiles<2, kGroup2, 2>(job);
    return tiles<4, kGroup1, 1>(job);
  } else {
    if (job.vectors == 2) return tiles<3, kGroup2, 2>(job);
    return tiles<3, kGroup1, 1>(job);
  }
}

STAGEWISE_KERNELS_END
