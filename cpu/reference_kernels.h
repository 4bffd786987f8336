// What the reference backend is made of: one plain function a primitive of tensor/backend.h, in the reference_*.cpp
// files.
#pragma once

#include "tensor/backend.h"

namespace stagewise::reference {

/// Calls `body` with a value of the floating-point element type of `tensor`: `[&]<class T>(T) {...}`.
template <class Body>
void with_element_type(const Tensor& tensor, Body&& body) {
  if (tensor.dtype() == DType::float64) {
    body(double());
  } else {
    body(float());
  }
}

/// max(x, 0); a NaN stays one.
template <class T>
T relu(T x) {
  return x < 0 ? T(0) : x;
}

// Each computes the primitive of the same name in tensor/backend.h.
void add(const Tensor& a, const Tensor& b, const Tensor& out);
void relu_forward(const Tensor& x, const Tensor& y);
void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx);

void convolution_forward(const ConvolutionForward& call);
void convolution_backward_data(const ConvolutionBackwardData& call);
void convolution_backward_weights(const ConvolutionBackwardWeights& call);

void batch_norm_moments(const BatchNormMoments& call);
void batch_norm_prepare(const BatchNormPrepare& call);
void batch_norm_forward(const BatchNormForward& call);
void batch_norm_backward_reduce(const BatchNormBackwardReduce& call);
void batch_norm_backward_data(const BatchNormBackwardData& call);

void linear_forward(const LinearForward& call);
void linear_backward(const LinearBackward& call);
void average_pool_forward(const AveragePool& call);
void average_pool_backward(const AveragePool& call);

void max_pool_forward(const MaxPoolForward& call);
void max_pool_backward(const MaxPoolBackward& call);
void padded_shortcut_forward(const PaddedShortcut& call);
void padded_shortcut_backward(const PaddedShortcut& call);

void softmax(const Tensor& logits, const Tensor& probabilities);
void softmax_cross_entropy(const SoftmaxCrossEntropy& call);
void sgd_step(const SgdStep& call);
void adamw_step(const AdamWStep& call);
void average_step(const AverageStep& call);

void augment(const Augment& call);
void accumulate_moments(const AccumulateMoments& call);

}  // namespace stagewise::reference
