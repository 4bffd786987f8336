// Conversions and moves: cvt cvta mov.
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "families.h"
#include "lanes.h"
#include "memory.h"

namespace softgpu {
namespace {

struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

enum Rounding : std::uint8_t { nearest = 0, to_zero = 1, down = 2, up = 3, saturate = 4, relu = 8 };

/// The value of a source type as one to compute with.
template <class S>
auto value_of(S source) {
  if constexpr (std::is_same_v<S, Half>) {
    return from_half(source.bits);
  } else if constexpr (std::is_same_v<S, BFloat16>) {
    return from_bfloat16(source.bits);
  } else {
    return source;
  }
}

template <class V>
V to_integral(V value, std::uint8_t mode) {
  switch (mode & 3) {
    case to_zero: return std::trunc(value);
    case down: return std::floor(value);
    case up: return std::ceil(value);
    default: return std::nearbyint(value);
  }
}

/// To an integer, clamped to its range; NaN is 0, or the least 64-bit number (PTX ISA, cvt).
template <class D, class V>
D clamp_to_integer(V value) {
  if (value != value) return sizeof(D) == 8 ? static_cast<D>(1ull << 63) : D{0};
  if (value <= static_cast<V>(std::numeric_limits<D>::min())) return std::numeric_limits<D>::min();
  if (value >= static_cast<V>(std::numeric_limits<D>::max())) return std::numeric_limits<D>::max();
  return static_cast<D>(value);
}

template <class D, class V>
D integer_to_integer(V value, std::uint8_t mode) {
  if (!(mode & saturate)) return static_cast<D>(value);
  if (std::cmp_less(value, std::numeric_limits<D>::min())) return std::numeric_limits<D>::min();
  if (std::cmp_greater(value, std::numeric_limits<D>::max())) return std::numeric_limits<D>::max();
  return static_cast<D>(value);
}

template <class D, class S>
D convert(S source, std::uint8_t mode, bool integral) {
  const auto value = value_of(source);
  using V = std::remove_const_t<decltype(value)>;
  if constexpr (std::is_integral_v<D> && std::is_integral_v<V>) {
    return integer_to_integer<D>(value, mode);
  } else if constexpr (std::is_integral_v<D>) {
    return clamp_to_integer<D>(to_integral(value, mode));
  } else if constexpr (std::is_same_v<D, Half>) {
    const float narrow = static_cast<float>(value);
    return {half_bits(mode & relu && narrow < 0 ? 0 : narrow, mode & to_zero)};
  } else if constexpr (std::is_same_v<D, BFloat16>) {
    const float narrow = static_cast<float>(value);
    return {bfloat16_bits(mode & relu && narrow < 0 ? 0 : narrow, mode & to_zero)};
  } else {
    D result = static_cast<D>(value);
    if (integral) result = to_integral(result, mode);
    if (mode & saturate) result = result != result ? 0 : std::min(std::max(result, D{0}), D{1});
    return result;
  }
}

/// `flags` is the rounding, `space` whether a float becomes a whole one. Registers may be wider than the types.
template <class D, class S>
void convert_operation(Warp& warp, const Operation& op) {
  if (op.d_bytes == sizeof(D) && op.a_bytes == sizeof(S)) {
    D* const d = warp.out<D>(op.d);
    const S* const a = warp.in<S>(op.a);
    const std::uint8_t mode = op.flags;
    const bool integral = op.space;
    if (mode == 0 && !integral) {
      for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = convert<D>(a[lane], 0, false); });
    } else {
      for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = convert<D>(a[lane], mode, integral); });
    }
    return;
  }
  std::uint8_t* const d = warp.out<std::uint8_t>(op.d);
  const std::uint8_t* const a = warp.in<std::uint8_t>(op.a);
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    S source;
    std::memcpy(&source, a + lane * op.a_bytes, sizeof source);
    const D result = convert<D>(source, op.flags, op.space);
    std::int64_t wide = 0;
    if constexpr (std::is_integral_v<D>) {
      wide = static_cast<std::int64_t>(result);
    } else {
      std::memcpy(&wide, &result, sizeof result);
    }
    std::memcpy(d + lane * op.d_bytes, &wide, op.d_bytes);
  });
}

