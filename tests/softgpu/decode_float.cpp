// Arithmetic of float and double. Results are IEEE's, as PTX's .rn promises; the .approx functions are the host's exact
// ones, so the last bits of ex2, lg2, rsqrt, sin, cos and tanh differ from hardware's.
#include <cfenv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "families.h"
#include "lanes.h"

namespace softgpu {
namespace {

constexpr std::uint8_t flush = 1, saturate = 2, toward_zero = 4, downward = 8, upward = 16;
constexpr std::uint8_t directed = toward_zero | downward | upward;

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  static T apply(T a, T b) {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  static T apply(T a, T b) {
    return a * b;
  }
};
struct Divide {
  template <class T>
  static T apply(T a, T b) {
    return a / b;
  }
};
/// One NaN gives the other operand, and -0 is less than +0.
struct Minimum {
  template <class T>
  static T apply(T a, T b) {
    if (a == b) return std::signbit(a) ? a : b;
    return a < b || b != b ? a : b;
  }
};
struct Maximum {
  template <class T>
  static T apply(T a, T b) {
    if (a == b) return std::signbit(a) ? b : a;
    return a > b || b != b ? a : b;
  }
};
template <class F>
struct PropagatingNaN {
  template <class T>
  static T apply(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : F::apply(a, b);
  }
};
struct FusedMultiplyAdd {
  template <class T>
  static T apply(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return -a;
  }
};
struct Absolute {
  template <class T>
  static T apply(T a) {
    return std::abs(a);
  }
};
struct Reciprocal {
  template <class T>
  static T apply(T a) {
    return 1 / a;
  }
};
struct SquareRoot {
  template <class T>
  static T apply(T a) {
    return std::sqrt(a);
  }
};
struct ReciprocalSquareRoot {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(1 / std::sqrt(static_cast<double>(a)));
  }
};
struct Exponential {
  static float apply(float a) { return std::exp2(a); }
};
struct Logarithm {
  static float apply(float a) { return std::log2(a); }
};
struct Sine {
  static float apply(float a) { return std::sin(a); }
};
struct Cosine {
  static float apply(float a) { return std::cos(a); }
};
struct HyperbolicTangent {
  static float apply(float a) { return std::tanh(a); }
};
/// copysign d, a, b: b with a's sign.
struct CopySign {
  template <class T>
  static T apply(T a, T b) {
    return std::copysign(b, a);
  }
};

template <class T>
T flushed(T value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(T{0}, value) : value;
}
template <class T>
T finished(T value, std::uint8_t flags) {
  if (flags & flush) value = flushed(value);
  if (flags & saturate) value = value != value ? 0 : value < 0 ? 0 : value > 1 ? 1 : value;
  return value;
}

/// F with .ftz and .sat, as the operation's flags say.
template <class F, class T>
void adjusted_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  const T* const b = op.b == no_slot ? a : warp.in<T>(op.b);
  const T* const c = op.c == no_slot ? a : warp.in<T>(op.c);
  const auto in = [&](T value) { return op.flags & flush ? flushed(value) : value; };
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    if constexpr (requires(T x) { F::apply(x, x, x); }) {
      d[lane] = finished(F::apply(in(a[lane]), in(b[lane]), in(c[lane])), op.flags);
    } else if constexpr (requires(T x) { F::apply(x, x); }) {
      d[lane] = finished(F::apply(in(a[lane]), in(b[lane])), op.flags);
    } else {
      d[lane] = finished(F::apply(in(a[lane])), op.flags);
    }
  });
}

template <class F, class T>
Handler plain_operation() {
  if constexpr (requires(T x) { F::apply(x, x, x); }) {
    return ternary_operation<F, T>;
  } else if constexpr (requires(T x) { F::apply(x, x); }) {
    return binary_operation<F, T>;
  } else {
    return unary_operation<F, T>;
  }
}

/// F in another rounding mode of the host's; through a pointer, so that nothing is computed before the mode is set.
template <class F, class T>
void directed_operation(Warp& warp, const Operation& op) {
  static const volatile Handler run = adjusted_operation<F, T>;
  std::fesetround(op.flags & toward_zero ? FE_TOWARDZERO : op.flags & downward ? FE_DOWNWARD : FE_UPWARD);
  run(warp, op);
  std::fesetround(FE_TONEAREST);
}

template <class F>
constexpr bool can_be_directed =
    std::is_same_v<F, Add> || std::is_same_v<F, Subtract> || std::is_same_v<F, Multiply> || std::is_same_v<F, Divide> ||
    std::is_same_v<F, FusedMultiplyAdd> || std::is_same_v<F, Reciprocal> || std::is_same_v<F, SquareRoot>;

