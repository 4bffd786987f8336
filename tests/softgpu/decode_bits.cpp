// Bits: and or xor not cnot shl shr lop3 prmt bfe bfi bfind brev clz popc shf.
#include "families.h"
#include "integers.h"
#include "lanes.h"

namespace softgpu {
namespace {

struct Not {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(~a);
  }
};
struct LogicalNot {
  template <class T>
  static T apply(T a) {
    return a == 0;
  }
};
/// Counts beyond the width are clamped: everything is shifted out.
struct ShiftLeft {
  template <class T>
  static T apply(T a, std::uint32_t count) {
    return count >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << count);
  }
};
struct ShiftRight {
  template <class T>
  static T apply(T a, std::uint32_t count) {
    const std::uint32_t most = 8 * sizeof(T) - 1;
    return count > most ? static_cast<T>(a >> most >> 1) : static_cast<T>(a >> count);
  }
};
struct CountLeadingZeros {
  template <class T>
  static std::uint32_t apply(T a) {
    const int width = 8 * sizeof(T);
    return static_cast<std::uint32_t>(a == 0 ? width : __builtin_clzll(a) - (64 - width));
  }
};
struct CountOnes {
  template <class T>
  static std::uint32_t apply(T a) {
    return static_cast<std::uint32_t>(__builtin_popcountll(a));
  }
};
struct Reverse {
  template <class T>
  static T apply(T a) {
    T result = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i) result |= (a >> i & T{1}) << (8 * sizeof(T) - 1 - i);
    return result;
  }
};
/// The position of the highest bit that differs from the sign; with `shift`, how far it is from the top. Ones without.
template <bool shift>
struct FindTop {
  template <class T>
  static std::uint32_t apply(T a) {
    if (std::is_signed_v<T> && a < 0) a = static_cast<T>(~a);
    const auto bits = static_cast<std::make_unsigned_t<T>>(a);
    if (bits == 0) return all_bits;
    const std::uint32_t position = 63u - static_cast<std::uint32_t>(__builtin_clzll(bits));
    return shift ? 8 * sizeof(T) - 1 - position : position;
  }
};

/// bfe d, a, position, length: PTX ISA's pseudo-code, the sign bit of a cut field included.
struct Extract {
  template <class T>
  static T apply(T a, std::uint32_t position, std::uint32_t length) {
    constexpr std::uint32_t most = 8 * sizeof(T) - 1;
    position &= 0xff;
    length &= 0xff;
    using U = std::make_unsigned_t<T>;
    const std::uint32_t top = std::min(position + length - 1, most);
    const bool sign = std::is_signed_v<T> && length != 0 && (static_cast<U>(a) >> top & 1);
    const U filler = sign ? static_cast<U>(-1) : 0;
    if (length == 0) return 0;
    const U field = position > most
                        ? filler
                        : static_cast<U>(a) >> position | (position && sign ? filler << (most + 1 - position) : 0);
    return static_cast<T>(length > most ? field
                                        : (field & ((U{1} << length) - 1)) | (filler & ~((U{1} << length) - 1)));
  }
};

template <class T>
void extract_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  const auto* const b = warp.in<std::uint32_t>(op.b);
  const auto* const c = warp.in<std::uint32_t>(op.c);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = Extract::apply(a[lane], b[lane], c[lane]); });
}

/// bfi d, a, b, position, length: the low bits of a into b. `target` is the slot of the length.
template <class T>
void insert_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  const T* const b = warp.in<T>(op.b);
  const auto* const positions = warp.in<std::uint32_t>(op.c);
  const auto* const lengths = warp.in<std::uint32_t>(op.target);
  for_lanes(warp.mask, [=](std::uint32_t lane) {
    constexpr std::uint32_t width = 8 * sizeof(T);
    const std::uint32_t position = positions[lane] & 0xff, length = lengths[lane] & 0xff;
    const T ones = length >= width ? static_cast<T>(-1) : (T{1} << length) - 1;
    const T field = position >= width ? 0 : ones << position;
    d[lane] = (b[lane] & ~field) | (position >= width ? 0 : (a[lane] << position) & field);
  });
}