template <class D>
Handler from_type(const std::string& type) {
  if (type == "s8") return convert_operation<D, std::int8_t>;
  if (type == "u8" || type == "b8") return convert_operation<D, std::uint8_t>;
  if (type == "s16") return convert_operation<D, std::int16_t>;
  if (type == "u16" || type == "b16") return convert_operation<D, std::uint16_t>;
  if (type == "s32") return convert_operation<D, std::int32_t>;
  if (type == "u32" || type == "b32") return convert_operation<D, std::uint32_t>;
  if (type == "s64") return convert_operation<D, std::int64_t>;
  if (type == "u64" || type == "b64") return convert_operation<D, std::uint64_t>;
  if (type == "f16") return convert_operation<D, Half>;
  if (type == "bf16") return convert_operation<D, BFloat16>;
  if (type == "f32") return convert_operation<D, float>;
  if (type == "f64") return convert_operation<D, double>;
  return nullptr;
}

Handler conversion(const std::string& to, const std::string& from) {
  if (to == "s8") return from_type<std::int8_t>(from);
  if (to == "u8") return from_type<std::uint8_t>(from);
  if (to == "s16") return from_type<std::int16_t>(from);
  if (to == "u16") return from_type<std::uint16_t>(from);
  if (to == "s32") return from_type<std::int32_t>(from);
  if (to == "u32") return from_type<std::uint32_t>(from);
  if (to == "s64") return from_type<std::int64_t>(from);
  if (to == "u64") return from_type<std::uint64_t>(from);
  if (to == "f16") return from_type<Half>(from);
  if (to == "bf16") return from_type<BFloat16>(from);
  if (to == "f32") return from_type<float>(from);
  if (to == "f64") return from_type<double>(from);
  return nullptr;
}

/// cvt.rn.bf16x2.f32 d, a, b: a in the upper half.
template <std::uint16_t (*narrow)(float, bool)>
void pack_operation(Warp& warp, const Operation& op) {
  std::uint32_t* const d = warp.out<std::uint32_t>(op.d);
  const float* const a = warp.in<float>(op.a);
  const float* const b = warp.in<float>(op.b);
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    const float high = op.flags & relu && a[lane] < 0 ? 0 : a[lane];
    const float low = op.flags & relu && b[lane] < 0 ? 0 : b[lane];
    d[lane] = std::uint32_t{narrow(high, op.flags & to_zero)} << 16 | narrow(low, op.flags & to_zero);
  });
}

std::uint8_t rounding_of(Decoder& d) {
  std::uint8_t mode = 0;
  const PtxInstruction& i = d.instruction();
  for (std::size_t word = 1; word + 2 < i.words.size(); ++word) {
    const std::string& w = i.words[word];
    if (w == "rz" || w == "rzi")
      mode |= to_zero;
    else if (w == "rmi")
      mode |= down;
    else if (w == "rpi")
      mode |= up;
    else if (w == "sat")
      mode |= saturate;
    else if (w == "relu")
      mode |= relu;
    else if (w != "rn" && w != "rni" && w != "ftz")
      d.refuse();
  }
  return mode;
}

/// cvt.rna.tf32.f32: 10 bits behind the point, halves away from zero.
void round_to_tf32(Warp& warp, const Operation& op) {
  std::uint32_t* const d = warp.out<std::uint32_t>(op.d);
  const std::uint32_t* const a = warp.in<std::uint32_t>(op.a);
  for_lanes(warp.mask, [=](std::uint32_t lane) {
    const bool is_nan = (a[lane] & 0x7fffffff) > 0x7f800000;
    d[lane] = is_nan ? 0x7fffe000 : (a[lane] + 0x1000) & ~0x1fffu;
  });
}

void decode_cvt(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  if (i.words.size() < 3) d.refuse();
  const std::string to = i.words[i.words.size() - 2], from = i.words.back();
  if (to == "tf32") {
    if (!i.has("rna") || from != "f32" || i.words.size() != 4) d.refuse();
    return emit_plain(d, round_to_tf32, 4);
  }
  Operation op;
  op.flags = rounding_of(d);
  if (to == "bf16x2" || to == "f16x2") {
    if (from != "f32" || d.operand_count() != 3) d.refuse();
    op.run = to == "f16x2" ? pack_operation<half_bits> : pack_operation<bfloat16_bits>;
    op.d = d.destination(std::size_t{0}, 4);
    op.a = d.source(1, 4);
    op.b = d.source(2, 4);
    return d.emit(op);
  }
  op.run = conversion(to, from);
  const bool to_smaller_float = to == "f32" && from == "f64";
  if (!op.run || (to_smaller_float && (op.flags & 3))) d.refuse();
  op.space = i.has("rni") || i.has("rzi") || i.has("rmi") || i.has("rpi");
  op.d = d.destination_of_any_width(d.operand(0), op.d_bytes);
  op.a = d.source_of_any_width(d.operand(1), type_bytes(from), op.a_bytes);
  if (op.d_bytes < type_bytes(to) || op.a_bytes < type_bytes(from)) d.refuse("a register is too narrow");
  d.emit(op);
}

