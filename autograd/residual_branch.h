// What the native residual blocks share: the convolutions of a block one behind the other, each of which normalises as it
// reads, gathers its output's moments as it writes, and does as much on the way back.
#pragma once

#include <vector>

#include "autograd/op.h"

namespace stagewise {

/// A convolution's output, and what the batch norm behind it will do to it (undefined where there is none).
struct Normalised {
  Tensor y;
  BatchNormCoefficients batch_norm;
};

inline bool has_batch_norm(const ConvolutionParameters& parameters) { return parameters.batch_norm.weight.defined(); }

/// Whether an op with such parameters goes on the tape.
bool records(const Context& context, const ConvolutionParameters& parameters);
bool records(const Context& context, const ResidualBlockParameters& parameters);

/// Checks the convolutions of a block, each against what the one before it gives, its skip, and that both give the same
/// shape, which is returned.
Shape check_block(const char* op, const Context& context, const Variable& x, const ResidualBlockParameters& parameters);

/// y = convolution(x or relu(normalise(x))) + addend (may be undefined), and the coefficients of the batch norm behind
/// it. With `sums`, of a convolution without one: where y's moments go, in training.
Normalised convolve(const Context& context, const Tensor& x, const ConvolutionParameters& parameters,
                    const BatchNormCoefficients& normalise, const Tensor& addend = {}, ChannelMoments* sums = nullptr);

/// The gradients of one convolution's filters and bias, handed to them. With a batch norm behind it, `dy` is the
/// gradient of the batch norm's output, and the gradient of the convolution's own output goes to `dy_out`.
void backward_weights(const ConvolutionParameters& parameters, const Tensor& x, const BatchNormCoefficients& normalise,
                      const Tensor& dy, const Normalised& output, const BatchNormGradients& gradients,
                      const Tensor& dy_out);

ConvolutionBackwardData backward_data(const ConvolutionParameters& parameters, const Tensor& dy, const Tensor& addend,
                                      const Tensor& dx);

/// From `dz`, the gradient of what the last convolution gives (behind its batch norm, if it has one, whose `gradients`
/// are known), through all of them, whose outputs are `outputs`; the first read x or relu(normalise(x)). Hands the
/// parameters their gradients, and returns the gradient of the first convolution's output. dz stays as it is.
Tensor backward_branch(const std::vector<const ConvolutionParameters*>& branch, const std::vector<Normalised>& outputs,
                       const Tensor& x, const BatchNormCoefficients& normalise, const Tensor& dz,
                       BatchNormGradients gradients);

}  // namespace stagewise
