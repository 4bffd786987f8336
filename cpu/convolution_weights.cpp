// Convolution by weights. The images' strips are cut into chunks by the problem's size; each chunk sums into a filter
// of its own, and the chunks' filters are added in order at the end. With a batch norm folded in, dy is computed from
// dz row by row just before it is used, and stored once for the pass by data.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

// A sweep's rows of x and dy are to stay in L1.
constexpr std::int64_t kSweepBytes = 24 << 10;
// The chunks' filters together are to stay in the last-level cache.
constexpr std::int64_t kPartialBytes = 2 << 20;

struct WeightsPlan {
  std::int64_t vectors, block_channels, blocks, stored_channels;  // stored: rounded up to whole blocks
  std::int64_t taps, filter_floats;                               // taps: floats under a pixel, all filter rows
  std::int64_t padded_width, sweep_rows, strip_rows, strips, units, chunks;
};

WeightsPlan plan_weights(const ConvolutionShape& shape, int lanes) {
  WeightsPlan plan;
  plan.vectors = shape.out_channels > lanes ? 2 : 1;
  plan.block_channels = plan.vectors * lanes;
  plan.blocks = (shape.out_channels + plan.block_channels - 1) / plan.block_channels;
  plan.stored_channels = plan.blocks * plan.block_channels;
  plan.taps = shape.filter_height * shape.filter_width * shape.channels;
  plan.filter_floats = plan.taps * plan.stored_channels;
  plan.padded_width = std::max(shape.width + shape.options.padding_before,
                               (shape.out_width - 1) * shape.options.stride + shape.filter_width);
  const std::int64_t row_bytes =
      4 * (plan.padded_width * shape.channels * shape.options.stride + shape.out_width * plan.stored_channels);
  plan.sweep_rows = std::clamp<std::int64_t>(kSweepBytes / row_bytes, 1, shape.out_height);
  plan.strip_rows =
      std::min(shape.out_height, (std::max<std::int64_t>(1024 / shape.out_width, 1) + plan.sweep_rows - 1) /
                                     plan.sweep_rows * plan.sweep_rows);
  plan.strips = (shape.out_height + plan.strip_rows - 1) / plan.strip_rows;
  plan.units = shape.images * plan.strips;
  plan.chunks = std::min(plan.units, std::clamp<std::int64_t>(kPartialBytes / (4 * plan.filter_floats), 8, 64));
  return plan;
}

/// dy of some rows with channels padded to whole blocks, so that vectors can be loaded whole.
const float* padded_channels(const float* dy, std::int64_t pixels, std::int64_t channels, std::int64_t stored) {
  if (channels == stored) return dy;
  float* const padded = scratch_floats(1, pixels * stored);
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    std::copy_n(dy + pixel * channels, channels, padded + pixel * stored);
    std::fill_n(padded + pixel * stored + channels, stored - channels, 0.0f);
  }
  return padded;
}

}  // namespace

