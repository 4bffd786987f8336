// Control: bra brx call ret exit trap, barriers of block and warp, fences.
#include "families.h"
#include "lanes.h"
#include "schedule.h"

namespace softgpu {
namespace {

void branch_operation(Warp& warp, const Operation& op) { branch_lanes(warp, op.target); }

/// brx.idx: `offset` targets in Program::lists. The lanes part by target.
void indexed_branch_operation(Warp& warp, const Operation& op) {
  leave_guarded_off(warp);
  const std::uint32_t* const index = warp.in<std::uint32_t>(op.a);
  for_lanes(warp.mask, [&](std::uint32_t lane) {
    if (index[lane] >= op.offset) fault(warp, lane, cudaErrorIllegalInstruction, "a jump outside its table");
    warp.fragments.push_back({Fragment::runnable, 0, warp.block->program->lists[op.target + index[lane]], 1u << lane});
  });
  warp.active = 0;
  warp.yielded = true;
}

void exit_operation(Warp& warp, const Operation&) { exit_lanes(warp); }

void trap_operation(Warp& warp, const Operation&) {
  fault(warp, static_cast<std::uint32_t>(__builtin_ctz(warp.mask)), cudaErrorLaunchFailure, "trap");
}
void assertion_operation(Warp& warp, const Operation&) {
  fault(warp, static_cast<std::uint32_t>(__builtin_ctz(warp.mask)), cudaErrorAssert, "assertion failed");
}
void nothing_operation(Warp&, const Operation&) {}

/// a: which barrier, b: how many threads (none: all), c: bar.red's predicate, `space` whether it is negated.
void barrier_operation(Warp& warp, const Operation& op) {
  const auto lane = static_cast<std::uint32_t>(__builtin_ctz(warp.mask));
  const std::uint32_t index = warp.in<std::uint32_t>(op.a)[lane];
  const std::uint32_t expected = op.b == no_slot ? warp.block->threads : warp.in<std::uint32_t>(op.b)[lane];
  if (index > 15) fault(warp, lane, cudaErrorLaunchFailure, text("there is no barrier %u", index));
  const std::uint32_t yes = op.c == no_slot ? 0 : warp.predicate(op.c) ^ (op.space ? all_bits : 0);
  wait_at_barrier(warp, static_cast<std::uint8_t>(index), expected, yes);
}

/// __syncwarp: the only operation of a warp that orders its lanes' accesses.
void warp_barrier_operation(Warp& warp, const Operation& op) {
  if (!gather_lanes(warp, op)) return;
  const std::uint32_t stamp = ++warp.block->stamp;
  for_lanes(warp.mask, [&](std::uint32_t lane) { warp.sync_stamp[lane] = stamp; });
}

Operation jump() {
  Operation op;
  op.run = branch_operation;
  return op;
}

void decode_bra(Decoder& d) { d.emit_branch(jump(), d.operand(0).text); }

void decode_brx(Decoder& d) {
  Operation op;
  op.run = indexed_branch_operation;
  op.a = d.source(std::size_t{0}, 4);
  d.emit_indexed_branch(op, d.branch_targets(d.operand(1).text));
}

void decode_ret(Decoder& d) {
  Operation op;
  op.run = exit_operation;
  if (d.instruction().words[0] == "exit") return d.emit(op);
  d.emit_return(op);
}

void decode_call(Decoder& d) {
  Operation assertion;
  assertion.run = assertion_operation;
  d.emit_call(assertion, jump());
}

void decode_trap(Decoder& d) {
  Operation op;
  op.run = trap_operation;
  d.emit(op);
}

void decode_nothing(Decoder& d) {
  Operation op;
  op.run = nothing_operation;
  d.emit(op);
}

/// bar.sync a[, b]; bar.red.popc.u32 d, a[, b], p; bar.warp.sync mask; barrier.* alike.
void decode_bar(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  Operation op;
  if (i.has("warp")) {
    op.run = warp_barrier_operation;
    op.e = d.source(std::size_t{0}, 4);
    return d.emit(op);
  }
  op.run = barrier_operation;
  if (i.has("cluster") || i.has("arrive")) d.refuse();
  if (!i.has("red")) {
    op.a = d.source(std::size_t{0}, 4);
    if (d.operand_count() > 1) op.b = d.source(1, 4);
    return d.emit(op);
  }
  op.flags = i.has("popc") ? 0 : i.has("and") ? 1 : 2;
  op.d = d.destination(std::size_t{0}, op.flags == 0 ? 4 : 0);
  op.a = d.source(1, 4);
  const std::size_t last = d.operand_count() - 1;
  if (last == 3) op.b = d.source(2, 4);
  op.c = d.source(last, 0);
  op.space = d.operand(last).negated;
  d.emit(op);
}

}  // namespace

const Family& control_family() {
  static const Family family = {{"bra", decode_bra},       {"brx", decode_brx},           {"call", decode_call},
                                {"ret", decode_ret},       {"exit", decode_ret},          {"trap", decode_trap},
                                {"bar", decode_bar},       {"barrier", decode_bar},       {"membar", decode_nothing},
                                {"fence", decode_nothing}, {"nanosleep", decode_nothing}, {"pmevent", decode_nothing}};
  return family;
}

}  // namespace softgpu
