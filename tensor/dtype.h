// The element types a tensor can hold.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace stagewise {

enum class DType : std::uint8_t { uint8, int32, bfloat16, float32, float64 };

/// The upper half of a float: its range, and 8 bits of precision. A format to store in, not to compute in.
struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  /// Rounds to nearest, ties to even; a NaN stays one.
  explicit BFloat16(float value) {
    const auto whole = std::bit_cast<std::uint32_t>(value);
    bits = static_cast<std::uint16_t>(value != value ? 0x7fc0 : (whole + 0x7fff + (whole >> 16 & 1)) >> 16);
  }
  explicit BFloat16(double value) : BFloat16(static_cast<float>(value)) {}
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
  explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::uint8: return 1;
    case DType::bfloat16: return 2;
    case DType::int32:
    case DType::float32: return 4;
    case DType::float64: return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::uint8: return "uint8";
    case DType::int32: return "int32";
    case DType::bfloat16: return "bfloat16";
    case DType::float32: return "float32";
    case DType::float64: return "float64";
  }
  return "?";
}

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::uint8;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::int32;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::bfloat16;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::float32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::float64;
}

/// The type of the parameters that go with feature maps of this type, and of all sums over them: bfloat16 is for
/// feature maps only.
constexpr DType parameter_type(DType feature_map) {
  return feature_map == DType::bfloat16 ? DType::float32 : feature_map;
}

}  // namespace stagewise
