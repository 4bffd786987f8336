// Our kernels' launchers: one plain function a primitive of tensor/backend.h, or a part of one, in the .cu files. Each
// queues its work on `stream` and returns at once; scratch memory goes back to the allocator right behind the launch,
// which is sound as long as all work of a backend runs on one stream. Feature maps are float32 or bfloat16, everything
// else is float32 unless said otherwise; all sums are taken in float32. Every result is the same bit for bit, run after
// run: no kernel adds by atomics.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/composed_backend.h"

namespace stagewise::cuda {

// element_wise.cu
void add(const Tensor& a, const Tensor& b, const Tensor& out, cudaStream_t stream);
void relu_forward(const Tensor& x, const Tensor& y, cudaStream_t stream);
void relu_backward(const Tensor& dy, const Tensor& y, const Tensor& dx, cudaStream_t stream);
/// Any element type; `value` is rounded to it.
void fill(const Tensor& tensor, double value, cudaStream_t stream);
/// From float32 to bfloat16 or back, rounding to nearest even.
void cast(const Tensor& from, const Tensor& to, cudaStream_t stream);
/// y = relu?(x + bias + addend): what follows a convolution. x, addend and y are [N,H,W,C] and may be one; bias [C] and
/// addend are optional.
void add_bias(const Tensor& x, const Tensor& bias, const Tensor& addend, bool relu, const Tensor& y,
              cudaStream_t stream);

// batch_norm.cu
void batch_norm_forward(const BatchNormForward& call, cudaStream_t stream);
void batch_norm_backward_data(const BatchNormBackwardData& call, cudaStream_t stream);

// batch_norm_reduce.cu
void batch_norm_moments(const BatchNormMoments& call, cudaStream_t stream);
void batch_norm_prepare(const BatchNormPrepare& call, cudaStream_t stream);
void batch_norm_backward_reduce(const BatchNormBackwardReduce& call, cudaStream_t stream);
/// The same where no output of the ReLU was stored: dz = dy where batch_norm(x) > 0.
void batch_norm_backward_reduce_normalised(const BatchNormBackwardReduce& call, cudaStream_t stream);
/// sums[c] = sum of x [N,H,W,C] over N, H and W: a bias's gradient.
void channel_sums(const Tensor& x, const Tensor& sums, cudaStream_t stream);

// convolution_direct.cu
void convolution_direct_forward(const BareConvolution& call, cudaStream_t stream);
void convolution_direct_backward_data(const BareConvolution& call, cudaStream_t stream);
void convolution_direct_backward_weights(const BareConvolution& call, cudaStream_t stream);

// filters.cu
/// Filters of float32 in bfloat16, rounded to nearest even.
std::vector<Tensor> round_filters(std::span<const Tensor> filters, cudaStream_t stream);

// linear.cu
void linear_forward(const LinearForward& call, cudaStream_t stream);
void linear_backward(const LinearBackward& call, cudaStream_t stream);

// pooling.cu
void average_pool_forward(const AveragePool& call, cudaStream_t stream);
void average_pool_backward(const AveragePool& call, cudaStream_t stream);

// max_pooling.cu
void max_pool_forward(const MaxPoolForward& call, cudaStream_t stream);
void max_pool_backward(const MaxPoolBackward& call, cudaStream_t stream);
void padded_shortcut_forward(const PaddedShortcut& call, cudaStream_t stream);
void padded_shortcut_backward(const PaddedShortcut& call, cudaStream_t stream);

// softmax_cross_entropy.cu
void softmax(const Tensor& logits, const Tensor& probabilities, cudaStream_t stream);
void softmax_cross_entropy(const SoftmaxCrossEntropy& call, cudaStream_t stream);

// sgd.cu
void sgd_step(const SgdStep& call, cudaStream_t stream);

// adamw.cu
void adamw_step(const AdamWStep& call, cudaStream_t stream);

// weight_average.cu
void average_step(const AverageStep& call, cudaStream_t stream);

// random.cu: computed in double, so that the numbers are the host's to the bit.
void draw_numbers(const DrawNumbers& call, cudaStream_t stream);
void draw_augmentation(const DrawAugmentation& call, cudaStream_t stream);

// augment.cu
void augment(const Augment& call, cudaStream_t stream);

// moments.cu: double, by the contract of the seam.
void accumulate_moments(const AccumulateMoments& call, cudaStream_t stream);
/// loss [1] = the mean of the images' losses [N]; totals (float64 [2], optional) += their sum and the number of `right`
/// (int32 [N]) that are 1.
void reduce_losses(const Tensor& losses, const Tensor& right, const Tensor& loss, const Tensor& totals,
                   cudaStream_t stream);

}  // namespace stagewise::cuda
