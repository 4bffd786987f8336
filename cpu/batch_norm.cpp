// Batch norm as passes of their own. Work is cut into runs of pixels.
#include <cmath>

#include "cpu/cpu_backend_impl.h"

namespace stagewise::cpu {
namespace {

constexpr std::int64_t kItemFloats = 16 << 10;

/// Runs of pixels of about kItemFloats floats, one a work item.
struct PixelRuns {
  std::int64_t pixels, channels, run, items;
  explicit PixelRuns(const Tensor& x)
      : pixels(x.count() / std::max<std::int64_t>(x.shape().back(), 1)),
        channels(x.shape().back()),
        run(std::max<std::int64_t>(kItemFloats / std::max<std::int64_t>(channels, 1), 1)),
        items((pixels + run - 1) / run) {}

  std::int64_t offset(std::int64_t item) const { return item * run * channels; }
  std::int64_t count(std::int64_t item) const { return std::min(run, pixels - item * run); }
};

}  // namespace

void CpuBackend::batch_norm_moments(const BatchNormMoments& call) {
  const PixelRuns runs(call.x);
  const FeatureMap map(call.x);
  PartialMoments moments(runs.items, runs.channels);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    moments.add(kernels_, item, map.elements(runs.offset(item)), runs.count(item));
  });
  moments.combine(call.mean.data<float>(), call.variance.data<float>());
  if (call.prepare.defined()) batch_norm_prepare(call.prepare);
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
  const ChannelCoefficients coefficients = pointers(call.batch_norm), of_addend = pointers(call.addend_batch_norm);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    const std::int64_t at = runs.offset(item);
    kernels_.batch_norm_forward(x.elements(at), coefficients, addend.elements(at),
                                call.addend_batch_norm.defined() ? &of_addend : nullptr, call.relu, y.elements(at),
                                runs.count(item), runs.channels);
  });
}

void CpuBackend::batch_norm_backward_reduce(const BatchNormBackwardReduce& call) {
  const PixelRuns runs(call.dy);
  const FeatureMap dy(call.dy), y(call.y), x(call.x), dz(call.dz);
  PartialSums sums(runs.items, runs.channels);
  const ChannelCoefficients coefficients = pointers(call.batch_norm);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    const std::int64_t at = runs.offset(item);
    kernels_.batch_norm_reduce({dy.elements(at), x.elements(at), y.elements(at), coefficients,
                                y.defined() ? ReluMask::output : ReluMask::none, dz.elements(at), runs.count(item),
                                runs.channels, sums.first(item), sums.second(item)});
  });
  sums.combine(call.gradients);
}

void CpuBackend::batch_norm_backward_data(const BatchNormBackwardData& call) {
  const PixelRuns runs(call.dz);
  const FeatureMap dz(call.dz), x(call.x), dx(call.dx);
  const BatchNormBackwardFactors factors(call.batch_norm, call.gradients, runs.pixels);
  pool_.sweep(runs.items, [&](std::int64_t item) {
    const std::int64_t at = runs.offset(item);
    kernels_.batch_norm_backward(dz.elements(at), x.elements(at), call.batch_norm.mean.data<float>(), factors.a.data(),
                                 factors.b.data(), factors.c.data(), dx.elements(at), runs.count(item), runs.channels);
  });
}

}  // namespace stagewise::cpu
