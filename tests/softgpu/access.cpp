#include "access.h"

#include <cstring>

#include "pinned.h"
#include "streams.h"

namespace softgpu {
namespace {

/// One flat piece of memory with its shadows: device memory, or a block's shared memory.
struct Region {
  std::uint64_t base = 0, bytes = 0;
  std::uint8_t* storage = nullptr;
  std::uint8_t* states = nullptr;
  AccessCell* cells = nullptr;
  bool shared = false;
  const std::uint8_t* ordered = nullptr;  // ordered_work(); null where races aren't checked
};

const char* verb(AccessKind kind) {
  return kind == AccessKind::read ? "reads" : kind == AccessKind::write ? "writes" : "atomically updates";
}

unsigned long long number(std::uint64_t value) { return value; }

std::string describe_shared(const Block& block, std::uint64_t address) {
  const SharedArray* nearest = nullptr;
  std::uint64_t distance = ~0ull;
  std::vector<SharedArray> arrays = block.program->shared;
  if (block.launch->dynamic_shared) {
    arrays.push_back({block.program->shared_bytes, block.launch->dynamic_shared, "dynamic shared memory"});
  }
  for (const SharedArray& each : arrays) {
    const std::uint64_t away = address < each.offset                 ? each.offset - address
                               : address >= each.offset + each.bytes ? address - each.offset - each.bytes
                                                                     : 0;
    if (away < distance) nearest = &each, distance = away;
  }
  if (!nearest) return "the block has no shared memory";
  const bool before = address < nearest->offset;
  const bool inside = !before && address < nearest->offset + nearest->bytes;
  return text("%llu bytes %s shared %s of %u bytes", number(inside ? address - nearest->offset : distance),
              inside   ? "into"
              : before ? "before"
                       : "past the end of",
              demangled(nearest->name).c_str(), nearest->bytes);
}

std::string place(const Warp& warp, const Region& region, std::uint64_t address) {
  return region.shared ? describe_shared(*warp.block, address) : DeviceMemory::instance().describe(address);
}

[[noreturn]] void fault_bounds(const Warp& warp, std::uint32_t lane, const Region& region, std::uint64_t address,
                               std::uint32_t bytes, AccessKind kind) {
  std::uint64_t stray = address;
  const bool inside = region.storage && address - region.base < region.bytes;
  for (std::uint32_t i = 0; inside && i + 1 < bytes && region.states[address - region.base + i] != byte_inaccessible;
       ++i) {
    stray = address + i + 1;
  }
  fault(warp, lane, cudaErrorIllegalAddress,
        text("%s %u bytes out of bounds: ", verb(kind), bytes) + place(warp, region, stray));
}

[[noreturn]] void fault_race(const Warp& warp, std::uint32_t lane, const Region& region, std::uint64_t address,
                             AccessKind kind, const Race& race) {
  const Block& block = *warp.block;
  std::string other;
  if (race.other.work != block.work) {
    other = work_name(race.other.work) + ", which isn't ordered with this kernel by stream, event or host";
  } else if (race.other_block) {
    other = text("block %u, and nothing orders blocks", race.other.block);
  } else {
    other = "thread " + thread_name(block, race.other.thread) + " of the same block since the last barrier";
  }
  fault(warp, lane, cudaErrorLaunchFailure,
        text("race: %s what was %s by ", verb(kind), race.with_write ? "written" : "read") + other + ": " +
            place(warp, region, address));
}

/// The cells of one lane's access.
void check_races(const Warp& warp, std::uint32_t lane, const Region& region, std::uint64_t address, std::uint32_t bytes,
                 AccessKind kind, Accessor& who) {
  who.thread = warp.index * warp_lanes + lane;
  who.warp_stamp = warp.sync_stamp[lane];
  const std::uint64_t offset = address - region.base;
  AccessCell* cell = region.cells + offset / 4;
  for (std::uint32_t done = 0; done < bytes; ++cell) {
    if (bytes % 4 == 0 && access_quickly(*cell, kind != AccessKind::read, who, region.ordered, region.shared)) {
      done += 4;
      continue;
    }
    const auto first = static_cast<unsigned>((offset + done) % 4);
    const unsigned count = std::min(4 - first, bytes - done);
    const Race race = access_cell(*cell, first, count, kind != AccessKind::read, who, region.shared);
    if (race.found) fault_race(warp, lane, region, address + done, kind, race);
    done += count;
  }
}

template <class Word>
bool all_initialised(const std::uint8_t* states) {
  Word word;
  std::memcpy(&word, states, sizeof word);
  return word == static_cast<Word>(0x0202020202020202ull);
}

/// Whether all `bytes` states are "initialised"; the sizes of accesses are powers of two.
bool all_initialised(const std::uint8_t* states, std::uint32_t bytes) {
  switch (bytes) {
    case 1: return all_initialised<std::uint8_t>(states);
    case 2: return all_initialised<std::uint16_t>(states);
    case 4: return all_initialised<std::uint32_t>(states);
    default: break;
  }
  for (std::uint32_t i = 0; i < bytes; i += 8) {
    if (!all_initialised<std::uint64_t>(states + i)) return false;
  }
  return true;
}

void check_states(const Warp& warp, std::uint32_t lane, const Region& region, std::uint64_t address,
                  std::uint32_t bytes, AccessKind kind) {
  std::uint8_t* const states = region.states + (address - region.base);
  if (all_initialised(states, bytes)) return;
  if (std::memchr(states, byte_inaccessible, bytes)) fault_bounds(warp, lane, region, address, bytes, kind);
  if (std::memchr(states, byte_arriving, bytes)) {
    fault(
        warp, lane, cudaErrorLaunchFailure,
        text("race: %s %u bytes that a cp.async is copying, for which its thread hasn't waited: ", verb(kind), bytes) +
            place(warp, region, address));
  }
  if (kind != AccessKind::write && settings().check_uninitialised) {
    fault(warp, lane, cudaErrorIllegalAddress,
          text("%s %u bytes that nothing has written yet: ", verb(kind), bytes) + place(warp, region, address));
  }
  if (kind != AccessKind::read) std::memset(states, byte_initialised, bytes);
}

std::uint8_t* check_lane(const Warp& warp, std::uint32_t lane, const Region& region, std::uint64_t address,
                         std::uint32_t bytes, AccessKind kind, Accessor& who) {
  if (address - region.base >= region.bytes || bytes > region.bytes - (address - region.base)) {
    void* const host = reinterpret_cast<void*>(address);
    if (!region.shared && is_pinned(host, bytes)) return static_cast<std::uint8_t*>(host);
    fault_bounds(warp, lane, region, address, bytes, kind);
  }
  if (address & (bytes - 1)) {  // sizes are powers of two
    fault(warp, lane, cudaErrorMisalignedAddress,
          text("%s %u bytes at 0x%llx, which is no multiple of %u", verb(kind), bytes, number(address), bytes));
  }
  check_states(warp, lane, region, address, bytes, kind);
  if (region.ordered) check_races(warp, lane, region, address, bytes, kind, who);
  return region.storage + (address - region.base);
}

const std::uint8_t* race_table() { return settings().check_races ? ordered_work() : nullptr; }

Region device_region() {
  DeviceMemory& memory = DeviceMemory::instance();
  const std::uint64_t base = memory.window(0);
  return {base,  memory.size(), memory.bytes_at(base), memory.states_at(base), memory.cells_at(base),
          false, race_table()};
}

Region shared_region(Block& block) {
  return {0,    block.shared_bytes, block.shared.data(), block.shared_states.data(), block.shared_cells.data(),
          true, race_table()};
}

std::uint8_t* check_local(const Warp& warp, std::uint32_t lane, std::uint64_t address, std::uint32_t bytes,
                          AccessKind kind) {
  const std::uint32_t size = warp.block->program->local_bytes;
  if (address >= size || bytes > size - address) {
    fault(warp, lane, cudaErrorIllegalAddress,
          text("%s %u bytes of local memory at %llu, of %u", verb(kind), bytes, number(address), size));
  }
  if (address & (bytes - 1)) {
    fault(warp, lane, cudaErrorMisalignedAddress, text("misaligned local access of %u bytes", bytes));
  }
  return warp.local + std::size_t{lane} * size + address;
}

std::uint8_t* check_parameter(const Warp& warp, std::uint32_t lane, std::uint64_t address, std::uint32_t bytes,
                              AccessKind kind) {
  const auto& parameters = warp.block->launch->parameters;
  if (kind != AccessKind::read || address > parameters.size() || bytes > parameters.size() - address) {
    fault(warp, lane, cudaErrorIllegalAddress,
          text("%s %u bytes of the parameters at %llu", verb(kind), bytes, number(address)));
  }
  return const_cast<std::uint8_t*>(parameters.data()) + address;
}

/// A generic address says itself where it points.
Space resolve(std::uint64_t& address) {
  const DeviceMemory& memory = DeviceMemory::instance();
  static constexpr Space spaces[] = {space_shared, space_local, space_parameter};
  const std::uint64_t offset = address - memory.window(0);
  if (offset >= 3 * DeviceMemory::window_bytes) return space_global;
  address = offset % DeviceMemory::window_bytes;
  return spaces[offset / DeviceMemory::window_bytes];
}

}  // namespace

Addresses addresses_of(const Warp& warp, const Operation& op) {
  Addresses result;
  const auto offset = static_cast<std::uint64_t>(op.offset);
  if (op.a == no_slot) {
    for (std::uint64_t& each : result.of) each = offset;
  } else if (op.flags & flag_wide_address) {
    const std::uint64_t* const base = warp.in<std::uint64_t>(op.a);
    for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) result.of[lane] = base[lane] + offset;
  } else {
    const std::uint32_t* const base = warp.in<std::uint32_t>(op.a);
    for (std::uint32_t lane = 0; lane < warp_lanes; ++lane)
      result.of[lane] = static_cast<std::uint32_t>(base[lane] + offset);
  }
  return result;
}

HostAddresses check_access(Warp& warp, const Operation& op, const Addresses& addresses, std::uint32_t bytes,
                           AccessKind kind) {
  HostAddresses result;
  Block& block = *warp.block;
  Accessor who;
  who.work = block.work;
  who.block = block.linear;
  who.stamp = block.stamp;
  who.block_stamp = block.barrier_stamp;
  who.atomic = kind == AccessKind::atomic || op.flags & flag_volatile;
  const Region device = device_region();
  const Region shared = shared_region(block);
  for (std::uint32_t rest = warp.mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(rest));
    std::uint64_t address = addresses.of[lane];
    const Space space = op.space == space_generic ? resolve(address) : static_cast<Space>(op.space);
    switch (space) {
      case space_shared: result.of[lane] = check_lane(warp, lane, shared, address, bytes, kind, who); break;
      case space_local: result.of[lane] = check_local(warp, lane, address, bytes, kind); break;
      case space_parameter: result.of[lane] = check_parameter(warp, lane, address, bytes, kind); break;
      default: result.of[lane] = check_lane(warp, lane, device, address, bytes, kind, who);
    }
  }
  return result;
}

}  // namespace softgpu
