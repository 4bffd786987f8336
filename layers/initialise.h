// How parameters start. A tensor's draws depend only on the seed and the tensor's name: not on what else the network
// has, the order of construction, or the device that draws them.
#pragma once

#include <cstdint>
#include <string>

#include "autograd/functions.h"

namespace stagewise {

/// How an inserted block starts.
///  zero_gamma   He filters; the last batch norm's weight and bias are 0: the block is the identity, to the bit, because
///               its input has been through a ReLU. Of pre-activation, where nothing would ever learn from there, the
///               last filter is 0 in its place.
///  he           like a block of a new network.
///  copy         the parameters and running statistics of the block before it (as `he` where that one has other shapes).
///  copy_zero    as `copy`, but closed like `zero_gamma`: the identity, with trained features.
///  gaussian_bn  AutoGrow's: He filters; the last batch norm's weight and bias drawn from a standard normal (Wen, Yan,
///               Chen, Li, KDD 2020).
enum class BlockInitialiser { zero_gamma, he, copy, copy_zero, gaussian_bn };

std::string name_of(BlockInitialiser initialiser);
/// `zero-gamma`, `he`, `copy`, `copy-zero` or `gaussian-bn`. Errors: throws Error for any other name.
BlockInitialiser block_initialiser_from(const std::string& name);

/// Draws the numbers that tensors start with.
class Initialiser {
 public:
  Initialiser(Backend& backend, DType dtype, std::uint64_t seed) : backend_(&backend), dtype_(dtype), seed_(seed) {}

  /// A filter [K,R,S,C], normal with deviation sqrt(2 / (K R S)) (He et al. 2015, fan-out: keeps the gradients' scale).
  Tensor he_normal(const std::string& name, const Shape& filter) const;
  /// Normal with the given deviation.
  Tensor normal(const std::string& name, const Shape& shape, double deviation = 1.0) const;
  /// Uniform in [-bound, bound).
  Tensor uniform(const std::string& name, const Shape& shape, double bound) const;
  Tensor full(const Shape& shape, double value) const;

 private:
  Tensor drawn(const std::string& name, const Shape& shape, DrawNumbers::Distribution distribution, double scale) const;

  Backend* backend_;
  DType dtype_;
  std::uint64_t seed_;
};

}  // namespace stagewise
