// The sizes of a tensor, outermost first. Images are NHWC, filters KRSC.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

namespace stagewise {

/// Up to four sizes. Errors: throws Error for more than four or for a negative size.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return sizes_[axis]; }
  std::int64_t back() const { return rank_ == 0 ? 1 : sizes_[rank_ - 1]; }
  /// The number of elements: the product of the sizes, 1 for rank 0.
  std::int64_t count() const;
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

/// Writes `[128,32,32,16]`.
std::ostream& operator<<(std::ostream& out, const Shape& shape);

}  // namespace stagewise
