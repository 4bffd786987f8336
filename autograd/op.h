// What the ops share: how they check what comes in, and how they put themselves on the tape.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>

#include "autograd/functions.h"

namespace stagewise {

/// One size of an expected shape: a number, or a letter for any size of at least 1.
struct ExpectedSize {
  ExpectedSize(const char* any) : letter(any) {}
  ExpectedSize(std::int64_t exactly) : size(exactly) {}
  const char* letter = nullptr;
  std::int64_t size = 0;
};

/// Errors: throws Error `[op] expected what [N,H,W,16], got ...` when `tensor` is undefined or of another shape.
void expect_shape(const char* op, const char* what, const Tensor& tensor, std::initializer_list<ExpectedSize> expected);

/// Errors: throws Error when `tensor` is undefined or of a type that its backend doesn't compute with.
void expect_computable(const char* op, const char* what, const Tensor& tensor);

/// Both: for the input that sets the op's type and backend.
void expect_input(const char* op, const char* what, const Variable& variable,
                  std::initializer_list<ExpectedSize> expected);

/// The shape, and the type and the backend of `input`.
void expect_like(const char* op, const char* what, const Tensor& tensor, std::initializer_list<ExpectedSize> expected,
                 const Tensor& input);

/// The same, for a parameter: of float32 beside feature maps stored in bfloat16.
void expect_parameter(const char* op, const char* what, const Tensor& tensor,
                      std::initializer_list<ExpectedSize> expected, const Tensor& input);

/// The value of a variable, or an undefined tensor.
inline Tensor value_or_none(const Variable& variable) { return variable.defined() ? variable.value() : Tensor(); }

/// Uninitialised, with the shape, type and backend of `tensor`.
inline Tensor empty_like(const Tensor& tensor) { return Tensor(tensor.backend(), tensor.shape(), tensor.dtype()); }

/// Whether an op with these inputs goes on the tape.
template <class... Variables>
bool records(const Context& context, const Variables&... inputs) {
  return context.tape != nullptr && (inputs.requires_grad() || ...);
}

/// Hands a gradient to an input that wants one.
inline void give(const Variable& input, Tensor gradient) {
  if (input.requires_grad()) input.accumulate_grad(std::move(gradient));
}

/// Records `backward(dy)`, dy the gradient of `output`, which is the backward's own to overwrite. An output that the
/// loss doesn't depend on has none, and nothing is to do.
template <class Backward>
void record(const Context& context, const char* op, const Variable& output, Backward backward) {
  context.tape->record(op, [output, backward = std::move(backward)] {
    if (Tensor dy = output.take_grad(); dy.defined()) backward(std::move(dy));
  });
}

/// Checks a convolution's parameters against its input, of shape `image` and with the type and backend of `like`, and
/// returns the shape of its output.
Shape check_convolution(const char* op, const Tensor& like, const Shape& image, const Variable& weight,
                        const Variable& bias, const Conv2dOptions& options);

/// Checks a batch norm's parameters against its input, likewise, and that it may run in this context.
void check_batch_norm(const char* op, const Context& context, const Tensor& like, const Shape& image,
                      const BatchNormParameters& parameters);

/// The preparation of a batch norm, yet to be done: in training from the moments `mean` and `variance` over `pixels` values
/// a channel, which update the running ones; in evaluation from the running ones.
BatchNormPrepare batch_norm_preparation(const Context& context, const BatchNormParameters& parameters,
                                        const Tensor& mean, const Tensor& variance, std::int64_t pixels);

/// What the batch norm then does to its input.
inline BatchNormCoefficients batch_norm_coefficients(const BatchNormPrepare& prepared,
                                                     const BatchNormParameters& parameters) {
  return {prepared.mean, prepared.inverse_deviation, prepared.scale, parameters.bias.value()};
}

/// What a batch norm does to its input x: in training by the moments that came with it, or by those computed now.
BatchNormCoefficients batch_norm_coefficients_of(const Context& context, const BatchNormParameters& parameters,
                                                 const Variable& x);

/// Checks a shortcut of padding, and returns the shape of its output.
Shape check_padding(const char* op, const Shape& image, const PaddingParameters& padding);

/// The skip of option A, forward, and the gradient of its input.
Tensor padded(const Tensor& x, const PaddingParameters& padding);
Tensor padded_backward(const Tensor& dy, const Tensor& x, const PaddingParameters& padding);

/// Uninitialised gradients of a batch norm's weight and bias.
BatchNormGradients empty_gradients(const BatchNormCoefficients& coefficients);

/// Runs the pass that computes the gradient of x, or the last of those that do, and hands the gradient over. What x's
/// origin would do with it is done as the pass writes.
void backward_data_of(const Variable& x, ConvolutionBackwardData pass);

/// The gradients of a batch norm from the gradient of `output` = relu?(batch_norm(y) + more), which becomes the
/// gradient of the sum where the output has an origin, a ReLU. What was done ahead is not done again.
BatchNormGradients backward_batch_norm(const Variable& output, const Tensor& y,
                                       const BatchNormCoefficients& coefficients, const Tensor& gradient);

}  // namespace stagewise
