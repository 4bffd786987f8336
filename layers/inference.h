// A network that only answers: each batch norm is folded into the convolution before it, so that a residual block is
// two or three convolutions, of which the last adds, ReLUs and writes once. Exports and image gradients walk the same
// list of steps.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "layers/network.h"

namespace stagewise {

/// y = relu?(convolution(x, weight) + bias + addend), with weight = w * scale and bias = shift + (b - mean) * scale of
/// the batch norm behind it.
struct FoldedConvolution {
  Tensor weight, bias;
};

/// Computed in double, stored as the parameters are.
FoldedConvolution fold(const Convolution& convolution, const ConvolutionParameters& parameters);

namespace folded {

/// relu?(convolution(x) + bias + addend).
struct Convolve {
  Convolution convolution;  // the sizes; its name is the step's
  Tensor weight, bias;
  std::optional<std::size_t> addend;  // a value
  bool relu = false;
};
/// relu(x * scale + shift), each channel for itself: the batch norm before a pre-activation block, or at the end.
struct ScaleAndRelu {
  Tensor scale, shift;
};
struct Linear {
  Tensor weight, bias;
};

}  // namespace folded

/// What has no parameters is as the graph has it.
using FoldedOp = std::variant<folded::Convolve, folded::ScaleAndRelu, MaxPoolNode, ShortcutPadding,
                              GlobalAveragePoolNode, folded::Linear>;

/// What one op makes of the value `input`. Value 0 is the images, value i + 1 what step i gives.
struct FoldedStep {
  std::string name;  // of the convolution, of the batch norm, or of the node
  FoldedOp op;
  std::size_t input = 0;
  Shape output;  // of one image
};

/// The steps of `network` as it stands, by its running statistics, in the order in which they run; the last gives the
/// logits. Its own parameters' tensors where nothing is to be folded.
std::vector<FoldedStep> folded_steps(const Network& network);

class InferenceNetwork {
 public:
  /// Of `network` as it stands, by its running statistics; later changes of `network` don't show.
  explicit InferenceNetwork(const Network& network);

  /// Logits [N,classes] of images x [N,H,W,C], stored as float32 or as feature maps may be. Errors: throws Error for
  /// images of another size.
  Tensor logits(const Tensor& x) const;
  /// What the classifier reads of them, [N,C]. Errors: likewise.
  Tensor features(const Tensor& x) const;

 private:
  /// What the first `count` steps come to.
  Tensor after(std::size_t count, const Tensor& x) const;
  Tensor run(std::size_t step, const std::vector<Tensor>& values) const;
  Tensor convolve(std::size_t step, const folded::Convolve& op, const std::vector<Tensor>& values) const;

  Shape image_;
  std::vector<FoldedStep> steps_;
  std::vector<Tensor> prepared_;                     // of the steps that convolve
  std::vector<BatchNormCoefficients> coefficients_;  // of each ScaleAndRelu
  std::vector<bool> left_out_;                       // ScaleAndRelu that convolutions do as they read
  std::vector<std::vector<std::size_t>> done_;       // behind each step: the values that nobody reads any more
};

}  // namespace stagewise
