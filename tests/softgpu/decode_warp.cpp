// What the lanes of a warp do together: shfl vote match redux activemask, and bar.warp.sync.
//
// The lanes that the mask names meet: those that come first wait for the others. Lanes that have exited don't count,
// but their registers can't be read (CUDA programming guide, "warp shuffle functions").
#include <set>

#include "families.h"
#include "lanes.h"
#include "schedule.h"

namespace softgpu {
namespace {

enum ShuffleMode { up, down, butterfly, indexed };

/// shfl.sync d|p, a, b, c, mask: PTX ISA's pseudo-code. `offset` is the mode, `target` the slot of p.
void shuffle_operation(Warp& warp, const Operation& op) {
  if (!gather_lanes(warp, op)) return;
  std::uint32_t* const d = warp.out<std::uint32_t>(op.d);
  const std::uint32_t* const a = warp.in<std::uint32_t>(op.a);
  const std::uint32_t* const b = warp.in<std::uint32_t>(op.b);
  const std::uint32_t* const c = warp.in<std::uint32_t>(op.c);
  std::uint32_t result[warp_lanes] = {};
  std::uint32_t inside = 0;
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    const std::uint32_t segment = c[lane] >> 8 & 31, clamp = c[lane] & 31, step = b[lane] & 31;
    const auto most = static_cast<std::int32_t>((lane & segment) | (clamp & ~segment));
    const auto self = static_cast<std::int32_t>(lane);
    std::int32_t from = 0;
    bool valid = false;
    switch (op.offset) {
      case up: from = self - static_cast<std::int32_t>(step), valid = from >= most; break;
      case down: from = self + static_cast<std::int32_t>(step), valid = from <= most; break;
      case butterfly: from = self ^ static_cast<std::int32_t>(step), valid = from <= most; break;
      default: from = static_cast<std::int32_t>((lane & segment) | (step & ~segment)), valid = from <= most;
    }
    if (!valid) from = self;
    if (!(warp.mask >> from & 1)) {
      fault(warp, lane, cudaErrorLaunchFailure,
            text("a shuffle reads from lane %d, which %s", from,
                 warp.alive >> from & 1 ? "isn't in the mask" : "has exited or never was"));
    }
    result[lane] = a[from];
    inside |= std::uint32_t{valid} << lane;
  });
  for_lanes(warp.mask, [&](std::uint32_t lane) { d[lane] = result[lane]; });
  warp.set_predicate(op.target, inside);
}

/// vote.sync: `space` is whether the predicate is negated, `offset` the function.
enum VoteMode { all, any, uniform, ballot };
void vote_operation(Warp& warp, const Operation& op) {
  if (!gather_lanes(warp, op)) return;
  const std::uint32_t bits = (warp.predicate(op.a) ^ (op.space ? all_bits : 0)) & warp.mask;
  switch (op.offset) {
    case all: return warp.set_predicate(op.d, bits == warp.mask ? all_bits : 0);
    case any: return warp.set_predicate(op.d, bits != 0 ? all_bits : 0);
    case uniform: return warp.set_predicate(op.d, bits == 0 || bits == warp.mask ? all_bits : 0);
    default: for_lanes(warp.mask, [&](std::uint32_t lane) { warp.out<std::uint32_t>(op.d)[lane] = bits; });
  }
}

/// match.sync: which lanes hold the same value; `offset` is 1 for match.all.
template <class T>
void match_operation(Warp& warp, const Operation& op) {
  if (!gather_lanes(warp, op)) return;
  const T* const a = warp.in<T>(op.a);
  std::uint32_t result[warp_lanes] = {};
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    for_lanes(warp.mask, [&](std::uint32_t other) { result[lane] |= std::uint32_t{a[lane] == a[other]} << other; });
  });
  const bool everyone = result[__builtin_ctz(warp.mask)] == warp.mask;
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    warp.out<std::uint32_t>(op.d)[lane] = op.offset == 0 ? result[lane] : everyone ? warp.mask : 0;
  });
  warp.set_predicate(op.target, everyone ? all_bits : 0);
}

