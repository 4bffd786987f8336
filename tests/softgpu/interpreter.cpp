#include "interpreter.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "schedule.h"
#include "streams.h"
#include "warp.h"

namespace softgpu {
namespace {

std::uint64_t total_instructions = 0;

/// 0, 1, ..., count - 1 in the order that the settings ask for; `salt` makes random orders differ.
std::vector<std::uint32_t> ordered_indices(std::uint32_t count, std::uint64_t salt) {
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (settings().order == Order::reverse) std::reverse(order.begin(), order.end());
  if (settings().order == Order::random) {
    std::mt19937_64 random(settings().seed * 0x9e3779b97f4a7c15ull + salt);
    std::shuffle(order.begin(), order.end(), random);
  }
  return order;
}

dim3 index_of(std::uint64_t linear, dim3 size) {
  return dim3(static_cast<unsigned>(linear % size.x), static_cast<unsigned>(linear / size.x % size.y),
              static_cast<unsigned>(linear / size.x / size.y));
}

/// Fills the special registers of a warp that a block starts with.
void set_specials(Warp& warp) {
  const Block& block = *warp.block;
  const Launch& launch = *block.launch;
  for (const auto& [special, slot] : block.program->specials) {
    std::uint32_t* const lanes = warp.out<std::uint32_t>(slot);
    for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) {
      const dim3 thread = index_of(warp.index * warp_lanes + lane, launch.block);
      const std::uint32_t bit = 1u << lane;
      switch (special) {
        case Special::tid_x: lanes[lane] = thread.x; break;
        case Special::tid_y: lanes[lane] = thread.y; break;
        case Special::tid_z: lanes[lane] = thread.z; break;
        case Special::ctaid_x: lanes[lane] = block.index.x; break;
        case Special::ctaid_y: lanes[lane] = block.index.y; break;
        case Special::ctaid_z: lanes[lane] = block.index.z; break;
        case Special::ntid_x: lanes[lane] = launch.block.x; break;
        case Special::ntid_y: lanes[lane] = launch.block.y; break;
        case Special::ntid_z: lanes[lane] = launch.block.z; break;
        case Special::nctaid_x: lanes[lane] = launch.grid.x; break;
        case Special::nctaid_y: lanes[lane] = launch.grid.y; break;
        case Special::nctaid_z: lanes[lane] = launch.grid.z; break;
        case Special::laneid: lanes[lane] = lane; break;
        case Special::warpid: lanes[lane] = warp.index; break;
        case Special::nwarpid: lanes[lane] = static_cast<std::uint32_t>(block.warps.size()); break;
        case Special::lanemask_eq: lanes[lane] = bit; break;
        case Special::lanemask_lt: lanes[lane] = bit - 1; break;
        case Special::lanemask_le: lanes[lane] = bit | (bit - 1); break;
        case Special::lanemask_gt: lanes[lane] = ~(bit | (bit - 1)); break;
        case Special::lanemask_ge: lanes[lane] = ~(bit - 1); break;
        case Special::nsmid: lanes[lane] = 1; break;
        case Special::dynamic_shared: lanes[lane] = launch.dynamic_shared; break;
        case Special::smid:
        case Special::gridid:
        case Special::clock: lanes[lane] = 0; break;
      }
    }
  }
}

/// The memory of a block, kept from one to the next.
struct Storage {
  Block block;
  std::vector<std::uint8_t> registers, local, constants;
};

void prepare(Storage& storage, const Launch& launch) {
  const Program& program = *launch.program;
  Block& block = storage.block;
  block.launch = &launch;
  block.program = &program;
  block.work = current_work_id();
  block.threads = launch.block.x * launch.block.y * launch.block.z;
  block.shared_bytes = program.shared_bytes + launch.dynamic_shared;
  block.shared.resize(block.shared_bytes + 16);
  block.shared_states.resize(block.shared_bytes + 16);
  block.shared_cells.assign(block.shared_bytes / 4 + 4, {});
  const std::size_t warps = (block.threads + warp_lanes - 1) / warp_lanes;
  storage.registers.resize(warps * program.register_bytes + 64);
  storage.local.resize(warps * warp_lanes * program.local_bytes);
  block.warps.resize(warps);
  for (std::size_t i = 0; i < warps; ++i) {
    Warp& warp = block.warps[i];
    warp.block = &block;
    warp.index = static_cast<std::uint32_t>(i);
    warp.registers = storage.registers.data() + i * program.register_bytes;
    warp.constants = program.constants.data();
    warp.local = storage.local.data() + i * warp_lanes * program.local_bytes;
  }
}

void start_block(Storage& storage, std::uint32_t linear) {
  Block& block = storage.block;
  block.linear = linear;
  block.index = index_of(linear, block.launch->grid);
  block.stamp = block.barrier_stamp = 0;
  std::fill(std::begin(block.barriers), std::end(block.barriers), Barrier{});
  std::fill(block.shared_states.begin(), block.shared_states.end(), byte_inaccessible);
  std::fill(block.shared.begin(), block.shared.end(), 0xff);
  for (const SharedArray& each : block.program->shared) {
    std::memset(block.shared_states.data() + each.offset, byte_uninitialised, each.bytes);
  }
  std::memset(block.shared_states.data() + block.program->shared_bytes, byte_uninitialised,
              block.launch->dynamic_shared);
  for (Warp& warp : block.warps) {
    const std::uint32_t threads = std::min(warp_lanes, block.threads - warp.index * warp_lanes);
    warp.alive = threads == warp_lanes ? all_lanes : (1u << threads) - 1;
    warp.fragments.assign(1, {Fragment::runnable, 0, 0, warp.alive});
    std::fill(std::begin(warp.sync_stamp), std::end(warp.sync_stamp), 0u);
    warp.async_copies.clear();
    set_specials(warp);
  }
}

void run_block(Block& block) {
  for (std::uint64_t round = 0;; ++round) {
    bool waiting = false;
    for (const std::uint32_t i :
         ordered_indices(static_cast<std::uint32_t>(block.warps.size()), block.linear * 1031 + round)) {
      run_warp(block.warps[i]);
      waiting |= !block.warps[i].fragments.empty();
    }
    if (!waiting) return;
    if (!release_barriers(block)) fault_deadlock(block);
  }
}

}  // namespace

