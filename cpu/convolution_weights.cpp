// Convolution by weights. The batch is cut into chunks by the problem's size; each chunk sums into a filter of its own,
// and the chunks' filters are added in order at the end. (A large filter is cut itself: filter_parts.h.) With a batch norm
// folded in, dy is computed from dz row by row just before it is used, and stored once for the pass by data.
#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

/// dy of some rows with channels padded to whole blocks, so that vectors can be loaded whole.
const float* padded_channels(const float* dy, std::int64_t pixels, std::int64_t channels, std::int64_t stored) {
  if (channels == stored) return dy;
  float* const padded = scratch_floats(Scratch::padded, pixels * stored);
  copy_rows(dy, channels, pixels, channels, padded, stored);
  return padded;
}

}  // namespace

const float* WeightsRun::read_dy(const Kernels& kernels, std::int64_t first, std::int64_t pixels, double* bias) const {
  const std::int64_t channels = shape.out_channels, at = first * channels, floats = pixels * channels;
  const float* from = nullptr;
  if (dy_out.defined()) {
    float* const out = dy_out.target(Scratch::result, at, floats);
    kernels.batch_norm_backward(dy.elements(at), y.elements(at), mean, factors->a.data(), factors->b.data(),
                                factors->c.data(), {out}, pixels, channels);
    dy_out.written(kernels, out, at, floats);
    from = out;
  } else {
    from = dy.read(kernels, Scratch::first_map, at, floats);
  }
  if (bias != nullptr) kernels.channel_sums(from, pixels, channels, bias);
  return from;
}

void CpuBackend::direct_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                                float* filter, double* bias) {
  const ConvolutionShape& shape = run.shape;
  const std::int64_t stride = plan.stride, staged_row = plan.padded_width * shape.channels;
  const std::int64_t row_taps = shape.filter_width * shape.channels;
  std::fill_n(filter, plan.filter_floats, 0.0f);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t image = unit / plan.strips, first_row = unit % plan.strips * plan.strip_rows;
    const std::int64_t last_row = std::min(first_row + plan.strip_rows, shape.out_height);
    float* const staged =
        scratch_floats(Scratch::staged, ((last_row - first_row - 1) * stride + shape.filter_height) * staged_row);
    std::int64_t staged_rows = 0;
    for (std::int64_t row = first_row; row < last_row; row += plan.sweep_rows) {
      const std::int64_t rows = std::min(plan.sweep_rows, last_row - row);
      const std::int64_t needed = (row + rows - first_row - 1) * stride + shape.filter_height;
      kernels_.stage_rows({run.x.elements(image * shape.height * shape.width * shape.channels), shape.height,
                           shape.width, shape.channels, first_row * stride + staged_rows, needed - staged_rows,
                           shape.options.padding_before, shape.options.padding_before, plan.padded_width, run.normalise,
                           staged + staged_rows * staged_row, plan.stage_step});
      staged_rows = needed;
      const std::int64_t pixels = rows * shape.out_width, first = (image * shape.out_height + row) * shape.out_width;
      const float* dy = run.read_dy(kernels_, first, pixels, bias);
      dy = padded_channels(dy, pixels, shape.out_channels, plan.stored_channels);
      // What comes next lies behind, in x and in dy, if a few rows of padding don't count.
      const std::int64_t x_row = shape.width * shape.channels, dy_floats = pixels * shape.out_channels;
      const std::int64_t x_rows = rows * shape.options.stride, next_row = row * shape.options.stride + x_rows;
      const Prefetch next[3] = {soon(run.x, (image * shape.height + next_row) * x_row, x_rows * x_row),
                                soon(run.dy, first * shape.out_channels + dy_floats, dy_floats),
                                soon(run.y, first * shape.out_channels + dy_floats, dy_floats)};
      for (std::int64_t filter_row = 0; filter_row < shape.filter_height; ++filter_row) {
        const auto part = [&](int run) { return next[run].part(filter_row, shape.filter_height); };
        kernels_.weight_gradient_sweep({staged + ((row - first_row) * stride + filter_row) * staged_row,
                                        stride * staged_row,
                                        stride * shape.channels,
                                        row_taps,
                                        dy,
                                        shape.out_width * plan.stored_channels,
                                        plan.stored_channels,
                                        rows,
                                        shape.out_width,
                                        plan.blocks,
                                        static_cast<int>(plan.vectors),
                                        filter + filter_row * row_taps * plan.stored_channels,
                                        plan.stored_channels,
                                        {part(0), part(1), part(2)}});
      }
    }
  }
}

