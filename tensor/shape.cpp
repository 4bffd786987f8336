#include "tensor/shape.h"

#include "tensor/error.h"

namespace stagewise {

Shape::Shape(std::span<const std::int64_t> sizes) {
  require(sizes.size() <= kMaxRank, "[shape] expected at most ", kMaxRank, " sizes, got ", sizes.size());
  for (const std::int64_t size : sizes) {
    require(size >= 0, "[shape] expected sizes of at least 0, got ", size);
    sizes_[rank_++] = size;
  }
}

std::int64_t Shape::count() const {
  std::int64_t count = 1;
  for (int axis = 0; axis < rank_; ++axis) {
    require(!__builtin_mul_overflow(count, sizes_[axis], &count), "[shape] ", *this, " has more than 2^63 elements");
  }
  return count;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int axis = 0; axis < shape.rank(); ++axis) out << (axis ? "," : "") << shape[axis];
  return out << ']';
}

}  // namespace stagewise