namespace {

/// Known from the PTX alone, whether a thread gets there or not. Rounding makes a sum depend on the order of its terms,
/// and nobody knows that of atomics.
void check_promises(const Launch& launch) {
  const Program& program = *launch.program;
  if (!settings().bits_promised || program.float_sum < 0) return;
  const Source& source = program.sources[program.operations[static_cast<std::size_t>(program.float_sum)].source];
  throw DeviceError{cudaErrorLaunchFailure,
                    launch.title +
                        " adds floats by an atomic, in an order that changes, where the same bits are promised" +
                        "\n  at " + source.position + " (" + source.opcode + ")"};
}

}  // namespace

void run_launch(const Launch& launch) {
  check_promises(launch);
  static Storage storage;
  prepare(storage, launch);
  storage.block.instructions = 0;
  const std::uint64_t blocks = std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  for (const std::uint32_t linear : ordered_indices(static_cast<std::uint32_t>(blocks), 1)) {
    start_block(storage, linear);
    run_block(storage.block);
  }
  total_instructions += storage.block.instructions;
}

std::uint64_t instructions_executed() { return total_instructions; }

std::string thread_name(const Block& block, std::uint32_t thread) {
  const dim3 at = index_of(thread, block.launch->block);
  return text("(%u,%u,%u)", at.x, at.y, at.z);
}

const std::string& position_of(const Block& block, std::uint32_t pc) {
  return block.program->sources[block.program->operations[pc].source].position;
}

void fault(const Warp& warp, std::uint32_t lane, cudaError_t code, const std::string& what) {
  const Block& block = *warp.block;
  const Source& source = block.program->sources[block.program->operations[warp.pc - 1].source];
  throw DeviceError{code, block.launch->title + " " + what + "\n  at " + source.position + " (" + source.opcode +
                              "), block " + text("(%u,%u,%u)", block.index.x, block.index.y, block.index.z) +
                              ", thread " + thread_name(block, warp.index * warp_lanes + lane)};
}

}  // namespace softgpu
