// How parameters start. A tensor's draws depend only on the seed and the tensor's name: not on what else the network
// has, the order of construction, or the device that draws them.
#pragma once

#include <cstdint>
#include <string>

#include "autograd/functions.h"

namespace stagewise {

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