template <class F, class T>
Handler handler_for(std::uint8_t flags) {
  if (flags & directed) return directed_operation<F, T>;
  return flags ? adjusted_operation<F, T> : plain_operation<F, T>();
}

template <class F>
void emit_float(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  const auto flags = static_cast<std::uint8_t>((i.has("ftz") ? flush : 0) | (i.has("sat") ? saturate : 0) |
                                               (i.has("rz") ? toward_zero : 0) | (i.has("rm") ? downward : 0) |
                                               (i.has("rp") ? upward : 0));
  if (flags & directed && !can_be_directed<F>) d.refuse();
  if (d.type() == "f32") return emit_plain(d, handler_for<F, float>(flags), 4, flags);
  if constexpr (
      requires(double x) { F::apply(x); } || requires(double x) { F::apply(x, x); } ||
      requires(double x) { F::apply(x, x, x); }) {
    if (d.type() == "f64") return emit_plain(d, handler_for<F, double>(flags), 8, flags);
  }
  d.refuse();
}

template <class F>
void decode_special(Decoder& d) {
  if (d.type() == "f32" || d.type() == "f64") return emit_float<F>(d);
  decode_half(d);
}

void decode_fma(Decoder& d) {
  if (d.type().find("f16") != std::string::npos) return decode_half(d);
  emit_float<FusedMultiplyAdd>(d);
}

/// testp.infinite p, a and its like. `offset` says which.
enum Test { finite, infinite, is_number, not_a_number, normal, subnormal };
template <class T>
void test_operation(Warp& warp, const Operation& op) {
  const T* const a = warp.in<T>(op.a);
  std::uint32_t bits = 0;
  for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) {
    const int kind = std::fpclassify(a[lane]);
    bool yes = false;
    switch (op.offset) {
      case finite: yes = kind != FP_NAN && kind != FP_INFINITE; break;
      case infinite: yes = kind == FP_INFINITE; break;
      case is_number: yes = kind != FP_NAN; break;
      case not_a_number: yes = kind == FP_NAN; break;
      case normal: yes = kind == FP_NORMAL; break;
      case subnormal: yes = kind == FP_SUBNORMAL; break;
    }
    bits |= std::uint32_t{yes} << lane;
  }
  warp.set_predicate(op.d, bits);
}
void decode_testp(Decoder& d) {
  static const std::map<std::string, Test> tests = {{"finite", finite},    {"infinite", infinite},
                                                    {"number", is_number}, {"notanumber", not_a_number},
                                                    {"normal", normal},    {"subnormal", subnormal}};
  const auto found = tests.find(d.instruction().words[1]);
  if (found == tests.end()) d.refuse();
  Operation op;
  op.run = d.type() == "f64" ? test_operation<double> : test_operation<float>;
  op.offset = found->second;
  op.d = d.destination(std::size_t{0}, 0);
  op.a = d.source(1, type_bytes(d.type()));
  d.emit(op);
}

}  // namespace

void decode_float(Decoder& d) {
  const std::string& name = d.instruction().words[0];
  const bool propagate = d.instruction().has("NaN");
  if (name == "add") return emit_float<Add>(d);
  if (name == "sub") return emit_float<Subtract>(d);
  if (name == "mul") return emit_float<Multiply>(d);
  if (name == "mad") return emit_float<FusedMultiplyAdd>(d);
  if (name == "div") return emit_float<Divide>(d);
  if (name == "neg") return emit_float<Negate>(d);
  if (name == "abs") return emit_float<Absolute>(d);
  if (name == "min") return propagate ? emit_float<PropagatingNaN<Minimum>>(d) : emit_float<Minimum>(d);
  if (name == "max") return propagate ? emit_float<PropagatingNaN<Maximum>>(d) : emit_float<Maximum>(d);
  d.refuse();
}

const Family& float_family() {
  static const Family family = {{"fma", decode_fma},
                                {"rcp", decode_special<Reciprocal>},
                                {"sqrt", decode_special<SquareRoot>},
                                {"rsqrt", decode_special<ReciprocalSquareRoot>},
                                {"ex2", decode_special<Exponential>},
                                {"lg2", decode_special<Logarithm>},
                                {"sin", decode_special<Sine>},
                                {"cos", decode_special<Cosine>},
                                {"tanh", decode_special<HyperbolicTangent>},
                                {"copysign", decode_special<CopySign>},
                                {"testp", decode_testp}};
  return family;
}

}  // namespace softgpu