/// lop3 d, a, b, c, table: any function of three bits. `offset` is the table.
void lop3_operation(Warp& warp, const Operation& op) {
  auto* const d = warp.out<std::uint32_t>(op.d);
  const auto* const a = warp.in<std::uint32_t>(op.a);
  const auto* const b = warp.in<std::uint32_t>(op.b);
  const auto* const c = warp.in<std::uint32_t>(op.c);
  const auto table = static_cast<std::uint32_t>(op.offset);
  for_lanes(warp.mask, [=](std::uint32_t lane) {
    std::uint32_t result = 0;
    for (std::uint32_t i = 0; i < 8; ++i) {
      const std::uint32_t match =
          (i & 4 ? a[lane] : ~a[lane]) & (i & 2 ? b[lane] : ~b[lane]) & (i & 1 ? c[lane] : ~c[lane]);
      result |= table >> i & 1 ? match : 0;
    }
    d[lane] = result;
  });
}

/// prmt d, a, b, selector: four bytes out of eight; a selector's top bit copies the byte's sign.
struct Permute {
  static std::uint32_t apply(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
    const std::uint64_t bytes = std::uint64_t{b} << 32 | a;
    std::uint32_t result = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::uint32_t nibble = selector >> 4 * i & 15;
      auto byte = static_cast<std::uint32_t>(bytes >> 8 * (nibble & 7) & 0xff);
      if (nibble & 8) byte = byte & 0x80 ? 0xff : 0;
      result |= byte << 8 * i;
    }
    return result;
  }
};

/// shf: the pair (b, a) shifted by c.
template <bool left, bool clamp>
struct FunnelShift {
  static std::uint32_t apply(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    const std::uint32_t count = clamp ? std::min(c, 32u) : c & 31;
    const std::uint64_t pair = std::uint64_t{b} << 32 | a;
    return static_cast<std::uint32_t>(left ? pair << count >> 32 : pair >> count);
  }
};

template <class F>
void predicate_operation(Warp& warp, const Operation& op) {
  warp.set_predicate(op.d, F::apply(warp.predicate(op.a), op.b == no_slot ? 0u : warp.predicate(op.b)));
}
struct PredicateNot {
  static std::uint32_t apply(std::uint32_t a, std::uint32_t) { return ~a; }
};

template <class F, class P = F>
void decode_logic(Decoder& d) {
  if (d.type() == "pred") return emit_plain(d, predicate_operation<P>, 0);
  emit_plain(d, unsigned_binary<F>(type_bytes(d.type())), type_bytes(d.type()));
}
void decode_not(Decoder& d) {
  if (d.type() == "pred") return emit_plain(d, predicate_operation<PredicateNot>, 0);
  emit_plain(d, unsigned_unary<Not>(type_bytes(d.type())), type_bytes(d.type()));
}
void decode_cnot(Decoder& d) { emit_plain(d, unsigned_unary<LogicalNot>(type_bytes(d.type())), type_bytes(d.type())); }

void decode_shift(Decoder& d, Handler run) {
  if (!run) d.refuse();
  const std::uint32_t bytes = type_bytes(d.type());
  Operation op;
  op.run = run;
  op.d = d.destination(std::size_t{0}, bytes);
  op.a = d.source(1, bytes);
  op.b = d.source(2, 4);
  d.emit(op);
}
template <class F, class T>
constexpr Handler shift_of = binary_operation<F, T, T, std::uint32_t>;
void decode_shl(Decoder& d) {
  const std::uint32_t bytes = type_bytes(d.type());
  decode_shift(d, bytes == 2   ? shift_of<ShiftLeft, std::uint16_t>
                  : bytes == 4 ? shift_of<ShiftLeft, std::uint32_t>
                               : shift_of<ShiftLeft, std::uint64_t>);
}
void decode_shr(Decoder& d) {
  const std::string type = d.type();
  const std::uint32_t bytes = type_bytes(type);
  if (type[0] == 's') {
    return decode_shift(d, bytes == 2   ? shift_of<ShiftRight, std::int16_t>
                           : bytes == 4 ? shift_of<ShiftRight, std::int32_t>
                                        : shift_of<ShiftRight, std::int64_t>);
  }
  decode_shift(d, bytes == 2   ? shift_of<ShiftRight, std::uint16_t>
                  : bytes == 4 ? shift_of<ShiftRight, std::uint32_t>
                               : shift_of<ShiftRight, std::uint64_t>);
}

