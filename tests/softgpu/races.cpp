#include "races.h"

#include <array>
#include <vector>

#include "runtime.h"
#include "streams.h"

namespace softgpu {
namespace {

static_assert(work_ids <= split_tag, "no work has the identity that marks split cells");

using SplitCell = std::array<AccessCell, 4>;
std::vector<SplitCell>& split_cells() {
  static auto* const cells = new std::vector<SplitCell>;
  return *cells;
}

bool is_split(const AccessCell& cell) { return cell.write >> work_shift == split_tag; }

SplitCell& split(AccessCell& cell) {
  if (!is_split(cell)) {
    split_cells().push_back({cell, cell, cell, cell});
    cell.write = split_tag << work_shift | (split_cells().size() - 1);
  }
  return split_cells()[cell.write & 0xffffffff];
}

/// Whether a half-cell belongs to the past that no ordering question can concern.
bool stale(std::uint64_t half, const Accessor& who, bool shared) {
  if (half == 0) return true;
  const std::uint32_t work = static_cast<std::uint32_t>(half >> work_shift);
  if (work != who.work) return shared || ordered_before_current(work);
  return shared && (half >> 32 & 0xfffff) != (who.block & 0xfffff);
}

/// Whether an access that isn't stale is nevertheless ordered before `who`.
bool ordered(const Access& before, const Accessor& who) {
  if (before.work != who.work || before.block != (who.block & 0xfffff) || before.many_blocks) return false;
  if (before.stamp < who.block_stamp) return true;
  if (before.many_warps) return false;
  if (before.thread / 32 == who.thread / 32 && before.stamp < who.warp_stamp) return true;
  return !before.many_lanes && before.thread == who.thread;
}

Race compare(std::uint64_t half, const Accessor& who, bool shared, bool with_write) {
  if (stale(half, who, shared)) return {};
  const Access before = unpack(half);
  if ((before.atomic && who.atomic) || ordered(before, who)) return {};
  const bool other_block = before.work == who.work && (before.block != (who.block & 0xfffff) || before.many_blocks);
  return {true, with_write, other_block, before};
}

/// What the half-cell holds once `who` has been there.
std::uint64_t noted(std::uint64_t half, const Accessor& who, bool shared) {
  const std::uint64_t mine = pack(who);
  if (stale(half, who, shared)) return mine;
  const Access before = unpack(half);
  if (before.work != who.work) return mine;
  std::uint64_t flags = half & many_blocks_flag;
  if (before.block != (who.block & 0xfffff)) return mine | many_blocks_flag;
  if (ordered(before, who) || before.stamp < who.block_stamp) return mine | flags;
  flags |= half & (many_lanes_flag | many_warps_flag);
  if (before.thread / 32 != who.thread / 32) flags |= many_warps_flag;
  if (before.thread != who.thread) flags |= many_lanes_flag;
  return mine | flags;
}

Race access_whole(AccessCell& cell, bool write, const Accessor& who, bool shared) {
  if (access_quickly(cell, write, who, ordered_work(), shared)) return {};
  Race race = compare(cell.write, who, shared, true);
  if (write && !race.found) race = compare(cell.read, who, shared, false);
  std::uint64_t& half = write ? cell.write : cell.read;
  half = noted(half, who, shared);
  return race;
}

}  // namespace

Access unpack(std::uint64_t half) {
  return {static_cast<std::uint32_t>(half >> work_shift),
          static_cast<std::uint32_t>(half >> 32 & 0xfffff),
          static_cast<std::uint32_t>(half >> 22 & 0x3ff),
          static_cast<std::uint32_t>(half >> 4 & 0x3ffff),
          (half & atomic_flag) != 0,
          (half & many_lanes_flag) != 0,
          (half & many_warps_flag) != 0,
          (half & many_blocks_flag) != 0};
}

Race access_cell(AccessCell& cell, unsigned first, unsigned bytes, bool write, const Accessor& who, bool shared) {
  if (bytes == 4 && !is_split(cell)) return access_whole(cell, write, who, shared);
  SplitCell& parts = split(cell);
  Race race;
  for (unsigned i = first; i < first + bytes; ++i) {
    const Race one = access_whole(parts[i], write, who, shared);
    if (one.found) race = one;
  }
  return race;
}

void access_range(std::uint64_t address, std::uint64_t bytes, bool write) {
  if (!settings().check_races) return;
  DeviceMemory& memory = DeviceMemory::instance();
  Accessor who;
  who.work = current_work_id();
  for (std::uint64_t at = address; at < address + bytes;) {
    const unsigned first = static_cast<unsigned>(at % 4);
    const unsigned count = static_cast<unsigned>(std::min<std::uint64_t>(4 - first, address + bytes - at));
    const Race race = access_cell(*memory.cells_at(at), first, count, write, who, false);
    if (race.found) {
      throw DeviceError{cudaErrorLaunchFailure,
                        text("race between streams: %s %s what %s %s, and neither waits for the other: %s",
                             running().c_str(), write ? "writes" : "reads", work_name(race.other.work).c_str(),
                             race.with_write ? "wrote" : "read", memory.describe(at).c_str())};
    }
    at += count;
  }
}

unsigned bytes_of_split(const AccessCell& cell, std::uint64_t work, bool written) {
  unsigned bytes = 0;
  for (const AccessCell& part : split_cells()[cell.write & 0xffffffff]) {
    bytes += (written ? part.write : part.read) >> work_shift == work ? 1 : 0;
  }
  return bytes;
}

void forget_all_accesses() {
  DeviceMemory::instance().discard_cells();
  split_cells().clear();
}

}  // namespace softgpu
