// A network that only answers: each batch norm is folded into the convolution before it, so that a residual block is
// two convolutions that add, ReLU and write once.
#pragma once

#include <map>
#include <string>

#include "layers/network.h"

namespace stagewise {

/// y = relu?(convolution(x, weight) + bias + addend), with weight = w * scale and bias = shift + (b - mean) * scale of
/// the batch norm behind it.
struct FoldedConvolution {
  Tensor weight, bias;
};

/// Computed in double, stored as the parameters are.
FoldedConvolution fold(const Convolution& convolution, const ConvolutionParameters& parameters);

class InferenceNetwork {
 public:
  /// Of `network` as it stands, by its running statistics; later changes of `network` don't show.
  explicit InferenceNetwork(const Network& network);

  /// Logits [N,classes] of images x [N,H,W,C], stored as float32 or as feature maps may be. Errors: throws Error for
  /// images of another size.
  Tensor logits(const Tensor& x) const;

 private:
  struct Ready {
    FoldedConvolution folded;
    Tensor prepared;
  };
  Tensor convolve(const Convolution& convolution, const Tensor& x, const Tensor& addend, bool relu) const;
  Tensor run(const Node& node, const Tensor& x) const;

  Graph graph_;
  std::map<std::string, Ready> convolutions_;
  Tensor classifier_weight_, classifier_bias_;
};

}  // namespace stagewise
