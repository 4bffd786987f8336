// Atomic updates: atom red.
#include <set>

#include "access.h"
#include "families.h"
#include "integers.h"
#include "lanes.h"

namespace softgpu {
namespace {

struct Exchange {
  template <class T>
  static T apply(T, T b) {
    return b;
  }
};
struct Increment {  // wraps at b
  template <class T>
  static T apply(T old, T b) {
    return old >= b ? T{0} : static_cast<T>(old + 1);
  }
};
struct Decrement {
  template <class T>
  static T apply(T old, T b) {
    return old == 0 || old > b ? b : static_cast<T>(old - 1);
  }
};
struct CompareAndSwap {
  template <class T>
  static T apply(T old, T expected, T value) {
    return old == expected ? value : old;
  }
};
/// Two bfloat16 or halves side by side.
template <std::uint16_t (*narrow)(float, bool), float (*widen)(std::uint16_t)>
struct AddPair {
  static std::uint32_t apply(std::uint32_t old, std::uint32_t b) {
    const auto half = [&](int shift) {
      return std::uint32_t{narrow(
          widen(static_cast<std::uint16_t>(old >> shift)) + widen(static_cast<std::uint16_t>(b >> shift)), false)};
    };
    return half(0) | half(16) << 16;
  }
};

/// The lanes one after another, in the order asked for: it is what float sums depend on.
template <class Body>
void in_order(const Warp& warp, const Body& body) {
  for (std::uint32_t i = 0; i < warp_lanes; ++i) {
    std::uint32_t lane = i;
    if (settings().order == Order::reverse) lane = warp_lanes - 1 - i;
    if (settings().order == Order::random)
      lane = (i * 5 + static_cast<std::uint32_t>(settings().seed) + warp.block->stamp) % warp_lanes;
    if (warp.mask >> lane & 1) body(lane);
  }
}

template <class F, class T>
void atomic_operation(Warp& warp, const Operation& op) {
  const T* const b = warp.in<T>(op.b);
  const T* const c = op.c == no_slot ? b : warp.in<T>(op.c);
  T* const d = op.d == no_slot ? nullptr : warp.out<T>(op.d);
  const HostAddresses at = check_access(warp, op, addresses_of(warp, op), sizeof(T), AccessKind::atomic);
  in_order(warp, [&](std::uint32_t lane) {
    T old;
    std::memcpy(&old, at.of[lane], sizeof old);
    T value;
    if constexpr (requires { F::apply(old, old, old); }) {
      value = F::apply(old, b[lane], c[lane]);
    } else {
      value = F::apply(old, b[lane]);
    }
    std::memcpy(at.of[lane], &value, sizeof value);
    if (d) d[lane] = old;
  });
}

template <class F>
Handler bitwise(std::uint32_t bytes) {
  return bytes == 2   ? atomic_operation<F, std::uint16_t>
         : bytes == 4 ? atomic_operation<F, std::uint32_t>
         : bytes == 8 ? atomic_operation<F, std::uint64_t>
                      : nullptr;
}
template <class F>
Handler ordered(const std::string& type) {
  if (type == "s32") return atomic_operation<F, std::int32_t>;
  if (type == "s64") return atomic_operation<F, std::int64_t>;
  return type[0] == 'u' ? bitwise<F>(type_bytes(type)) : nullptr;
}

Handler atomic_handler(const std::string& function, const std::string& type) {
  if (function == "add") {
    if (type == "f32") return atomic_operation<Add, float>;
    if (type == "f64") return atomic_operation<Add, double>;
    if (type == "bf16x2") return atomic_operation<AddPair<bfloat16_bits, from_bfloat16>, std::uint32_t>;
    if (type == "f16x2") return atomic_operation<AddPair<half_bits, from_half>, std::uint32_t>;
    return type[0] == 'u' || type[0] == 's' ? bitwise<Add>(type_bytes(type)) : nullptr;
  }
  if (function == "min") return ordered<Minimum>(type);
  if (function == "max") return ordered<Maximum>(type);
  if (function == "and") return bitwise<And>(type_bytes(type));
  if (function == "or") return bitwise<Or>(type_bytes(type));
  if (function == "xor") return bitwise<Xor>(type_bytes(type));
  if (function == "exch") return bitwise<Exchange>(type_bytes(type));
  if (function == "cas") return bitwise<CompareAndSwap>(type_bytes(type));
  if (function == "inc") return atomic_operation<Increment, std::uint32_t>;
  if (function == "dec") return atomic_operation<Decrement, std::uint32_t>;
  return nullptr;
}

/// atom.global.add.f32 d, [a], b; red is the same without a result.
void decode_atomic(Decoder& d) {
  static const std::set<std::string> functions = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"};
  static const std::set<std::string> harmless = {"relaxed", "acquire", "release", "acq_rel",
                                                 "gpu",     "cta",     "sys",     "noftz"};
  const PtxInstruction& i = d.instruction();
  const std::string type = d.type();
  std::string function;
  Operation op;
  for (std::size_t word = 1; word + 1 < i.words.size(); ++word) {
    const std::string& w = i.words[word];
    if (w == "global")
      op.space = space_global;
    else if (w == "shared" || w == "shared::cta")
      op.space = space_shared;
    else if (functions.count(w))
      function = w;
    else if (!harmless.count(w))
      d.refuse();
  }
  op.run = atomic_handler(function, type);
  const bool has_result = i.words[0] == "atom";
  const std::size_t first = has_result ? 1 : 0;
  const std::uint32_t bytes = type_bytes(type);
  if (!op.run || d.operand(first + 1).kind == PtxOperand::vector) d.refuse();
  if (has_result && d.operand(0).text != "_") op.d = d.destination(std::size_t{0}, bytes);
  d.address(d.operand(first), op);
  op.b = d.source(first + 1, bytes);
  if (function == "cas") op.c = d.source(first + 2, bytes);
  if (function == "add" && type[0] != 'u' && type[0] != 's') d.mark_float_sum();
  d.emit(op);
}

}  // namespace

const Family& atomic_family() {
  static const Family family = {{"atom", decode_atomic}, {"red", decode_atomic}};
  return family;
}

}  // namespace softgpu
