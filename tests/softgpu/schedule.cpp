#include "schedule.h"

#include <algorithm>

#include "lanes.h"

namespace softgpu {
namespace {

std::uint32_t first_lane(std::uint32_t lanes) { return static_cast<std::uint32_t>(__builtin_ctz(lanes)); }
std::uint32_t count(std::uint32_t lanes) { return static_cast<std::uint32_t>(__builtin_popcount(lanes)); }

bool is_runnable(const Fragment& fragment) { return fragment.state == Fragment::runnable; }

/// Lanes one after another: a fragment of one lane runs until it waits. They join only where they have to.
void part_lanes(Warp& warp) {
  std::vector<Fragment> parted;
  for (const Fragment& each : warp.fragments) {
    if (!is_runnable(each)) {
      parted.push_back(each);
      continue;
    }
    for (std::uint32_t rest = each.lanes; rest != 0; rest &= rest - 1) {
      parted.push_back({each.state, each.barrier, each.pc, rest & -rest});
    }
  }
  warp.fragments = std::move(parted);
}

bool select_single_lane(Warp& warp) {
  part_lanes(warp);
  const Fragment* chosen = nullptr;
  for (const Fragment& each : warp.fragments) {
    if (!is_runnable(each)) continue;
    const bool earlier =
        !chosen || (settings().order == Order::reverse ? each.lanes > chosen->lanes : each.lanes < chosen->lanes);
    if (earlier) chosen = &each;
  }
  if (!chosen) return false;
  warp.pc = chosen->pc;
  warp.active = chosen->lanes;
  warp.limit = all_bits;
  warp.fragments.erase(warp.fragments.begin() + (chosen - warp.fragments.data()));
  return true;
}

}  // namespace

bool select_fragment(Warp& warp) {
  warp.yielded = false;
  if (settings().lanes_apart) return select_single_lane(warp);
  std::uint32_t pc = all_bits;
  for (const Fragment& each : warp.fragments) {
    if (is_runnable(each)) pc = std::min(pc, each.pc);
  }
  if (pc == all_bits) return false;
  warp.pc = pc;
  warp.active = 0;
  warp.limit = all_bits;
  std::erase_if(warp.fragments, [&](const Fragment& each) {
    if (!is_runnable(each)) return false;
    if (each.pc == pc) {
      warp.active |= each.lanes;
    } else {
      warp.limit = std::min(warp.limit, each.pc);
    }
    return each.pc == pc;
  });
  return true;
}

void run_warp(Warp& warp) {
  const Operation* const operations = warp.block->program->operations.data();
  std::uint64_t instructions = 0;
  while (select_fragment(warp)) {
    do {
      const Operation& op = operations[warp.pc++];
      warp.mask = warp.active;
      if (op.guard != no_slot) {
        warp.mask &= warp.predicate(op.guard) ^ op.guard_flip;
        if (warp.mask == 0) continue;
      }
      instructions += count(warp.mask);
      op.run(warp, op);
    } while (!warp.yielded && warp.pc < warp.limit);
    if (warp.active) warp.fragments.push_back({Fragment::runnable, 0, warp.pc, warp.active});
  }
  warp.block->instructions += instructions;
  if (std::any_of(warp.fragments.begin(), warp.fragments.end(),
                  [](const Fragment& each) { return each.state == Fragment::at_warp_sync; })) {
    fault_deadlock(*warp.block);
  }
}

void leave_guarded_off(Warp& warp) {
  if (warp.active == warp.mask) return;
  warp.fragments.push_back({Fragment::runnable, 0, warp.pc, warp.active & ~warp.mask});
  warp.active = warp.mask;
  warp.yielded = true;
}

bool gather_lanes(Warp& warp, const Operation& op) {
  leave_guarded_off(warp);
  const std::uint32_t* const masks = warp.in<std::uint32_t>(op.e);
  const std::uint32_t here = warp.pc - 1;
  const auto wanted = [&] {
    std::uint32_t lanes = 0;
    for_lanes(warp.active, [&](std::uint32_t lane) { lanes |= masks[lane]; });
    return lanes;
  };
  const std::uint32_t named = wanted();
  std::erase_if(warp.fragments, [&](const Fragment& each) {
    const bool joins = each.state == Fragment::at_warp_sync && each.pc == here && (each.lanes & named);
    if (joins) warp.active |= each.lanes;
    return joins;
  });
  for_lanes(warp.active, [&](std::uint32_t lane) {
    if (!(masks[lane] >> lane & 1)) {
      fault(warp, lane, cudaErrorLaunchFailure, text("its mask 0x%08x doesn't name the calling lane", masks[lane]));
    }
  });
  warp.mask = warp.active;
  if ((wanted() & warp.alive & ~warp.active) == 0) {
    if (settings().lanes_apart) warp.yielded = true;
    return true;
  }
  warp.fragments.push_back({Fragment::at_warp_sync, 0, here, warp.active});
  warp.active = 0;
  warp.yielded = true;
  return false;
}

void exit_lanes(Warp& warp) {
  warp.alive &= ~warp.mask;
  warp.active &= ~warp.mask;
  // Who waits for the lanes that are gone looks again.
  for (Fragment& each : warp.fragments) {
    if (each.state == Fragment::at_warp_sync) each.state = Fragment::runnable;
  }
  warp.yielded = true;
}

void branch_lanes(Warp& warp, std::uint32_t target) {
  if (warp.mask == warp.active) {
    warp.pc = target;
    return;
  }
  leave_guarded_off(warp);
  warp.pc = target;
}

void wait_at_barrier(Warp& warp, std::uint8_t index, std::uint32_t expected, std::uint32_t true_lanes) {
  leave_guarded_off(warp);
  Barrier& barrier = warp.block->barriers[index];
  barrier.expected = expected;
  barrier.arrived += count(warp.mask);
  barrier.true_count += count(true_lanes & warp.mask);
  warp.fragments.push_back({Fragment::at_barrier, index, warp.pc, warp.mask});
  warp.active = 0;
  warp.yielded = true;
}

namespace {

/// bar.red's result, for the lanes that wait.
void write_reduction(Warp& warp, const Fragment& fragment, const Barrier& barrier) {
  const Operation& op = warp.block->program->operations[fragment.pc - 1];
  if (op.d == no_slot) return;
  warp.mask = fragment.lanes;
  if (op.flags == 0) {
    for_lanes(fragment.lanes, [&](std::uint32_t lane) { warp.out<std::uint32_t>(op.d)[lane] = barrier.true_count; });
  } else {
    const bool yes = op.flags == 1 ? barrier.true_count == barrier.arrived : barrier.true_count != 0;
    warp.set_predicate(op.d, yes ? all_bits : 0);
  }
}

void release(Block& block, std::uint8_t index) {
  Barrier& barrier = block.barriers[index];
  const std::string* place = nullptr;
  ++block.stamp;
  if (barrier.expected == block.threads) block.barrier_stamp = block.stamp;
  for (Warp& warp : block.warps) {
    for (Fragment& each : warp.fragments) {
      if (each.state != Fragment::at_barrier || each.barrier != index) continue;
      const std::string& position = position_of(block, each.pc - 1);
      if (place && *place != position) {
        warp.pc = each.pc;
        fault(warp, first_lane(each.lanes), cudaErrorLaunchFailure,
              "divergent barrier: this thread waits at one __syncthreads(), others at another: " + *place);
      }
      place = &position;
      write_reduction(warp, each, barrier);
      each.state = Fragment::runnable;
      // A barrier for part of the block orders its own threads with each other: as one warp's would.
      if (barrier.expected != block.threads) {
        for_lanes(each.lanes, [&](std::uint32_t lane) { warp.sync_stamp[lane] = block.stamp; });
      }
    }
  }
  barrier = {};
}

}  // namespace

bool release_barriers(Block& block) {
  bool released = false;
  for (std::uint8_t i = 0; i < 16; ++i) {
    const Barrier& barrier = block.barriers[i];
    if (barrier.arrived == 0 || barrier.arrived < barrier.expected) continue;
    release(block, i);
    released = true;
  }
  return released;
}

void fault_deadlock(Block& block) {
  Warp* waiting = nullptr;
  Fragment at;
  std::string others;
  for (Warp& warp : block.warps) {
    for (const Fragment& each : warp.fragments) {
      if (each.state == Fragment::runnable) continue;
      if (!waiting || (at.state == Fragment::at_barrier && each.state == Fragment::at_warp_sync))
        waiting = &warp, at = each;
    }
  }
  // Who doesn't come: a thread that waits elsewhere, or has exited.
  for (Warp& warp : block.warps) {
    if (at.state == Fragment::at_warp_sync && &warp != waiting) continue;
    const std::uint32_t there = std::min(warp_lanes, block.threads - warp.index * warp_lanes);
    const std::uint32_t exited = (there == 32 ? all_lanes : (1u << there) - 1) & ~warp.alive;
    if (exited && at.state == Fragment::at_barrier && others.empty()) {
      others = "thread " + thread_name(block, warp.index * warp_lanes + first_lane(exited)) + " has exited";
    }
    for (const Fragment& each : warp.fragments) {
      if (each.lanes == at.lanes && &warp == waiting) continue;
      if (each.state == at.state && each.pc == at.pc && at.state == Fragment::at_barrier) continue;
      const std::uint32_t pc = each.state == Fragment::at_barrier ? each.pc - 1 : each.pc;
      others = "thread " + thread_name(block, warp.index * warp_lanes + first_lane(each.lanes)) + " waits at " +
               position_of(block, pc);
    }
  }
  if (!waiting) throw DeviceError{cudaErrorLaunchFailure, "a block stopped though none of its threads waits"};
  waiting->pc = at.state == Fragment::at_barrier ? at.pc : at.pc + 1;
  fault(*waiting, first_lane(at.lanes), cudaErrorLaunchFailure,
        std::string(at.state == Fragment::at_barrier ? "divergent barrier" : "divergent warp operation") +
            ": waits for threads that never come: " + others);
}

}  // namespace softgpu