void CpuBackend::convolution_backward_weights(const ConvolutionBackwardWeights& call) {
  const ConvolutionShape shape = convolution_shape(call.x, call.d_weight, call.dy, call.options);
  const WeightsPlan plan = plan_weights(shape, kernels_, strict_convolution_);
  const std::int64_t units = plan.units(shape.images), chunks = plan.chunks(shape.images);
  const ChannelCoefficients normalise = pointers(call.input_batch_norm);
  const BatchNormBackwardFactors factors(call.output_batch_norm, call.gradients,
                                         shape.images * shape.out_height * shape.out_width);
  const WeightsRun run{.shape = shape,
                       .x = FeatureMap(call.x),
                       .normalise = call.input_batch_norm.defined() ? &normalise : nullptr,
                       .dy = FeatureMap(call.dy),
                       .dy_out = FeatureMap(call.dy_out),
                       .y = FeatureMap(call.y),
                       .mean = call.output_batch_norm.mean.data<float>(),
                       .factors = &factors};
  const Tensor partials(*this, {chunks, plan.filter_floats});
  const std::int64_t summed = plan.in_parts ? units : chunks;
  PartialSums bias_sums(call.d_bias.defined() ? summed : 0, shape.out_channels);
  if (plan.in_parts) {
    const bool winograd = plan.choice.algorithm == Algorithm::winograd;
    winograd ? winograd_weights_in_parts(plan, run, partials.data<float>(), bias_sums)
             : direct_weights_in_parts(plan, run, partials.data<float>(), bias_sums);
  } else {
    pool_.sweep(chunks, [&](std::int64_t chunk) {
      const std::int64_t begin = chunk * units / chunks, end = (chunk + 1) * units / chunks;
      float* const filter = partials.data<float>() + chunk * plan.filter_floats;
      double* const bias = call.d_bias.defined() ? bias_sums.first(chunk) : nullptr;
      if (plan.choice.algorithm == Algorithm::winograd) {
        winograd_weights(plan, run, begin, end, filter, bias);
      } else {
        direct_weights(plan, run, begin, end, filter, bias);
      }
    });
  }

  // [taps, channels] of all chunks to [channels, taps].
  constexpr std::int64_t kTapsAtOnce = 16;
  pool_.run((plan.taps + kTapsAtOnce - 1) / kTapsAtOnce, [&](std::int64_t item) {
    const std::int64_t first = item * kTapsAtOnce, last = std::min(plan.taps, first + kTapsAtOnce);
    float* const total = partials.data<float>() + first * plan.stored_channels;
    for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
      kernels_.add(total, total + chunk * plan.filter_floats, total, (last - first) * plan.stored_channels);
    }
    for (std::int64_t k = 0; k < shape.out_channels; ++k) {
      for (std::int64_t tap = first; tap < last; ++tap) {
        call.d_weight.data<float>()[k * plan.taps + tap] = total[(tap - first) * plan.stored_channels + k];
      }
    }
  });
  for (std::int64_t k = 0; call.d_bias.defined() && k < shape.out_channels; ++k) {
    double sum = 0;
    for (std::int64_t item = 0; item < bias_sums.items(); ++item) sum += bias_sums.first(item)[k];
    call.d_bias.data<float>()[k] = static_cast<float>(sum);
  }
}

}  // namespace stagewise::cpu