/// popc, clz, bfind: a 32-bit count of a value of either width.
void decode_count(Decoder& d, Handler narrow, Handler wide) {
  const std::uint32_t bytes = type_bytes(d.type());
  Operation op;
  op.run = bytes == 8 ? wide : narrow;
  op.d = d.destination(std::size_t{0}, 4);
  op.a = d.source(1, bytes);
  d.emit(op);
}
void decode_popc(Decoder& d) {
  decode_count(d, unary_operation<CountOnes, std::uint32_t>, unary_operation<CountOnes, std::uint32_t, std::uint64_t>);
}
void decode_clz(Decoder& d) {
  decode_count(d, unary_operation<CountLeadingZeros, std::uint32_t>,
               unary_operation<CountLeadingZeros, std::uint32_t, std::uint64_t>);
}
template <bool shift>
void decode_find(Decoder& d) {
  if (d.type()[0] == 's') {
    return decode_count(d, unary_operation<FindTop<shift>, std::uint32_t, std::int32_t>,
                        unary_operation<FindTop<shift>, std::uint32_t, std::int64_t>);
  }
  decode_count(d, unary_operation<FindTop<shift>, std::uint32_t>,
               unary_operation<FindTop<shift>, std::uint32_t, std::uint64_t>);
}
void decode_bfind(Decoder& d) { d.instruction().has("shiftamt") ? decode_find<true>(d) : decode_find<false>(d); }
void decode_brev(Decoder& d) { emit_plain(d, unsigned_unary<Reverse>(type_bytes(d.type())), type_bytes(d.type())); }

void decode_bfe(Decoder& d) {
  const std::string type = d.type();
  Operation op;
  if (type == "u32") op.run = extract_operation<std::uint32_t>;
  if (type == "s32") op.run = extract_operation<std::int32_t>;
  if (type == "u64") op.run = extract_operation<std::uint64_t>;
  if (type == "s64") op.run = extract_operation<std::int64_t>;
  if (!op.run) d.refuse();
  op.d = d.destination(std::size_t{0}, type_bytes(type));
  op.a = d.source(1, type_bytes(type));
  op.b = d.source(2, 4);
  op.c = d.source(3, 4);
  d.emit(op);
}

void decode_bfi(Decoder& d) {
  const std::uint32_t bytes = type_bytes(d.type());
  Operation op;
  op.run = bytes == 8 ? insert_operation<std::uint64_t> : insert_operation<std::uint32_t>;
  op.d = d.destination(std::size_t{0}, bytes);
  op.a = d.source(1, bytes);
  op.b = d.source(2, bytes);
  op.c = d.source(3, 4);
  op.target = d.source(4, 4);
  d.emit(op);
}

void decode_lop3(Decoder& d) {
  if (d.type() != "b32" || d.operand_count() != 5 || d.operand(4).kind != PtxOperand::immediate) d.refuse();
  Operation op;
  op.run = lop3_operation;
  op.d = d.destination(std::size_t{0}, 4);
  op.a = d.source(1, 4);
  op.b = d.source(2, 4);
  op.c = d.source(3, 4);
  op.offset = static_cast<std::int64_t>(d.operand(4).value);
  d.emit(op);
}

void decode_prmt(Decoder& d) {
  if (d.instruction().words.size() != 2) d.refuse();  // the modes .f4e and the like
  emit_plain(d, ternary_operation<Permute, std::uint32_t>, 4);
}

void decode_shf(Decoder& d) {
  const bool left = d.instruction().has("l"), clamp = d.instruction().has("clamp");
  const Handler run = left ? (clamp ? ternary_operation<FunnelShift<true, true>, std::uint32_t>
                                    : ternary_operation<FunnelShift<true, false>, std::uint32_t>)
                           : (clamp ? ternary_operation<FunnelShift<false, true>, std::uint32_t>
                                    : ternary_operation<FunnelShift<false, false>, std::uint32_t>);
  emit_plain(d, run, 4);
}

}  // namespace

const Family& bits_family() {
  static const Family family = {
      {"and", decode_logic<And>}, {"or", decode_logic<Or>}, {"xor", decode_logic<Xor>}, {"not", decode_not},
      {"cnot", decode_cnot},      {"shl", decode_shl},      {"shr", decode_shr},        {"popc", decode_popc},
      {"clz", decode_clz},        {"bfind", decode_bfind},  {"brev", decode_brev},      {"bfe", decode_bfe},
      {"bfi", decode_bfi},        {"lop3", decode_lop3},    {"prmt", decode_prmt},      {"shf", decode_shf}};
  return family;
}

}  // namespace softgpu