enum ReduxFunction { redux_add, redux_minimum, redux_maximum, redux_and, redux_or, redux_xor };
template <class T>
void redux_operation(Warp& warp, const Operation& op) {
  if (!gather_lanes(warp, op)) return;
  const T* const a = warp.in<T>(op.a);
  T result = a[__builtin_ctz(warp.mask)];
  for (std::uint32_t rest = warp.mask & (warp.mask - 1); rest != 0; rest &= rest - 1) {
    const T value = a[__builtin_ctz(rest)];
    switch (op.offset) {
      case redux_add:
        result = static_cast<T>(static_cast<std::uint32_t>(result) + static_cast<std::uint32_t>(value));
        break;
      case redux_minimum: result = std::min(result, value); break;
      case redux_maximum: result = std::max(result, value); break;
      case redux_and: result &= value; break;
      case redux_or: result |= value; break;
      default: result ^= value;
    }
  }
  for_lanes(warp.mask, [&](std::uint32_t lane) { warp.out<T>(op.d)[lane] = result; });
}

void active_mask_operation(Warp& warp, const Operation& op) {
  for_lanes(warp.mask, [&](std::uint32_t lane) { warp.out<std::uint32_t>(op.d)[lane] = warp.mask; });
}

template <class T>
T choose(Decoder& d, const std::map<std::string, T>& choices) {
  for (const std::string& word : d.instruction().words) {
    if (const auto found = choices.find(word); found != choices.end()) return found->second;
  }
  d.refuse();
}

/// d|p, or d alone.
void decode_result(Decoder& d, Operation& op, std::uint32_t bytes) {
  const PtxOperand& result = d.operand(0);
  const bool pair = result.kind == PtxOperand::vector;
  op.d = d.destination(pair ? result.parts[0] : result, bytes);
  op.target = pair ? d.destination(result.parts[1], 0) : no_slot;
}

void decode_shfl(Decoder& d) {
  if (!d.instruction().has("sync")) d.refuse("shuffles without .sync don't exist on sm_70 and later");
  Operation op;
  op.run = shuffle_operation;
  op.offset = choose<ShuffleMode>(d, {{"up", up}, {"down", down}, {"bfly", butterfly}, {"idx", indexed}});
  decode_result(d, op, 4);
  op.a = d.source(1, 4);
  op.b = d.source(2, 4);
  op.c = d.source(3, 4);
  op.e = d.source(4, 4);
  d.emit(op);
}

void decode_vote(Decoder& d) {
  if (!d.instruction().has("sync")) d.refuse("votes without .sync don't exist on sm_70 and later");
  Operation op;
  op.run = vote_operation;
  op.offset = choose<VoteMode>(d, {{"all", all}, {"any", any}, {"uni", uniform}, {"ballot", ballot}});
  op.d = d.destination(std::size_t{0}, op.offset == ballot ? 4 : 0);
  op.a = d.source(1, 0);
  op.space = d.operand(1).negated;
  op.e = d.source(2, 4);
  d.emit(op);
}

void decode_match(Decoder& d) {
  const std::uint32_t bytes = type_bytes(d.type());
  Operation op;
  op.run = bytes == 8 ? match_operation<std::uint64_t> : match_operation<std::uint32_t>;
  op.offset = d.instruction().has("all");
  decode_result(d, op, 4);
  op.a = d.source(1, bytes);
  op.e = d.source(2, 4);
  d.emit(op);
}

void decode_redux(Decoder& d) {
  Operation op;
  if (d.type() == "f32") d.refuse();
  op.run = d.type() == "s32" ? redux_operation<std::int32_t> : redux_operation<std::uint32_t>;
  op.offset = choose<ReduxFunction>(d, {{"add", redux_add},
                                        {"min", redux_minimum},
                                        {"max", redux_maximum},
                                        {"and", redux_and},
                                        {"or", redux_or},
                                        {"xor", redux_xor}});
  op.d = d.destination(std::size_t{0}, 4);
  op.a = d.source(1, 4);
  op.e = d.source(2, 4);
  d.emit(op);
}

void decode_activemask(Decoder& d) {
  Operation op;
  op.run = active_mask_operation;
  op.d = d.destination(std::size_t{0}, 4);
  d.emit(op);
}

}  // namespace

const Family& warp_family() {
  static const Family family = {{"shfl", decode_shfl},
                                {"vote", decode_vote},
                                {"match", decode_match},
                                {"redux", decode_redux},
                                {"activemask", decode_activemask}};
  return family;
}

}  // namespace softgpu
