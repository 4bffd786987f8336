#include "cpu/partial_sums.h"

#include <algorithm>

namespace stagewise::cpu {

ChannelCoefficients pointers(const BatchNormCoefficients& coefficients) {
  return {coefficients.mean.data<float>(), coefficients.inverse_deviation.data<float>(),
          coefficients.scale.data<float>(), coefficients.shift.data<float>()};
}

BatchNormBackwardFactors::BatchNormBackwardFactors(const BatchNormCoefficients& coefficients,
                                                   const BatchNormGradients& gradients, std::int64_t pixels) {
  if (!coefficients.defined()) return;
  for (std::int64_t channel = 0; channel < coefficients.mean.count(); ++channel) {
    const double scale = coefficients.scale.data<float>()[channel];
    const double inverse_deviation = coefficients.inverse_deviation.data<float>()[channel];
    a.push_back(static_cast<float>(scale));
    b.push_back(static_cast<float>(-scale * inverse_deviation * gradients.weight.data<float>()[channel] /
                                   static_cast<double>(pixels)));
    c.push_back(static_cast<float>(-scale * gradients.bias.data<float>()[channel] / static_cast<double>(pixels)));
  }
}

void PartialSums::combine(const BatchNormGradients& gradients) {
  for (std::int64_t c = 0; c < channels_; ++c) {
    double weight = 0, bias = 0;
    for (std::int64_t item = 0; item < items_; ++item) {
      weight += first(item)[c];
      bias += second(item)[c];
    }
    gradients.weight.data<float>()[c] = static_cast<float>(weight);
    gradients.bias.data<float>()[c] = static_cast<float>(bias);
  }
}

void PartialMoments::add(const Kernels& kernels, std::int64_t item, Elements x, std::int64_t pixels) {
  float* const pivot = pivots_.data() + item * channels_;
  std::int64_t& seen = pixels_[static_cast<std::size_t>(item)];
  if (seen == 0 && x.narrow) kernels.widen(static_cast<const std::uint16_t*>(x.data), pivot, channels_);
  if (seen == 0 && !x.narrow) std::copy_n(static_cast<const float*>(x.data), channels_, pivot);
  seen += pixels;
  kernels.moment_sums(x, pixels, channels_, pivot, sums_.first(item), sums_.second(item));
}

void PartialMoments::combine(float* mean, float* variance) {
  std::vector<double> means(static_cast<std::size_t>(channels_)), deviations(means.size());
  double total = 0;
  for (std::int64_t item = 0; item < sums_.items(); ++item) {
    const auto count = static_cast<double>(pixels_[static_cast<std::size_t>(item)]);
    double* const first = sums_.first(item);
    double* const second = sums_.second(item);
    for (std::int64_t c = 0; c < channels_; ++c) {
      second[c] -= first[c] * first[c] / count;
      first[c] = pivots_[static_cast<std::size_t>(item * channels_ + c)] + first[c] / count;
      means[static_cast<std::size_t>(c)] += count * first[c];
    }
    total += count;
  }
  for (double& value : means) value /= total;
  for (std::int64_t item = 0; item < sums_.items(); ++item) {
    const auto count = static_cast<double>(pixels_[static_cast<std::size_t>(item)]);
    const double* const first = sums_.first(item);
    const double* const second = sums_.second(item);
    for (std::size_t c = 0; c < means.size(); ++c) {
      const double apart = first[c] - means[c];
      deviations[c] += second[c] + count * apart * apart;
    }
  }
  for (std::size_t c = 0; c < means.size(); ++c) {
    mean[c] = static_cast<float>(means[c]);
    variance[c] = static_cast<float>(std::max(deviations[c] / total, 0.0));
  }
}

}  // namespace stagewise::cpu
