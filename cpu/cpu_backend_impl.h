// The CPU backend's class; its primitives are in one file a family.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cpu/convolution_plan.h"
#include "cpu/host_backend.h"
#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace stagewise::cpu {

class CpuBackend : public HostBackend {
 public:
  CpuBackend(std::string instruction_set, const Kernels& kernels, int threads, bool guarded);

  std::string name() const override { return "cpu"; }
  std::string description() const override;
  bool supports(DType dtype) const override { return dtype == DType::float32; }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void relu_forward(const Tensor& x, const Tensor& y) override;
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override;

  void convolution_forward(const ConvolutionForward& call) override;
  void convolution_backward_data(const ConvolutionBackwardData& call) override;
  void convolution_backward_weights(const ConvolutionBackwardWeights& call) override;

  void batch_norm_moments(const Tensor& x, const Tensor& mean, const Tensor& variance) override;
  void batch_norm_prepare(const BatchNormPrepare& call) override;
  void batch_norm_forward(const BatchNormForward& call) override;
  void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) override;
  void batch_norm_backward_data(const BatchNormBackwardData& call) override;

  void linear_forward(const LinearForward& call) override;
  void linear_backward(const LinearBackward& call) override;
  void average_pool_forward(const AveragePool& call) override;
  void average_pool_backward(const AveragePool& call) override;

  void softmax(const Tensor& logits, const Tensor& probabilities) override;
  void softmax_cross_entropy(const SoftmaxCrossEntropy& call) override;
  void sgd_step(const SgdStep& call) override;

  void augment(const Augment& call) override;
  void accumulate_moments(const AccumulateMoments& call) override;

 private:
  /// What happens to a group of finished output rows while they are in L1.
  struct Epilogue;
  const ConvolutionPlan& plan(const ConvolutionShape& shape, bool by_data);
  void run_convolution(const ConvolutionPlan& plan, const ConvolutionShape& shape, const float* input,
                       const ChannelCoefficients* normalise, const float* weight, const float* bias,
                       const float* addend, float* output, const Epilogue& epilogue);

  const std::string instruction_set_;
  const Kernels& kernels_;
  ThreadPool pool_;
  std::mutex plans_mutex_;
  std::map<std::array<std::int64_t, 12>, ConvolutionPlan> plans_;
};

ChannelCoefficients pointers(const BatchNormCoefficients& coefficients);

/// What a batch norm's backward multiplies with: dx = a * dz + b * (x - mean) + c, each [C].
struct BatchNormBackwardFactors {
  std::vector<float> a, b, c;
  BatchNormBackwardFactors(const BatchNormCoefficients& coefficients, const BatchNormGradients& gradients,
                           std::int64_t pixels);
};

/// Sums for each channel, one row for each work item, so that they can be added in a fixed order.
class PartialSums {
 public:
  PartialSums(std::int64_t items, std::int64_t channels)
      : channels_(channels), values_(static_cast<std::size_t>(items * channels * 2)) {}
  double* first(std::int64_t item) { return values_.data() + item * channels_ * 2; }
  double* second(std::int64_t item) { return first(item) + channels_; }

 private:
  std::int64_t channels_;
  std::vector<double> values_;
};

/// Turns items' sums of (x - pivot) and of its square into means and squared deviations, and those into the mean and
/// the biased variance of all (Chan, Golub, LeVeque 1983). Item i has `pixels[i]` pixels and the pivot at `pivots[i]`.
void combine_moments(PartialSums& sums, const std::vector<std::int64_t>& pixels,
                     const std::vector<const float*>& pivots, std::int64_t channels, float* mean, float* variance);
/// Adds the items' sums: first to `weight`, second to `bias`.
void combine_gradients(PartialSums& sums, std::int64_t items, std::int64_t channels,
                       const BatchNormGradients& gradients);

}  // namespace stagewise::cpu
