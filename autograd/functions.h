// The differentiable ops. Each checks shapes and types (Error: `[op] expected ..., got ...`), computes its result on
// the inputs' backend and, where the context has a tape and an input requires a gradient, records its backward.
#pragma once

#include <vector>

#include "autograd/tape.h"
#include "tensor/backend.h"

namespace stagewise {

/// a + b, of one shape.
Variable add(const Context& context, const Variable& a, const Variable& b);

/// max(x, 0).
Variable relu(const Context& context, const Variable& x);

/// Cross-correlation of x [N,H,W,C] with weight [K,R,S,C], plus bias [K] (may be undefined): [N,P,Q,K] with
/// P = options.output_size(H, R) and Q = options.output_size(W, S). `prepared` is what Backend::prepare_filters has made of
/// the weight, or undefined; the weight must not change before the way back.
Variable conv2d(const Context& context, const Variable& x, const Variable& weight, const Variable& bias,
                const Conv2dOptions& options, const Tensor& prepared = {});

/// The parameters and state of one batch norm (Ioffe and Szegedy 2015), all [C].
struct BatchNormParameters {
  Variable weight, bias;
  Tensor running_mean, running_variance;
  double epsilon = 1e-5;
  double momentum = 0.1;  // the share of the batch in the running statistics' update
};

/// relu?(batch_norm(x) + addend), x [N,H,W,C]; addend may be undefined. In training by the batch's own statistics over
/// N, H and W, which update the running ones; else by the running ones, and then no tape is allowed (Error).
Variable batch_norm(const Context& context, const Variable& x, const BatchNormParameters& parameters,
                    bool with_relu = false, const Variable& addend = {});

/// x [N,C] times weight [K,C] transposed, plus bias [K] (may be undefined): [N,K].
Variable linear(const Context& context, const Variable& x, const Variable& weight, const Variable& bias);

/// Means over windows of height x width pixels that don't overlap: [N,H/height,W/width,C].
Variable average_pool(const Context& context, const Variable& x, std::int64_t height, std::int64_t width);

/// Means over all pixels: [N,C].
Variable global_average_pool(const Context& context, const Variable& x);

/// Maxima over windows of window x window pixels, which may overlap; padding never wins: [N,P,Q,C] with P =
/// options.output_size(H, window). Of equals the first gets the gradient.
Variable max_pool(const Context& context, const Variable& x, std::int64_t window, const Conv2dOptions& options);

/// Every `stride`-th pixel of x, with `zeros_before` channels of zeros before and as many behind as `channels` in all
/// leave (He et al. 2016, option A): [N,ceil(H/stride),ceil(W/stride),channels].
Variable padded_shortcut(const Context& context, const Variable& x, std::int64_t stride, std::int64_t zeros_before,
                         std::int64_t channels);

/// Mean cross-entropy [1] of logits [N,K] against int32 labels [N], the targets smoothed (Szegedy et al. 2016): the
/// last op before Tape::backward. `totals` (float64 [2], may be undefined) adds up the images' losses and right
/// answers.
Variable softmax_cross_entropy(const Context& context, const Variable& logits, const Tensor& labels,
                               double smoothing = 0.0, const Tensor& totals = {});

/// A convolution and the batch norm behind it. An undefined `batch_norm.weight` means there is none.
struct ConvolutionParameters {
  Variable weight, bias;  // bias may be undefined
  Conv2dOptions options;
  BatchNormParameters batch_norm;
  Tensor prepared = {};  // as conv2d's, for one pass
};

/// What the skip of option A does; a stride of 0 means that there is none.
struct PaddingParameters {
  std::int64_t stride = 0, zeros_before = 0, channels = 0;
};

/// The parameters of a residual block (He et al. 2016). An undefined `projection.weight` means that the skip is the
/// identity, or padding where there is some; an undefined `conv3.weight`, that the block has two convolutions. With a
/// defined `pre_activation.weight` the batch norm before the first convolution is that, those of `conv1` (and `conv2` of
/// three) stand before the next one, and neither the last convolution nor the projection has any.
struct ResidualBlockParameters {
  ConvolutionParameters conv1, conv2, projection = {};
  ConvolutionParameters conv3 = {};
  PaddingParameters padding = {};
  BatchNormParameters pre_activation = {};

  bool projects() const { return projection.weight.defined(); }
  bool pads() const { return padding.stride > 0; }
  /// The two or three convolutions, in the order in which they run.
  std::vector<const ConvolutionParameters*> branch() const;
};

/// relu(bn2(conv2(relu(bn1(conv1(x))))) + skip(x)), skip = identity, projection or padding; with three convolutions
/// likewise; without the last ReLU when `with_relu` is false (evaluation only: importance looks at the sum). One native
/// op: the normalised activations between the convolutions are never stored, and the batch norms' statistics and
/// backward ride on the convolutions' passes.
Variable residual_block(const Context& context, const Variable& x, const ResidualBlockParameters& parameters,
                        bool with_relu = true);

/// conv2(relu(bn1(conv1(a)))) + skip, a = relu(pre_activation(x)); skip = x, padding of x, or the projection of a. One
/// native op, likewise; the moments of the sum are gathered as it is written, for the batch norm that comes next.
Variable pre_activation_block(const Context& context, const Variable& x, const ResidualBlockParameters& parameters);

}  // namespace stagewise
