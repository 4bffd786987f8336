// Arithmetic of half and bfloat16, one or two in a register. Everything is computed in double and rounded as if once.
#include <cmath>
#include <cstring>

#include "families.h"
#include "lanes.h"

namespace softgpu {
namespace {

std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// A double as a float whose last bit says that something was cut off ("round to odd"): rounding it again, to fewer
/// bits, gives what rounding the double once would have (Boldo and Melquiond 2008).
float round_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (static_cast<double>(nearest) == value || value != value) return nearest;
  const float toward_zero =
      std::abs(static_cast<double>(nearest)) > std::abs(value) ? std::nextafter(nearest, 0.0f) : nearest;
  return float_of(bits_of(toward_zero) | 1);
}

/// The same for a sum of doubles: what is cut off is known exactly (Knuth's two-sum).
double sum_to_odd(double a, double b) {
  const double sum = a + b;
  const double part = sum - a;
  const double error = (a - (sum - part)) + (b - part);
  std::uint64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  if (!std::isfinite(sum) || error == 0 || (bits & 1)) return sum;
  return std::nextafter(sum, error > 0 ? INFINITY : -INFINITY);
}

struct BFloat16 {
  static float load(std::uint16_t bits) { return from_bfloat16(bits); }
  static std::uint16_t store(double value) { return bfloat16_bits(round_to_odd(value)); }
};
struct Half {
  static float load(std::uint16_t bits) { return from_half(bits); }
  static std::uint16_t store(double value) { return half_bits(round_to_odd(value)); }
};

enum Function { add, subtract, multiply, fused, minimum, maximum, negate, absolute, exponential, hyperbolic_tangent };

double compute(Function function, double a, double b, double c) {
  switch (function) {
    case add: return sum_to_odd(a, b);
    case subtract: return sum_to_odd(a, -b);
    case multiply: return a * b;
    case fused: return sum_to_odd(a * b, c);  // the product is exact in a double
    case minimum: return std::fmin(a, b);
    case maximum: return std::fmax(a, b);
    case negate: return -a;
    case absolute: return std::abs(a);
    case exponential: return std::exp2(a);
    case hyperbolic_tangent: return std::tanh(a);
  }
  return 0;
}

constexpr std::uint8_t relu = 1, propagate_nan = 2, saturate = 4;

/// `parts` values of Type a register; `offset` is the Function.
template <class Type, int parts>
void half_operation(Warp& warp, const Operation& op) {
  std::uint16_t* const d = warp.out<std::uint16_t>(op.d);
  const std::uint16_t* const a = warp.in<std::uint16_t>(op.a);
  const std::uint16_t* const b = op.b == no_slot ? a : warp.in<std::uint16_t>(op.b);
  const std::uint16_t* const c = op.c == no_slot ? a : warp.in<std::uint16_t>(op.c);
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    for (std::uint32_t i = lane * parts; i < (lane + 1) * parts; ++i) {
      const double x = Type::load(a[i]), y = Type::load(b[i]), z = Type::load(c[i]);
      double result = compute(static_cast<Function>(op.offset), x, y, z);
      if (op.flags & propagate_nan && (x != x || y != y)) result = x + y;
      if (op.flags & relu && result < 0) result = 0;
      if (op.flags & saturate) result = result != result ? 0 : std::fmin(std::fmax(result, 0.0), 1.0);
      d[i] = Type::store(result);
    }
  });
}

}  // namespace

std::uint16_t bfloat16_bits(float value, bool toward_zero) {
  const std::uint32_t bits = bits_of(value);
  if (value != value) return 0x7fff;
  if (toward_zero) return static_cast<std::uint16_t>(bits >> 16);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bfloat16(std::uint16_t bits) { return float_of(std::uint32_t{bits} << 16); }

std::uint16_t half_bits(float value, bool toward_zero) {
  const std::uint32_t bits = bits_of(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  if (value != value) return 0x7fff;
  const float magnitude = std::abs(value);
  if (magnitude >= 65520.0f)
    return static_cast<std::uint16_t>(sign | (toward_zero && magnitude < INFINITY ? 0x7bff : 0x7c00));
  // In units of the last place, which stops shrinking at the subnormals.
  const int exponent = magnitude < 0x1p-14f ? -14 : std::ilogb(magnitude);
  const float units = std::ldexp(magnitude, 10 - exponent);
  const auto count = static_cast<std::uint32_t>(toward_zero ? std::trunc(units) : std::nearbyint(units));
  // A count of 2048 carries into the exponent by itself.
  return static_cast<std::uint16_t>(sign + count + static_cast<std::uint32_t>(exponent + 14) * 1024);
}

float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int mantissa = bits & 1023;
  float magnitude =
      std::ldexp(static_cast<float>(exponent ? mantissa + 1024 : mantissa), (exponent ? exponent : 1) - 25);
  if (exponent == 31) magnitude = mantissa ? NAN : INFINITY;
  return bits & 0x8000 ? -magnitude : magnitude;
}

void decode_half(Decoder& d) {
  static const std::map<std::string, Function> functions = {
      {"add", add},     {"sub", subtract}, {"mul", multiply}, {"fma", fused},       {"min", minimum},
      {"max", maximum}, {"neg", negate},   {"abs", absolute}, {"ex2", exponential}, {"tanh", hyperbolic_tangent}};
  const PtxInstruction& i = d.instruction();
  const auto found = functions.find(i.words[0]);
  const std::string type = d.type();
  if (found == functions.end() || i.has("rz") || i.has("oob")) d.refuse();
  Handler run = nullptr;
  if (type == "bf16") run = half_operation<BFloat16, 1>;
  if (type == "bf16x2") run = half_operation<BFloat16, 2>;
  if (type == "f16") run = half_operation<Half, 1>;
  if (type == "f16x2") run = half_operation<Half, 2>;
  if (!run) d.refuse();
  Operation op;
  op.run = run;
  op.offset = found->second;
  op.flags = static_cast<std::uint8_t>((i.has("relu") ? relu : 0) | (i.has("NaN") ? propagate_nan : 0) |
                                       (i.has("sat") ? saturate : 0));
  const std::uint32_t bytes = type_bytes(type);
  op.d = d.destination(std::size_t{0}, bytes);
  op.a = d.source(1, bytes);
  if (d.operand_count() > 2) op.b = d.source(2, bytes);
  if (d.operand_count() > 3) op.c = d.source(3, bytes);
  d.emit(op);
}

}  // namespace softgpu
