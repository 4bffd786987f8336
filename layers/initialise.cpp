#include "layers/initialise.h"

#include <cmath>

#include "tensor/enum_names.h"
#include "tensor/random.h"

namespace stagewise {

std::string name_of(BlockInitialiser initialiser) {
  switch (initialiser) {
    case BlockInitialiser::zero_gamma: return "zero-gamma";
    case BlockInitialiser::he: return "he";
    case BlockInitialiser::copy: return "copy";
    case BlockInitialiser::copy_zero: return "copy-zero";
    case BlockInitialiser::gaussian_bn: return "gaussian-bn";
  }
  return "?";
}

BlockInitialiser block_initialiser_from(const std::string& name) {
  return enum_from_name("initialiser", name,
                        {BlockInitialiser::zero_gamma, BlockInitialiser::he, BlockInitialiser::copy,
                         BlockInitialiser::copy_zero, BlockInitialiser::gaussian_bn});
}

Tensor Initialiser::drawn(const std::string& name, const Shape& shape, DrawNumbers::Distribution distribution,
                          double scale) const {
  const Tensor tensor(*backend_, shape, dtype_);
  backend_->draw_numbers(
      {.out = tensor, .distribution = distribution, .scale = scale, .seed = seed_, .stream = stream_of(name.c_str())});
  return tensor;
}

Tensor Initialiser::he_normal(const std::string& name, const Shape& filter) const {
  return normal(name, filter, std::sqrt(2.0 / static_cast<double>(filter[0] * filter[1] * filter[2])));
}

Tensor Initialiser::normal(const std::string& name, const Shape& shape, double deviation) const {
  return drawn(name, shape, DrawNumbers::Distribution::normal, deviation);
}

Tensor Initialiser::uniform(const std::string& name, const Shape& shape, double bound) const {
  return drawn(name, shape, DrawNumbers::Distribution::uniform, bound);
}

Tensor Initialiser::full(const Shape& shape, double value) const {
  return Tensor::full(*backend_, shape, value, dtype_);
}

}  // namespace stagewise
