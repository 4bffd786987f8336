// From random bits to uniform and normal numbers, the same to the bit on every device. A library's log and cos differ
// from another's in the last bit, so what a normal number needs of them is written out here, in operations that all
// machines round alike (IEEE 754): +, -, *, /, square root and fused multiply-add. No product runs into a sum but by an
// explicit fma, so there is nothing for a compiler to fuse or not to. The relative error of a normal number is below
// 1e-15 (tests/tensor_test.cpp).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>

// nvcc compiles these for the device too (cuda/random.cu); other compilers don't know the words.
#ifdef __CUDACC__
#define STAGEWISE_HOST_DEVICE __host__ __device__
#else
#define STAGEWISE_HOST_DEVICE
#endif

namespace stagewise {

/// a + x (b + x (c + ...)), by Horner.
template <class... Rest>
STAGEWISE_HOST_DEVICE double polynomial(double x, double a, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return a;
  } else {
    return std::fma(x, polynomial(x, rest...), a);
  }
}

/// ln(x) of a positive, normal number.
STAGEWISE_HOST_DEVICE inline double exact_log(double x) {
  // x = m * 2^exponent with m in [sqrt(1/2), sqrt(2)): the exponent's bits, counted from those of sqrt(1/2).
  constexpr std::uint64_t kRootOfHalf = 0x3fe6a09e667f3bcd;
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const std::int64_t exponent = static_cast<std::int64_t>(bits - kRootOfHalf) >> 52;
  bits -= static_cast<std::uint64_t>(exponent) << 52;
  double m;
  std::memcpy(&m, &bits, sizeof m);
  // ln(m) = 2 artanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...). |s| < 0.1716, so what is left out is below 2^-60 of the sum.
  const double s = (m - 1.0) / (m + 1.0);
  const double log_m = 2.0 * s *
                       polynomial(s * s, 1.0, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
                                  1.0 / 17, 1.0 / 19, 1.0 / 21);
  return std::fma(static_cast<double>(exponent), std::numbers::ln2, log_m);
}

/// cos(2 pi turn / 2^32).
STAGEWISE_HOST_DEVICE inline double exact_cos(std::uint32_t turn) {
  // The nearest quarter of the turn, and how far it is from there: at most an eighth, and exact, being integers.
  const std::uint32_t quarter = (turn + (1U << 29)) >> 30;
  const auto rest = static_cast<std::int32_t>(turn - (quarter << 30));
  const double x = static_cast<double>(rest) * (2.0 * std::numbers::pi * 0x1p-32), square = x * x;
  // Taylor's series of sine and cosine. |x| <= pi/4, so what is left out is below 2^-58 of the sum.
  const double sine_over_x = polynomial(square, 1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                        1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000);
  const double cosine = polynomial(square, 1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
                                   1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000);
  const double value = quarter % 2 == 0 ? cosine : x * sine_over_x;
  return quarter == 1 || quarter == 2 ? -value : value;  // cos(x), -sin(x), -cos(x), sin(x)
}

/// Uniform in [0, 1), a multiple of 2^-32.
STAGEWISE_HOST_DEVICE inline double uniform_of(std::uint32_t bits) { return bits * 0x1p-32; }

/// Standard normal, by Box and Muller: sqrt(-2 ln(u)) cos(2 pi v) with u = (first + 1) / 2^32, v = second / 2^32.
STAGEWISE_HOST_DEVICE inline double normal_of(std::uint32_t first, std::uint32_t second) {
  return std::sqrt(-2.0 * exact_log((first + 1.0) * 0x1p-32)) * exact_cos(second);
}

}  // namespace stagewise
