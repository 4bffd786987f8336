// Comparisons: setp set selp slct.
#include <cmath>

#include "families.h"
#include "lanes.h"

namespace softgpu {
namespace {

// An unordered comparison (ltu) is true where an operand is NaN; the others are false there, but for ne.
struct Equal {
  template <class T>
  static bool apply(T a, T b) {
    return a == b;
  }
};
struct NotEqual {  // ordered: false for NaN
  template <class T>
  static bool apply(T a, T b) {
    return a < b || a > b;
  }
};
struct Less {
  template <class T>
  static bool apply(T a, T b) {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  static bool apply(T a, T b) {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  static bool apply(T a, T b) {
    return a > b;
  }
};
struct GreaterEqual {
  template <class T>
  static bool apply(T a, T b) {
    return a >= b;
  }
};
struct Number {
  template <class T>
  static bool apply(T a, T b) {
    return a == a && b == b;
  }
};
template <class F>
struct Not {
  template <class T>
  static bool apply(T a, T b) {
    return !F::apply(a, b);
  }
};

struct PlainType {
  template <class T>
  static T load(T value) {
    return value;
  }
};
struct BFloat16Type {
  static float load(std::uint16_t bits) { return from_bfloat16(bits); }
};
struct HalfType {
  static float load(std::uint16_t bits) { return from_half(bits); }
};

enum Combine : std::uint8_t { no_combine, combine_and, combine_or, combine_xor };

/// d, target = F(a, b) combined with the predicate c (`space` bit 0: negated), and the same with !F(a, b).
template <class F, class T, class Type>
void setp_operation(Warp& warp, const Operation& op) {
  const T* const a = warp.in<T>(op.a);
  const T* const b = warp.in<T>(op.b);
  std::uint32_t bits = 0;
  for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) {
    bits |= std::uint32_t{F::apply(Type::load(a[lane]), Type::load(b[lane]))} << lane;
  }
  if (op.flags == no_combine) {
    const Slot second = op.target;
    warp.set_predicate(op.d, bits);
    warp.set_predicate(second, ~bits);
    return;
  }
  const std::uint32_t other = warp.predicate(op.c) ^ (op.space ? all_bits : 0);
  const auto combined = [&](std::uint32_t x) {
    return op.flags == combine_and ? x & other : op.flags == combine_or ? x | other : x ^ other;
  };
  warp.set_predicate(op.d, combined(bits));
  warp.set_predicate(op.target, combined(~bits));
}

template <class T, class Type = PlainType>
Handler by_name(const std::string& name) {
  static const std::map<std::string, Handler> handlers = {{"eq", setp_operation<Equal, T, Type>},
                                                          {"ne", setp_operation<NotEqual, T, Type>},
                                                          {"lt", setp_operation<Less, T, Type>},
                                                          {"le", setp_operation<LessEqual, T, Type>},
                                                          {"gt", setp_operation<Greater, T, Type>},
                                                          {"ge", setp_operation<GreaterEqual, T, Type>},
                                                          {"lo", setp_operation<Less, T, Type>},
                                                          {"ls", setp_operation<LessEqual, T, Type>},
                                                          {"hi", setp_operation<Greater, T, Type>},
                                                          {"hs", setp_operation<GreaterEqual, T, Type>},
                                                          {"equ", setp_operation<Not<NotEqual>, T, Type>},
                                                          {"neu", setp_operation<Not<Equal>, T, Type>},
                                                          {"ltu", setp_operation<Not<GreaterEqual>, T, Type>},
                                                          {"leu", setp_operation<Not<Greater>, T, Type>},
                                                          {"gtu", setp_operation<Not<LessEqual>, T, Type>},
                                                          {"geu", setp_operation<Not<Less>, T, Type>},
                                                          {"num", setp_operation<Number, T, Type>},
                                                          {"nan", setp_operation<Not<Number>, T, Type>}};
  const auto found = handlers.find(name);
  return found == handlers.end() ? nullptr : found->second;
}

Handler comparison(const std::string& name, const std::string& type) {
  if (type == "b16" || type == "u16") return by_name<std::uint16_t>(name);
  if (type == "b32" || type == "u32") return by_name<std::uint32_t>(name);
  if (type == "b64" || type == "u64") return by_name<std::uint64_t>(name);
  if (type == "s16") return by_name<std::int16_t>(name);
  if (type == "s32") return by_name<std::int32_t>(name);
  if (type == "s64") return by_name<std::int64_t>(name);
  if (type == "f32") return by_name<float>(name);
  if (type == "f64") return by_name<double>(name);
  if (type == "bf16") return by_name<std::uint16_t, BFloat16Type>(name);
  if (type == "f16") return by_name<std::uint16_t, HalfType>(name);
  return nullptr;
}

/// setp.lt.and.f32 p|q, a, b, c
void decode_setp(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  const std::string type = d.type();
  Operation op;
  op.run = comparison(i.words[1], type);
  if (!op.run || i.has("ftz")) d.refuse();
  const PtxOperand& result = d.operand(0);
  const bool pair = result.kind == PtxOperand::vector;
  op.d = d.destination(pair ? result.parts[0] : result, 0);
  op.target = pair ? d.destination(result.parts[1], 0) : no_slot;
  op.a = d.source(1, type_bytes(type));
  op.b = d.source(2, type_bytes(type));
  op.flags = i.has("and") ? combine_and : i.has("or") ? combine_or : i.has("xor") ? combine_xor : no_combine;
  if (op.flags != no_combine) {
    op.c = d.source(3, 0);
    op.space = d.operand(3).negated;
  }
  d.emit(op);
}

/// set.lt.u32.f32 d, a, b: all ones or zero (1.0 for a float): a setp into a nameless predicate, then a choice.
template <class T>
void choose_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  const T* const b = warp.in<T>(op.b);
  const std::uint32_t bits = warp.predicate(op.c);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = bits >> lane & 1 ? a[lane] : b[lane]; });
}
Handler choose(std::uint32_t bytes) {
  return bytes == 2   ? choose_operation<std::uint16_t>
         : bytes == 4 ? choose_operation<std::uint32_t>
                      : choose_operation<std::uint64_t>;
}

