// Who accessed what last. Each four bytes of device or shared memory have a cell for their last write and one for their
// last read: which work, block and thread, and how many synchronisations its block had seen by then. Two accesses to
// the same bytes race when at least one writes, they aren't both atomic, and nothing orders them: neither a barrier of
// the block, nor one of the warp, nor a stream, an event or the host.
#pragma once

#include <cstdint>

#include "memory.h"

namespace softgpu {

/// The access's side of the comparison.
struct Accessor {
  std::uint32_t work = 0;  // current_work_id()
  std::uint32_t block = 0;
  std::uint32_t thread = 0;       // in the block
  std::uint32_t stamp = 0;        // synchronisations of the block so far
  std::uint32_t block_stamp = 0;  // ... at its last block-wide barrier
  std::uint32_t warp_stamp = 0;   // ... at this thread's last warp-wide one
  bool atomic = false;
};

/// A cell's half, taken apart. 64 bits: work 12, block 20, thread 10, stamp 18, flags 4. Larger grids and longer blocks
/// wrap around, which can hide a race. The flags `many_*` say that unordered threads made this access, the last of
/// which is named: lanes of one warp, warps of one block, blocks.
struct Access {
  std::uint32_t work, block, thread, stamp;
  bool atomic, many_lanes, many_warps, many_blocks;
};
constexpr int work_shift = 52;
/// In place of a work's identity: the cell's bytes differ, and the rest is an index into a table of four cells.
constexpr std::uint64_t split_tag = 0xfff;
constexpr std::uint64_t atomic_flag = 1, many_lanes_flag = 2, many_warps_flag = 4, many_blocks_flag = 8;
constexpr std::uint64_t pack(const Accessor& who) {
  return std::uint64_t{who.work} << work_shift | std::uint64_t{who.block & 0xfffff} << 32 |
         std::uint64_t{who.thread} << 22 | std::uint64_t{who.stamp & 0x3ffff} << 4 | (who.atomic ? atomic_flag : 0);
}
Access unpack(std::uint64_t cell);

/// What an access races with.
struct Race {
  bool found = false;
  bool with_write = false;
  bool other_block = false;  // of the same launch
  Access other{};
};

/// What orders the running work after other work: by identity, 1 where it is known to (streams.h).
const std::uint8_t* ordered_work();

/// Whether an earlier access can't race with `who`, decided without a call. False: it may, or it isn't known yet.
inline bool is_settled(std::uint64_t half, const Accessor& who, const std::uint8_t* ordered, bool shared) {
  if (half == 0) return true;
  const auto work = static_cast<std::uint32_t>(half >> work_shift);
  if (work != who.work) return shared || ordered[work] == 1;
  if ((half >> 32 & 0xfffff) != (who.block & 0xfffff)) return shared;
  if (half & many_blocks_flag) return false;
  if ((half >> 4 & 0x3ffff) < who.block_stamp) return true;
  return !(half & (many_lanes_flag | many_warps_flag)) && (half >> 22 & 0x3ff) == who.thread;
}

/// The usual case of access_cell, for whole cells: true where there is no race and the access has been noted.
inline bool access_quickly(AccessCell& cell, bool write, const Accessor& who, const std::uint8_t* ordered,
                           bool shared) {
  if (cell.write >> work_shift == split_tag || !is_settled(cell.write, who, ordered, shared)) return false;
  const std::uint64_t mine = pack(who);
  const bool read_settled = is_settled(cell.read, who, ordered, shared);
  if (write) {
    if (read_settled) cell.write = mine;
    return read_settled;
  }
  std::uint64_t flags = 0;
  if (!read_settled && cell.read >> work_shift == who.work) {  // one more reader
    if (who.warp_stamp > who.block_stamp) return false;
    const bool other_block = (cell.read >> 32 & 0xfffff) != (who.block & 0xfffff);
    const std::uint64_t other_thread = (cell.read >> 22 & 0x3ff) ^ who.thread;
    flags = other_block ? many_blocks_flag
                        : (cell.read & (many_blocks_flag | many_lanes_flag | many_warps_flag)) |
                              (other_thread ? many_lanes_flag : 0) | (other_thread >> 5 ? many_warps_flag : 0);
  }
  cell.read = mine | flags;
  return true;
}

/// Compares an access to `bytes` bytes at offset `first` (0..3) of a cell with what the cell holds, and notes it there.
/// `shared`: the cell is a block's shared memory, of which other blocks and other work know nothing.
Race access_cell(AccessCell& cell, unsigned first, unsigned bytes, bool write, const Accessor& who, bool shared);

/// The same over a range of device memory by the running copy or host work, in a report of its own.
void access_range(std::uint64_t address, std::uint64_t bytes, bool write);

/// How many of a cell's bytes `work` was the last to write, or to read.
unsigned bytes_of_split(const AccessCell& cell, std::uint64_t work, bool written);
inline unsigned bytes_of(const AccessCell& cell, std::uint64_t work, bool written) {
  if (cell.write >> work_shift == split_tag) return bytes_of_split(cell, work, written);
  return (written ? cell.write : cell.read) >> work_shift == work ? 4 : 0;
}

/// After the identities of work have wrapped around.
void forget_all_accesses();

}  // namespace softgpu
