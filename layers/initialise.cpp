#include "layers/initialise.h"

#include <cmath>

#include "tensor/random.h"

namespace stagewise {

template <class Draw>
Tensor Initialiser::drawn(const std::string& name, const Shape& shape, Draw draw) const {
  const Random random(seed_, stream_of(name.c_str()));
  std::vector<double> values(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = draw(random, i);
  return Tensor::from_doubles(*backend_, shape, values, dtype_);
}

Tensor Initialiser::he_normal(const std::string& name, const Shape& filter) const {
  return normal(name, filter, std::sqrt(2.0 / static_cast<double>(filter[0] * filter[1] * filter[2])));
}

Tensor Initialiser::normal(const std::string& name, const Shape& shape, double deviation) const {
  return drawn(name, shape, [&](const Random& random, std::uint64_t i) { return deviation * random.normal(i); });
}

Tensor Initialiser::uniform(const std::string& name, const Shape& shape, double bound) const {
  return drawn(name, shape,
               [&](const Random& random, std::uint64_t i) { return bound * (2.0 * random.uniform(i) - 1.0); });
}

Tensor Initialiser::full(const Shape& shape, double value) const {
  return Tensor::full(*backend_, shape, value, dtype_);
}

}  // namespace stagewise
