// Copies to shared memory that a thread begins and waits for later: cp.async, commit_group, wait_group, wait_all.
//
// Nobody knows when such a copy happens. Here it is as late as it may be: the bytes are there when their thread has waited
// for them, and until then nobody may touch them. For other threads that wait is the write, so a barrier must follow.
#include <cstring>

#include "access.h"
#include "families.h"
#include "lanes.h"

namespace softgpu {
namespace {

Operation shared_access() {
  Operation op;
  op.space = space_shared;
  return op;
}

/// Source: a, offset, space and flags. Destination: b, and target as offset. `c`: the bytes to read, if given; `d_bytes`
/// are to write.
void copy_operation(Warp& warp, const Operation& op) {
  const std::uint32_t bytes = op.d_bytes, lanes = warp.mask;
  Operation to = shared_access();
  to.a = op.b;
  to.offset = op.target;
  AsyncCopy copy{.lanes = lanes, .bytes = bytes};
  const Addresses destinations = addresses_of(warp, to);
  const HostAddresses arrives = check_access(warp, to, destinations, bytes, AccessKind::write);
  std::uint32_t reading = lanes;
  for_lanes(lanes, [&](std::uint32_t lane) {
    const std::uint32_t wanted = op.c == no_slot ? bytes : warp.in<std::uint32_t>(op.c)[lane];
    if (wanted == 0) reading &= ~(1u << lane);
    if (wanted != 0 && wanted != bytes) {
      fault(warp, lane, cudaErrorLaunchFailure,
            text("copies %u of %u bytes; this software GPU knows all or none", wanted, bytes));
    }
    Block& block = *warp.block;
    std::memset(block.shared_states.data() + (arrives.of[lane] - block.shared.data()), byte_arriving, bytes);
    copy.to[lane] = destinations.of[lane];
    copy.group[lane] = warp.async_groups[lane];
  });
  warp.mask = reading;
  const HostAddresses from = check_access(warp, op, addresses_of(warp, op), bytes, AccessKind::read);
  for_lanes(reading, [&](std::uint32_t lane) { std::memcpy(copy.data[lane], from.of[lane], bytes); });
  warp.mask = lanes;
  warp.async_copies.push_back(copy);
}

void commit_operation(Warp& warp, const Operation&) {
  for_lanes(warp.mask, [&](std::uint32_t lane) { ++warp.async_groups[lane]; });
}

/// The bytes of the lanes in `lanes` arrive.
void finish(Warp& warp, const AsyncCopy& copy, std::uint32_t lanes) {
  const Operation to = shared_access();
  Block& block = *warp.block;
  Addresses addresses{};
  for_lanes(lanes, [&](std::uint32_t lane) {
    addresses.of[lane] = copy.to[lane];
    std::memset(block.shared_states.data() + copy.to[lane], byte_uninitialised, copy.bytes);
  });
  const std::uint32_t mask = warp.mask;
  warp.mask = lanes;
  const HostAddresses arrives = check_access(warp, to, addresses, copy.bytes, AccessKind::write);
  for_lanes(lanes, [&](std::uint32_t lane) { std::memcpy(arrives.of[lane], copy.data[lane], copy.bytes); });
  warp.mask = mask;
}

/// All groups but the last `offset` committed ones arrive; -1: what no group has yet, too.
void wait_operation(Warp& warp, const Operation& op) {
  for (AsyncCopy& copy : warp.async_copies) {
    std::uint32_t done = 0;
    for_lanes(warp.mask & copy.lanes, [&](std::uint32_t lane) {
      const bool arrives = std::int64_t{copy.group[lane]} + op.offset < std::int64_t{warp.async_groups[lane]};
      done |= std::uint32_t{arrives} << lane;
    });
    if (done == 0) continue;
    finish(warp, copy, done);
    copy.lanes &= ~done;
  }
  std::erase_if(warp.async_copies, [](const AsyncCopy& copy) { return copy.lanes == 0; });
}

void decode_copy(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  const bool to_shared = i.has("shared") || i.has("shared::cta");
  if (!to_shared || !i.has("global") || i.has("bulk") || d.operand(2).kind != PtxOperand::immediate) d.refuse();
  Operation op, to;
  op.run = copy_operation;
  d.address(d.operand(0), to);
  if (to.flags != 0) d.refuse("an address of 64 bits in shared memory");
  d.address(d.operand(1), op);
  op.space = space_global;
  op.b = to.a;
  op.target = static_cast<std::uint32_t>(to.offset);
  op.d_bytes = static_cast<std::uint8_t>(d.operand(2).value);
  if (op.d_bytes != 16 && (i.has("cg") || (op.d_bytes != 4 && op.d_bytes != 8))) d.refuse("another number of bytes");
  if (d.operand_count() > 3) op.c = d.source(3, 4);
  d.emit(op);
}

void decode_cp(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  if (i.words.size() < 3 || i.words[1] != "async") d.refuse();
  Operation op;
  if (i.words[2] == "commit_group") {
    op.run = commit_operation;
  } else if (i.words[2] == "wait_group" || i.words[2] == "wait_all") {
    op.run = wait_operation;
    op.offset = i.words[2] == "wait_all" ? -1 : static_cast<std::int64_t>(d.operand(0).value);
  } else {
    return decode_copy(d);
  }
  d.emit(op);
}

}  // namespace

const Family& async_family() {
  static const Family family = {{"cp", decode_cp}};
  return family;
}

}  // namespace softgpu
