// Sums over pixels that work items gather side by side, to be added in a fixed order.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "tensor/backend.h"

namespace stagewise::cpu {

ChannelCoefficients pointers(const BatchNormCoefficients& coefficients);

/// What a batch norm's backward multiplies with: dx = a * dz + b * (x - mean) + c, each [C].
struct BatchNormBackwardFactors {
  std::vector<float> a, b, c;
  BatchNormBackwardFactors(const BatchNormCoefficients& coefficients, const BatchNormGradients& gradients,
                           std::int64_t pixels);
};

/// Two sums for each channel and work item.
class PartialSums {
 public:
  PartialSums(std::int64_t items, std::int64_t channels)
      : items_(items), channels_(channels), values_(static_cast<std::size_t>(items * channels * 2)) {}
  double* first(std::int64_t item) { return values_.data() + item * channels_ * 2; }
  double* second(std::int64_t item) { return first(item) + channels_; }
  std::int64_t items() const { return items_; }

  /// The items' sums added: first to `weight`, second to `bias`.
  void combine(const BatchNormGradients& gradients);

 private:
  std::int64_t items_, channels_;
  std::vector<double> values_;
};

/// Each item's sums of (x - pivot) and of its square, the pivot being the item's first pixel.
class PartialMoments {
 public:
  PartialMoments(std::int64_t items, std::int64_t channels)
      : sums_(items, channels),
        channels_(channels),
        pivots_(static_cast<std::size_t>(items * channels)),
        pixels_(static_cast<std::size_t>(items)) {}

  /// Adds pixels [pixels, channels] to an item's sums.
  void add(const Kernels& kernels, std::int64_t item, Elements x, std::int64_t pixels);
  /// The mean and the biased variance of all (Chan, Golub, LeVeque 1983).
  void combine(float* mean, float* variance);

 private:
  PartialSums sums_;
  std::int64_t channels_;
  std::vector<float> pivots_;
  std::vector<std::int64_t> pixels_;
};

}  // namespace stagewise::cpu