void CpuBackend::convolution_backward_weights(const ConvolutionBackwardWeights& call) {
  const ConvolutionShape shape = convolution_shape(call.x, call.d_weight, call.dy, call.options);
  const WeightsPlan plan = plan_weights(shape, kernels_.lanes);
  const bool folds = call.batch_norm.defined();
  const std::int64_t stride = shape.options.stride, channels = shape.out_channels;
  const ChannelCoefficients normalise = pointers(call.normalise);
  BatchNormBackwardFactors factors(call.batch_norm, call.gradients, shape.images * shape.out_height * shape.out_width);
  const Tensor partials(*this, {plan.chunks, plan.filter_floats});
  PartialSums bias_sums(call.d_bias.defined() ? plan.chunks : 0, channels);
  const std::int64_t staged_row = plan.padded_width * shape.channels, dy_row = shape.out_width * channels;

  const auto unit = [&](std::int64_t number, float* filter, double* bias) {
    const std::int64_t image = number / plan.strips, first_row = number % plan.strips * plan.strip_rows;
    const std::int64_t last_row = std::min(first_row + plan.strip_rows, shape.out_height);
    float* const staged = scratch_floats(0, ((last_row - first_row - 1) * stride + shape.filter_height) * staged_row);
    std::int64_t staged_rows = 0;
    for (std::int64_t row = first_row; row < last_row; row += plan.sweep_rows) {
      const std::int64_t rows = std::min(plan.sweep_rows, last_row - row);
      const std::int64_t needed = (row + rows - first_row - 1) * stride + shape.filter_height;
      kernels_.stage_rows({call.x.data<float>() + image * shape.height * shape.width * shape.channels, shape.height,
                           shape.width, shape.channels, first_row * stride + staged_rows, needed - staged_rows,
                           shape.options.padding_before, shape.options.padding_before, plan.padded_width,
                           call.normalise.defined() ? &normalise : nullptr, staged + staged_rows * staged_row});
      staged_rows = needed;
      const std::int64_t at = (image * shape.out_height + row) * dy_row, pixels = rows * shape.out_width;
      const float* dy = call.dy.data<float>() + at;
      if (folds) {
        float* const dy_out = call.dy_out.data<float>() + at;
        kernels_.batch_norm_backward(dy, call.y.data<float>() + at, call.batch_norm.mean.data<float>(),
                                     factors.a.data(), factors.b.data(), factors.c.data(), dy_out, pixels, channels);
        dy = dy_out;
      }
      if (bias != nullptr) kernels_.channel_sums(dy, pixels, channels, bias);
      dy = padded_channels(dy, pixels, channels, plan.stored_channels);
      for (std::int64_t filter_row = 0; filter_row < shape.filter_height; ++filter_row) {
        const std::int64_t row_taps = shape.filter_width * shape.channels;
        kernels_.weight_gradient_sweep({staged + ((row - first_row) * stride + filter_row) * staged_row,
                                        stride * staged_row, stride * shape.channels, row_taps, dy,
                                        shape.out_width * plan.stored_channels, plan.stored_channels, rows,
                                        shape.out_width, plan.blocks, static_cast<int>(plan.vectors),
                                        filter + filter_row * row_taps * plan.stored_channels, plan.stored_channels});
      }
    }
  };
  pool_.run(plan.chunks, [&](std::int64_t chunk) {
    float* const filter = partials.data<float>() + chunk * plan.filter_floats;
    std::fill_n(filter, plan.filter_floats, 0.0f);
    for (std::int64_t number = chunk * plan.units / plan.chunks; number < (chunk + 1) * plan.units / plan.chunks;
         ++number) {
      unit(number, filter, call.d_bias.defined() ? bias_sums.first(chunk) : nullptr);
    }
  });

  // [taps, channels] of all chunks to [channels, taps].
  constexpr std::int64_t kTapsAtOnce = 32;
  pool_.run((plan.taps + kTapsAtOnce - 1) / kTapsAtOnce, [&](std::int64_t item) {
    for (std::int64_t tap = item * kTapsAtOnce; tap < std::min(plan.taps, (item + 1) * kTapsAtOnce); ++tap) {
      float* const total = partials.data<float>() + tap * plan.stored_channels;
      for (std::int64_t chunk = 1; chunk < plan.chunks; ++chunk) {
        kernels_.add(total, total + chunk * plan.filter_floats, total, plan.stored_channels);
      }
      for (std::int64_t k = 0; k < channels; ++k) call.d_weight.data<float>()[k * plan.taps + tap] = total[k];
    }
  });
  for (std::int64_t k = 0; call.d_bias.defined() && k < channels; ++k) {
    double sum = 0;
    for (std::int64_t chunk = 0; chunk < plan.chunks; ++chunk) sum += bias_sums.first(chunk)[k];
    call.d_bias.data<float>()[k] = static_cast<float>(sum);
  }
}

}  // namespace stagewise::cpu
