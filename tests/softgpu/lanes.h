// Operations that do the same in each lane, and nothing else: handlers made from a function of one lane's values.
#pragma once

#include <cstring>

#include "decoder.h"
#include "warp.h"

namespace softgpu {

/// d = F::apply(a) in each running lane; and so on for two and three operands. R is d's type, T that of the operands.
template <class F, class R, class T = R>
void unary_operation(Warp& warp, const Operation& op) {
  R* const d = warp.out<R>(op.d);
  const T* const a = warp.in<T>(op.a);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = F::apply(a[lane]); });
}

template <class F, class R, class T = R, class U = T>
void binary_operation(Warp& warp, const Operation& op) {
  R* const d = warp.out<R>(op.d);
  const T* const a = warp.in<T>(op.a);
  const U* const b = warp.in<U>(op.b);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = F::apply(a[lane], b[lane]); });
}

template <class F, class R, class T = R, class U = T>
void ternary_operation(Warp& warp, const Operation& op) {
  R* const d = warp.out<R>(op.d);
  const T* const a = warp.in<T>(op.a);
  const T* const b = warp.in<T>(op.b);
  const U* const c = warp.in<U>(op.c);
  for_lanes(warp.mask, [=](std::uint32_t lane) { d[lane] = F::apply(a[lane], b[lane], c[lane]); });
}

/// Decodes "op d, a" to "op d, a, b, c", all of `bytes` bytes.
inline void emit_plain(Decoder& decoder, Handler run, std::uint32_t bytes, std::uint8_t flags = 0) {
  if (!run) decoder.refuse();
  Operation op;
  op.run = run;
  op.flags = flags;
  op.d = decoder.destination(std::size_t{0}, bytes);
  if (decoder.operand_count() > 1) op.a = decoder.source(1, bytes);
  if (decoder.operand_count() > 2) op.b = decoder.source(2, bytes);
  if (decoder.operand_count() > 3) op.c = decoder.source(3, bytes);
  decoder.emit(op);
}

/// The handler for an integer type, by its width, and by its sign too with the second. Null for other types.
template <class F>
Handler unsigned_binary(std::uint32_t bytes) {
  switch (bytes) {
    case 2: return binary_operation<F, std::uint16_t>;
    case 4: return binary_operation<F, std::uint32_t>;
    case 8: return binary_operation<F, std::uint64_t>;
    default: return nullptr;
  }
}
template <class F>
Handler signed_binary(const std::string& type) {
  if (type == "s16") return binary_operation<F, std::int16_t>;
  if (type == "s32") return binary_operation<F, std::int32_t>;
  if (type == "s64") return binary_operation<F, std::int64_t>;
  return type[0] == 'u' || type[0] == 'b' ? unsigned_binary<F>(type_bytes(type)) : nullptr;
}
template <class F>
Handler unsigned_unary(std::uint32_t bytes) {
  switch (bytes) {
    case 2: return unary_operation<F, std::uint16_t>;
    case 4: return unary_operation<F, std::uint32_t>;
    case 8: return unary_operation<F, std::uint64_t>;
    default: return nullptr;
  }
}

}  // namespace softgpu