/// Generic addresses are those of global memory, or inside one of the windows.
template <class T>
void shift_address_operation(Warp& warp, const Operation& op) {
  std::uint64_t* const d = warp.out<std::uint64_t>(op.d);
  const T* const a = warp.in<T>(op.a);
  const auto offset = static_cast<std::uint64_t>(op.offset);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = a[lane] + offset; });
}

void decode_cvta(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  const DeviceMemory& memory = DeviceMemory::instance();
  std::uint64_t base = 0;
  if (i.has("shared") || i.has("shared::cta")) base = memory.window(0);
  if (i.has("local")) base = memory.window(1);
  if (i.has("param")) base = memory.window(2);
  Operation op;
  op.run = shift_address_operation<std::uint64_t>;
  op.offset = static_cast<std::int64_t>(i.has("to") ? 0 - base : base);
  op.d = d.destination(std::size_t{0}, 8);
  op.a = d.source(1, 8);
  d.emit(op);
}

template <class T>
void move_operation(Warp& warp, const Operation& op) {
  T* const d = warp.out<T>(op.d);
  const T* const a = warp.in<T>(op.a);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = a[lane]; });
}
void move_predicate(Warp& warp, const Operation& op) { warp.set_predicate(op.d, warp.predicate(op.a)); }

/// A register's parts from others, or the other way: `offset` parts, their slots in Program::lists.
template <bool pack>
void parts_operation(Warp& warp, const Operation& op) {
  const auto count = static_cast<std::uint32_t>(op.offset);
  const std::uint32_t part = op.d_bytes / count;
  const Slot* const slots = warp.block->program->lists.data() + op.target;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (slots[i] == no_slot) continue;
    for_lanes(warp.mask, [&](std::uint32_t lane) {
      if (pack) {
        std::memcpy(warp.out<std::uint8_t>(op.d) + lane * op.d_bytes + i * part,
                    warp.in<std::uint8_t>(slots[i]) + lane * part, part);
      } else {
        std::memcpy(warp.out<std::uint8_t>(slots[i]) + lane * part,
                    warp.in<std::uint8_t>(op.a) + lane * op.d_bytes + i * part, part);
      }
    });
  }
}

void decode_parts(Decoder& d, bool pack) {
  const std::uint32_t bytes = type_bytes(d.type());
  const std::vector<PtxOperand>& parts = d.operand(pack ? 1 : 0).parts;
  const std::uint32_t part = bytes / static_cast<std::uint32_t>(parts.size());
  if (part < 2 || bytes > 8) d.refuse();
  std::vector<Slot> slots;
  for (const PtxOperand& each : parts) {
    if (pack)
      slots.push_back(d.source(each, part));
    else
      slots.push_back(each.text == "_" ? no_slot : d.destination(each, part));
  }
  Operation op;
  op.run = pack ? parts_operation<true> : parts_operation<false>;
  op.offset = static_cast<std::int64_t>(slots.size());
  op.target = d.list(slots);
  op.d_bytes = static_cast<std::uint8_t>(bytes);
  if (pack)
    op.d = d.destination(std::size_t{0}, bytes);
  else
    op.a = d.source(1, bytes);
  d.emit(op);
}

void decode_mov(Decoder& d) {
  const std::uint32_t bytes = type_bytes(d.type());
  if (d.type() == "pred") {
    Operation op;
    op.run = move_predicate;
    op.d = d.destination(std::size_t{0}, 0);
    op.a = d.source(1, 0);
    return d.emit(op);
  }
  if (d.operand(0).kind == PtxOperand::vector) return decode_parts(d, false);
  if (d.operand(1).kind == PtxOperand::vector) return decode_parts(d, true);
  emit_plain(d,
             bytes == 2   ? move_operation<std::uint16_t>
             : bytes == 4 ? move_operation<std::uint32_t>
             : bytes == 8 ? move_operation<std::uint64_t>
                          : nullptr,
             bytes);
}

}  // namespace

const Family& convert_family() {
  static const Family family = {{"cvt", decode_cvt}, {"cvta", decode_cvta}, {"mov", decode_mov}};
  return family;
}

}  // namespace softgpu
