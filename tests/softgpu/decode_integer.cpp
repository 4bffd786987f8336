// Integer arithmetic: add sub mul mad div rem min max abs neg sad, the carry chain, and (by type) the way to the
// floating-point versions.
#include <limits>

#include "families.h"
#include "integers.h"
#include "lanes.h"

namespace softgpu {
namespace {

// Narrow types are promoted to int, and signed overflow wraps: arithmetic is done unsigned.
struct Subtract {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a - b);
  }
};
struct Multiply {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(std::uint64_t{a} * b);
  }
};
/// PTX leaves the quotient by zero open; hardware gives ones.
struct Divide {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return static_cast<T>(-1);
    if (std::numeric_limits<T>::is_signed && b == static_cast<T>(-1))
      return static_cast<T>(0 - static_cast<std::uint64_t>(a));
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return a;
    if (std::numeric_limits<T>::is_signed && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
template <class Wide, class Narrow>
struct High {
  static Narrow apply(Narrow a, Narrow b) {
    return static_cast<Narrow>(static_cast<Wide>(a) * static_cast<Wide>(b) >> (8 * sizeof(Narrow)));
  }
  static Narrow apply(Narrow a, Narrow b, Narrow c) {
    return static_cast<Narrow>(static_cast<std::uint64_t>(apply(a, b)) + static_cast<std::uint64_t>(c));
  }
};
struct MultiplyAdd {
  template <class T>
  static T apply(T a, T b, T c) {
    return static_cast<T>(std::uint64_t{a} * b + c);
  }
};
template <class Wide>
struct Widen {
  template <class T>
  static Wide apply(T a, T b) {
    return static_cast<Wide>(static_cast<Wide>(a) * static_cast<Wide>(b));
  }
  template <class T>
  static Wide apply(T a, T b, Wide c) {
    return static_cast<Wide>(static_cast<std::uint64_t>(apply(a, b)) + static_cast<std::uint64_t>(c));
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(0 - a);
  }
};
template <class Signed>
struct Absolute {
  template <class T>
  static T apply(T a) {
    return static_cast<Signed>(a) < 0 ? static_cast<T>(0 - a) : a;
  }
};
struct SumOfDifference {
  template <class T>
  static T apply(T a, T b, T c) {
    return static_cast<T>(static_cast<std::uint64_t>(c) +
                          (a < b ? static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a)
                                 : static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b)));
  }
};

__extension__ using Int128 = __int128;
__extension__ using UInt128 = unsigned __int128;

Handler high(const std::string& type, bool add) {
  if (type == "s16")
    return add ? ternary_operation<High<std::int32_t, std::int16_t>, std::int16_t>
               : binary_operation<High<std::int32_t, std::int16_t>, std::int16_t>;
  if (type == "u16")
    return add ? ternary_operation<High<std::uint32_t, std::uint16_t>, std::uint16_t>
               : binary_operation<High<std::uint32_t, std::uint16_t>, std::uint16_t>;
  if (type == "s32")
    return add ? ternary_operation<High<std::int64_t, std::int32_t>, std::int32_t>
               : binary_operation<High<std::int64_t, std::int32_t>, std::int32_t>;
  if (type == "u32")
    return add ? ternary_operation<High<std::uint64_t, std::uint32_t>, std::uint32_t>
               : binary_operation<High<std::uint64_t, std::uint32_t>, std::uint32_t>;
  if (type == "s64")
    return add ? ternary_operation<High<Int128, std::int64_t>, std::int64_t>
               : binary_operation<High<Int128, std::int64_t>, std::int64_t>;
  if (type == "u64")
    return add ? ternary_operation<High<UInt128, std::uint64_t>, std::uint64_t>
               : binary_operation<High<UInt128, std::uint64_t>, std::uint64_t>;
  return nullptr;
}

template <class Wide, class Narrow>
Handler widening(bool add) {
  return add ? Handler{ternary_operation<Widen<Wide>, Wide, Narrow, Wide>}
             : Handler{binary_operation<Widen<Wide>, Wide, Narrow>};
}

void decode_wide(Decoder& d, bool add) {
  const std::string type = d.type();
  Operation op;
  if (type == "s16") op.run = widening<std::int32_t, std::int16_t>(add);
  if (type == "u16") op.run = widening<std::uint32_t, std::uint16_t>(add);
  if (type == "s32") op.run = widening<std::int64_t, std::int32_t>(add);
  if (type == "u32") op.run = widening<std::uint64_t, std::uint32_t>(add);
  if (!op.run) d.refuse();
  const std::uint32_t bytes = type_bytes(type);
  op.d = d.destination(std::size_t{0}, 2 * bytes);
  op.a = d.source(1, bytes);
  op.b = d.source(2, bytes);
  if (add) op.c = d.source(3, 2 * bytes);
  d.emit(op);
}

// The carry flag has a lane mask of its own beside the registers: the warp's last 4 bytes (Decoder::carry_slot).
template <class T, bool minus, bool use, bool set, bool product>
void carry_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  const T* const b = warp.in<T>(op.b);
  const T* const c = product ? warp.in<T>(op.c) : nullptr;
  std::uint32_t& carry = *warp.out<std::uint32_t>(op.target);
  std::uint32_t next = carry;
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    T left = a[lane], right = b[lane];
    if (product) {
      const UInt128 whole = static_cast<UInt128>(left) * right;
      left = static_cast<T>(op.flags ? whole >> 8 * sizeof(T) : whole);
      right = c[lane];
    }
    const T in = use ? carry >> lane & 1 : 0;
    const UInt128 wide = minus ? static_cast<UInt128>(left) - right - in : static_cast<UInt128>(left) + right + in;
    d[lane] = static_cast<T>(wide);
    const std::uint32_t out = (wide >> 8 * sizeof(T)) != 0;
    next = (next & ~(1u << lane)) | out << lane;
  });
  if (set) carry = next;
}

