// A network that only answers: each batch norm is folded into the convolution before it, so that a residual block is
// two convolutions that add, ReLU and write once.
#pragma once

#include <optional>
#include <vector>

#include "layers/resnet.h"

namespace stagewise {

class InferenceNetwork {
 public:
  /// Of `network` as it stands, by its running statistics; later changes of `network` don't show.
  explicit InferenceNetwork(const ResNet& network);

  /// Logits [N,classes] of images x [N,H,W,C], stored as float32 or as feature maps may be. Errors: throws Error for
  /// images of another size.
  Tensor logits(const Tensor& x) const;

 private:
  /// y = relu?(convolution(x, weight) + bias + addend), with weight = w * scale and bias = shift + (b - mean) * scale
  /// of the batch norm behind it.
  struct Convolution {
    Tensor weight, bias, prepared;
    Conv2dOptions options;
  };
  struct Block {
    Convolution conv1, conv2;
    std::optional<Convolution> projection;
  };
  static Convolution fold(const ConvolutionParameters& parameters, const Shape& image);
  static Tensor convolve(const Convolution& convolution, const Tensor& x, const Tensor& addend, bool relu);

  Shape image_;  // [1,H,W,C]
  Convolution stem_;
  std::vector<Block> blocks_;
  Variable classifier_weight_, classifier_bias_;
};

}  // namespace stagewise
