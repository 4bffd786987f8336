// The CPU backend's class; its primitives are in one file a family.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "cpu/convolution_plan.h"
#include "cpu/convolution_run.h"
#include "cpu/host_backend.h"
#include "cpu/kernels/kernels.h"
#include "cpu/parallel.h"

namespace stagewise::cpu {

class CpuBackend : public HostBackend {
 public:
  CpuBackend(std::string instruction_set, const Kernels& kernels, int threads, bool strict_convolution, bool guarded);

  std::string name() const override { return "cpu"; }
  std::string description() const override;
  bool supports(DType dtype) const override { return dtype == DType::float32 || dtype == DType::bfloat16; }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void relu_forward(const Tensor& x, const Tensor& y) override;
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override;

  std::vector<ConvolutionPlanText> convolution_plan(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                                    DType maps) override;
  Tensor convolution_prepare(const Shape& x, const Tensor& weight, const Conv2dOptions& options) override;
  void convolution_forward(const ConvolutionForward& call) override;
  void convolution_backward_data(const ConvolutionBackwardData& call) override;
  void convolution_backward_weights(const ConvolutionBackwardWeights& call) override;

  void batch_norm_moments(const BatchNormMoments& call) override;
  void batch_norm_prepare(const BatchNormPrepare& call) override;
  void batch_norm_forward(const BatchNormForward& call) override;
  void batch_norm_backward_reduce(const BatchNormBackwardReduce& call) override;
  void batch_norm_backward_data(const BatchNormBackwardData& call) override;

  void linear_forward(const LinearForward& call) override;
  void linear_backward(const LinearBackward& call) override;
  void average_pool_forward(const AveragePool& call) override;
  void average_pool_backward(const AveragePool& call) override;
  void max_pool_forward(const MaxPoolForward& call) override;
  void max_pool_backward(const MaxPoolBackward& call) override;
  void padded_shortcut_forward(const PaddedShortcut& call) override;
  void padded_shortcut_backward(const PaddedShortcut& call) override;

  void softmax(const Tensor& logits, const Tensor& probabilities) override;
  void softmax_cross_entropy(const SoftmaxCrossEntropy& call) override;
  void sgd_step(const SgdStep& call) override;
  void adamw_step(const AdamWStep& call) override;
  void average_step(const AverageStep& call) override;

  void augment(const Augment& call) override;
  void accumulate_moments(const AccumulateMoments& call) override;

 private:
  const ConvolutionPlan& plan(const ConvolutionShape& shape, bool by_data);
  /// The filter as the plan's kernels read it: packed, and transformed for Winograd.
  Tensor prepare(const ConvolutionPlan& plan, const ConvolutionShape& shape, const float* weight);
  Tensor transform_filter(const ConvolutionPlan& plan, const Tensor& packed);
  void convolve(const ConvolutionPlan& plan, const ConvolutionShape& shape, const ConvolutionRun& run);
  void convolve_direct(const ConvolutionPlan& plan, const ConvolutionShape& shape, const ConvolutionRun& run);
  void convolve_winograd(const ConvolutionPlan& plan, const ConvolutionShape& shape, const ConvolutionRun& run);
  /// Adds the gradient of a filter over units [begin, end) of the plan.
  void direct_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                      float* filter, double* bias);
  void winograd_weights(const WeightsPlan& plan, const WeightsRun& run, std::int64_t begin, std::int64_t end,
                        float* filter, double* bias);
  /// The gradient of a large filter, and the sums of dy, unit by unit.
  void direct_weights_in_parts(const WeightsPlan& plan, const WeightsRun& run, float* filter, PartialSums& bias);
  void winograd_weights_in_parts(const WeightsPlan& plan, const WeightsRun& run, float* filter, PartialSums& bias);

  const std::string instruction_set_;
  const Kernels& kernels_;
  const bool strict_convolution_;
  const int threads_asked_for_;
  ThreadPool pool_;
  std::mutex plans_mutex_;
  std::map<std::array<std::int64_t, 13>, ConvolutionPlan> plans_;
};

}  // namespace stagewise::cpu
