// Batch norm as passes of their own. Work is cut into runs of pixels.
#include <cmath>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

constexpr std::int64_t kItemFloats = 16 << 10;

/// Runs of pixels of about kItemFloats floats.
struct PixelRuns {
  std::int64_t pixels, channels, run, items, part;
  explicit PixelRuns(const Tensor& x)
      : pixels(x.count() / std::max<std::int64_t>(x.shape().back(), 1)),
        channels(x.shape().back()),
        run(std::max<std::int64_t>(kItemFloats / std::max<std::int64_t>(channels, 1), 1)),
        items((pixels + run - 1) / run),
        part(FeatureMap(x).narrow() ? std::max<std::int64_t>(kBufferedFloats / channels, 1) : run) {}

  /// Calls body(offset, pixels) for the parts of an item that pass through buffers at once.
  template <class Body>
  void for_parts(std::int64_t item, const Body& body) const {
    const std::int64_t end = std::min((item + 1) * run, pixels);
    for (std::int64_t first = item * run; first < end; first += part) {
      body(first * channels, std::min(part, end - first));
    }
  }
};

}  // namespace

void CpuBackend::batch_norm_moments(const Tensor& x, const Tensor& mean, const Tensor& variance) {
  const PixelRuns runs(x);
  const FeatureMap map(x);
  PartialMoments moments(runs.items, runs.channels);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    runs.for_parts(item, [&](std::int64_t at, std::int64_t pixels) {
      moments.add(kernels_, item, map.read(kernels_, Scratch::first_map, at, pixels * runs.channels), pixels);
    });
  });
  moments.combine(mean.data<float>(), variance.data<float>());
}

void CpuBackend::batch_norm_prepare(const BatchNormPrepare& call) {
  const double unbiased =
      call.pixels > 1 ? static_cast<double>(call.pixels) / static_cast<double>(call.pixels - 1) : 1.0;
  for (std::int64_t c = 0; c < call.mean.count(); ++c) {
    const double mean = call.mean.data<float>()[c], variance = call.variance.data<float>()[c];
    const double inverse_deviation = 1.0 / std::sqrt(variance + call.epsilon);
    call.inverse_deviation.data<float>()[c] = static_cast<float>(inverse_deviation);
    call.scale.data<float>()[c] = static_cast<float>(call.weight.data<float>()[c] * inverse_deviation);
    if (!call.running_mean.defined()) continue;
    float& running_mean = call.running_mean.data<float>()[c];
    float& running_variance = call.running_variance.data<float>()[c];
    running_mean += static_cast<float>(call.momentum * (mean - running_mean));
    running_variance += static_cast<float>(call.momentum * (variance * unbiased - running_variance));
  }
}

void CpuBackend::batch_norm_forward(const BatchNormForward& call) {
  const PixelRuns runs(call.x);
  const FeatureMap x(call.x), addend(call.addend), y(call.y);
  const ChannelCoefficients coefficients = pointers(call.coefficients), of_addend = pointers(call.addend_coefficients);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    runs.for_parts(item, [&](std::int64_t at, std::int64_t pixels) {
      const std::int64_t floats = pixels * runs.channels;
      float* const out = y.target(Scratch::result, at, floats);
      kernels_.batch_norm_forward(x.read(kernels_, Scratch::first_map, at, floats), coefficients,
                                  addend.read(kernels_, Scratch::second_map, at, floats),
                                  call.addend_coefficients.defined() ? &of_addend : nullptr, call.relu, out, pixels,
                                  runs.channels);
      y.written(kernels_, out, at, floats);
    });
  });
}

void CpuBackend::batch_norm_backward_reduce(const BatchNormBackwardReduce& call) {
  const PixelRuns runs(call.dy);
  const FeatureMap dy(call.dy), y(call.y), x(call.x), dz(call.dz);
  PartialSums sums(runs.items, runs.channels);
  const ChannelCoefficients coefficients = pointers(call.coefficients);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    runs.for_parts(item, [&](std::int64_t at, std::int64_t pixels) {
      const std::int64_t floats = pixels * runs.channels;
      float* const out = y.defined() ? dz.target(Scratch::result, at, floats) : nullptr;
      kernels_.batch_norm_reduce({dy.read(kernels_, Scratch::first_map, at, floats),
                                  y.read(kernels_, Scratch::second_map, at, floats),
                                  x.read(kernels_, Scratch::third_map, at, floats), coefficients,
                                  y.defined() ? ReluMask::output : ReluMask::none, out, pixels, runs.channels,
                                  sums.first(item), sums.second(item)});
      if (y.defined()) dz.written(kernels_, out, at, floats);
    });
  });
  sums.combine(call.gradients);
}

void CpuBackend::batch_norm_backward_data(const BatchNormBackwardData& call) {
  const PixelRuns runs(call.dz);
  const FeatureMap dz(call.dz), x(call.x), dx(call.dx);
  const BatchNormBackwardFactors factors(call.coefficients, call.gradients, runs.pixels);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    runs.for_parts(item, [&](std::int64_t at, std::int64_t pixels) {
      const std::int64_t floats = pixels * runs.channels;
      float* const out = dx.target(Scratch::result, at, floats);
      kernels_.batch_norm_backward(dz.read(kernels_, Scratch::first_map, at, floats),
                                   x.read(kernels_, Scratch::second_map, at, floats),
                                   call.coefficients.mean.data<float>(), factors.a.data(), factors.b.data(),
                                   factors.c.data(), out, pixels, runs.channels);
      dx.written(kernels_, out, at, floats);
    });
  });
}

}  // namespace stagewise::cpu