template <class T>
Handler carry_handler(bool minus, bool use, bool set, bool product) {
  if (minus)
    return use ? (set ? carry_operation<T, true, true, true, false> : carry_operation<T, true, true, false, false>)
               : carry_operation<T, true, false, true, false>;
  if (product)
    return use ? (set ? carry_operation<T, false, true, true, true> : carry_operation<T, false, true, false, true>)
               : carry_operation<T, false, false, true, true>;
  return use ? (set ? carry_operation<T, false, true, true, false> : carry_operation<T, false, true, false, false>)
             : carry_operation<T, false, false, true, false>;
}

/// add.cc addc[.cc] sub.cc subc[.cc] mad.cc madc[.cc]
void decode_carry(Decoder& d) {
  const std::string& name = d.instruction().words[0];
  const std::uint32_t bytes = type_bytes(d.type());
  const bool minus = name.rfind("sub", 0) == 0, product = name.rfind("mad", 0) == 0, use = name.back() == 'c';
  Operation op;
  op.run = bytes == 8 ? carry_handler<std::uint64_t>(minus, use, d.instruction().has("cc"), product)
                      : carry_handler<std::uint32_t>(minus, use, d.instruction().has("cc"), product);
  op.flags = d.instruction().has("hi");
  if (op.flags && d.type()[0] == 's') d.refuse();
  op.target = d.carry_slot();
  op.d = d.destination(std::size_t{0}, bytes);
  op.a = d.source(1, bytes);
  op.b = d.source(2, bytes);
  if (product) op.c = d.source(3, bytes);
  d.emit(op);
}

/// True where the instruction was one of floats and has been decoded.
bool decoded_as_float(Decoder& d) {
  const std::string type = d.type();
  if (type == "f32" || type == "f64") return decode_float(d), true;
  if (type.find("f16") != std::string::npos) return decode_half(d), true;
  if (d.instruction().has("sat")) d.refuse();
  return false;
}

void decode_add(Decoder& d) {
  if (d.instruction().has("cc")) return decode_carry(d);
  if (!decoded_as_float(d)) emit_plain(d, unsigned_binary<Add>(type_bytes(d.type())), type_bytes(d.type()));
}
void decode_sub(Decoder& d) {
  if (d.instruction().has("cc")) return decode_carry(d);
  if (!decoded_as_float(d)) emit_plain(d, unsigned_binary<Subtract>(type_bytes(d.type())), type_bytes(d.type()));
}
void decode_mul(Decoder& d) {
  if (decoded_as_float(d)) return;
  if (d.instruction().has("wide")) return decode_wide(d, false);
  const std::uint32_t bytes = type_bytes(d.type());
  emit_plain(d, d.instruction().has("hi") ? high(d.type(), false) : unsigned_binary<Multiply>(bytes), bytes);
}
void decode_mad(Decoder& d) {
  if (d.instruction().has("cc")) return decode_carry(d);
  if (decoded_as_float(d)) return;
  if (d.instruction().has("wide")) return decode_wide(d, true);
  const std::uint32_t bytes = type_bytes(d.type());
  if (d.instruction().has("hi")) return emit_plain(d, high(d.type(), true), bytes);
  emit_plain(d,
             bytes == 2   ? ternary_operation<MultiplyAdd, std::uint16_t>
             : bytes == 4 ? ternary_operation<MultiplyAdd, std::uint32_t>
                          : ternary_operation<MultiplyAdd, std::uint64_t>,
             bytes);
}
void decode_div(Decoder& d) {
  if (!decoded_as_float(d)) emit_plain(d, signed_binary<Divide>(d.type()), type_bytes(d.type()));
}
void decode_rem(Decoder& d) { emit_plain(d, signed_binary<Remainder>(d.type()), type_bytes(d.type())); }
void decode_min(Decoder& d) {
  if (!decoded_as_float(d)) emit_plain(d, signed_binary<Minimum>(d.type()), type_bytes(d.type()));
}
void decode_max(Decoder& d) {
  if (!decoded_as_float(d)) emit_plain(d, signed_binary<Maximum>(d.type()), type_bytes(d.type()));
}
void decode_neg(Decoder& d) {
  if (!decoded_as_float(d)) emit_plain(d, unsigned_unary<Negate>(type_bytes(d.type())), type_bytes(d.type()));
}
void decode_abs(Decoder& d) {
  if (decoded_as_float(d)) return;
  const std::uint32_t bytes = type_bytes(d.type());
  emit_plain(d,
             bytes == 2   ? unary_operation<Absolute<std::int16_t>, std::uint16_t>
             : bytes == 4 ? unary_operation<Absolute<std::int32_t>, std::uint32_t>
                          : unary_operation<Absolute<std::int64_t>, std::uint64_t>,
             bytes);
}
void decode_sad(Decoder& d) {
  const std::string type = d.type();
  Handler run = nullptr;
  if (type == "s32") run = ternary_operation<SumOfDifference, std::int32_t>;
  if (type == "u32") run = ternary_operation<SumOfDifference, std::uint32_t>;
  emit_plain(d, run, type_bytes(type));
}

}  // namespace

const Family& integer_family() {
  static const Family family = {
      {"add", decode_add}, {"addc", decode_carry}, {"sub", decode_sub}, {"subc", decode_carry}, {"mul", decode_mul},
      {"mad", decode_mad}, {"madc", decode_carry}, {"div", decode_div}, {"rem", decode_rem},    {"min", decode_min},
      {"max", decode_max}, {"neg", decode_neg},    {"abs", decode_abs}, {"sad", decode_sad}};
  return family;
}

}  // namespace softgpu
