// Where a new backend starts: a primitive that can be made of others is made of them here, and one that can't says that
// the backend lacks it. docs/tensor.md, "A backend in a weekend", says in which order to bring what.
//
// A call with optional fields is taken apart from the outside in: one part is done by itself, and for the rest the
// backend is asked again. So a backend that fuses overrides the primitive, takes the calls that it can do in one go,
// and hands the others to this class, which comes back with less, down to the bare convolution.
#pragma once

#include <string>
#include <vector>

#include "tensor/backend.h"

namespace stagewise {

/// y = convolution(x, weight), or one of its gradients, with nothing fused. Feature maps may be bfloat16, the weight is
/// not.
struct BareConvolution {
  Tensor x;       // [N,H,W,C], out by data
  Tensor weight;  // [K,R,S,C], out by weights
  Tensor y;       // [N,P,Q,K], out in forward
  Conv2dOptions options;
};

class ComposedBackend : public Backend {
 public:
  // Of add_bias and of batch_norm_backward_reduce.
  void add(const Tensor& a, const Tensor& b, const Tensor& out) override;
  void relu_forward(const Tensor& x, const Tensor& y) override;
  void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx) override;

  // Of the bare convolutions, the batch norm's primitives and the parts below.
  std::vector<ConvolutionPlanText> convolution_plan(const Shape& x, const Shape& weight, const Conv2dOptions& options,
                                                    DType maps) override;
  Tensor convolution_prepare(const Shape&, const Tensor&, const Conv2dOptions&) override { return {}; }
  void convolution_forward(const ConvolutionForward& call) override;
  void convolution_backward_data(const ConvolutionBackwardData& call) override;
  void convolution_backward_weights(const ConvolutionBackwardWeights& call) override;

  // Of convolutions: of images of one pixel, with a filter of one.
  void linear_forward(const LinearForward& call) override;
  void linear_backward(const LinearBackward& call) override;

  // Of convolutions: with a filter of one pixel, of ones and zeros.
  void padded_shortcut_forward(const PaddedShortcut& call) override;
  void padded_shortcut_backward(const PaddedShortcut& call) override;

  // Drawn by the host, and copied.
  void draw_numbers(const DrawNumbers& call) override;
  void draw_augmentation(const DrawAugmentation& call) override;

  // Made of nothing else.
  void batch_norm_moments(const BatchNormMoments&) override { lacks("batch_norm_moments"); }
  void batch_norm_prepare(const BatchNormPrepare&) override { lacks("batch_norm_prepare"); }
  void batch_norm_forward(const BatchNormForward&) override { lacks("batch_norm_forward"); }
  void batch_norm_backward_reduce(const BatchNormBackwardReduce&) override { lacks("batch_norm_backward_reduce"); }
  void batch_norm_backward_data(const BatchNormBackwardData&) override { lacks("batch_norm_backward_data"); }
  void average_pool_forward(const AveragePool&) override { lacks("average_pool_forward"); }
  void average_pool_backward(const AveragePool&) override { lacks("average_pool_backward"); }
  void max_pool_forward(const MaxPoolForward&) override { lacks("max_pool_forward"); }
  void max_pool_backward(const MaxPoolBackward&) override { lacks("max_pool_backward"); }
  void softmax(const Tensor&, const Tensor&) override { lacks("softmax"); }
  void softmax_cross_entropy(const SoftmaxCrossEntropy&) override { lacks("softmax_cross_entropy"); }
  void sgd_step(const SgdStep&) override { lacks("sgd_step"); }
  void adamw_step(const AdamWStep&) override { lacks("adamw_step"); }
  void average_step(const AverageStep&) override { lacks("average_step"); }
  void augment(const Augment&) override { lacks("augment"); }
  void accumulate_moments(const AccumulateMoments&) override { lacks("accumulate_moments"); }

 protected:
  virtual void bare_convolution_forward(const BareConvolution&) { lacks("bare_convolution_forward"); }
  virtual void bare_convolution_backward_data(const BareConvolution&) { lacks("bare_convolution_backward_data"); }
  virtual void bare_convolution_backward_weights(const BareConvolution&) { lacks("bare_convolution_backward_weights"); }

  // Parts of the convolutions that are special cases of the batch norm's primitives. A backend overrides them where it
  // does them with less memory or work.

  /// y = relu?(x + bias + addend). x, addend and y are [N,H,W,C] and may be one; bias [C] and addend are optional.
  virtual void add_bias(const Tensor& x, const Tensor& bias, const Tensor& addend, bool relu, const Tensor& y);
  /// sums[c] = sum of x [N,H,W,C] over N, H and W.
  virtual void channel_sums(const Tensor& x, const Tensor& sums);
  /// batch_norm_backward_reduce where the ReLU's output was not stored: dz = dy where batch_norm(x) > 0. Without y.
  virtual void batch_norm_backward_reduce_normalised(const BatchNormBackwardReduce& call);

  /// Throws Error: [backend] `tiny` lacks softmax.
  [[noreturn]] void lacks(const char* primitive) const { fail("[backend] `", name(), "` lacks ", primitive); }

 private:
  Tensor normalised(const Tensor& x, const BatchNormCoefficients& coefficients);
  Tensor result_beside(const Tensor& input, const Tensor& output);
};

}  // namespace stagewise