void decode_set(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  const std::size_t words = i.words.size();
  const std::string result = i.words[words - 2], type = i.words[words - 1];
  if (i.has("and") || i.has("or") || i.has("xor") || i.has("ftz")) d.refuse();
  Operation compare;
  compare.run = comparison(i.words[1], type);
  if (!compare.run || type_bytes(result) < 2) d.refuse();
  compare.d = d.nameless_predicate();
  compare.target = no_slot;
  compare.a = d.source(1, type_bytes(type));
  compare.b = d.source(2, type_bytes(type));
  d.emit(compare);
  const std::uint64_t one = result == "f32" ? 0x3f800000 : result == "f16" ? 0x3c00 : result == "bf16" ? 0x3f80 : ~0ull;
  Operation op;
  op.run = choose(type_bytes(result));
  op.d = d.destination(std::size_t{0}, type_bytes(result));
  op.a = d.constant(one, type_bytes(result));
  op.b = d.constant(0, type_bytes(result));
  op.c = compare.d;
  d.emit(op);
}

void decode_selp(Decoder& d) {
  const std::uint32_t bytes = type_bytes(d.type());
  if (bytes < 2) d.refuse();
  Operation op;
  op.run = choose(bytes);
  op.d = d.destination(std::size_t{0}, bytes);
  op.a = d.source(1, bytes);
  op.b = d.source(2, bytes);
  op.c = d.source(3, 0);
  d.emit(op);
}

/// slct d, a, b, c: a where c >= 0.
template <class T, class C>
void slct_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  const T* const b = warp.in<T>(op.b);
  const C* const c = warp.in<C>(op.c);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = c[lane] >= 0 ? a[lane] : b[lane]; });
}
void decode_slct(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  const std::uint32_t bytes = type_bytes(i.words[i.words.size() - 2]);
  const bool by_float = i.words.back() == "f32";
  Operation op;
  if (bytes == 4)
    op.run = by_float ? slct_operation<std::uint32_t, float> : slct_operation<std::uint32_t, std::int32_t>;
  if (bytes == 8)
    op.run = by_float ? slct_operation<std::uint64_t, float> : slct_operation<std::uint64_t, std::int32_t>;
  if (!op.run) d.refuse();
  op.d = d.destination(std::size_t{0}, bytes);
  op.a = d.source(1, bytes);
  op.b = d.source(2, bytes);
  op.c = d.source(3, 4);
  d.emit(op);
}

}  // namespace

const Family& compare_family() {
  static const Family family = {
      {"setp", decode_setp}, {"set", decode_set}, {"selp", decode_selp}, {"slct", decode_slct}};
  return family;
}

}  // namespace softgpu
