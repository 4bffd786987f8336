// The state of a running block and its warps.
//
// The lanes of a warp that are at the same place run together; where a branch divides them they become fragments, of
// which the one that is furthest behind runs first and joins the others when it reaches them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "interpreter.h"
#include "memory.h"
#include "program.h"
#include "races.h"

namespace softgpu {

constexpr std::uint32_t warp_lanes = 32;
constexpr std::uint32_t all_lanes = 0xffffffffu;

struct Fragment {
  enum State : std::uint8_t { runnable, at_barrier, at_warp_sync } state = runnable;
  std::uint8_t barrier = 0;  // which one it waits at
  std::uint32_t pc = 0;
  std::uint32_t lanes = 0;
};

struct Barrier {
  std::uint32_t expected = 0;  // threads
  std::uint32_t arrived = 0;
  std::uint32_t true_count = 0;  // bar.red: threads whose predicate is true
};

struct Block {
  const Launch* launch = nullptr;
  const Program* program = nullptr;
  dim3 index;
  std::uint32_t linear = 0;  // of index
  std::uint32_t threads = 0;
  std::vector<std::uint8_t> shared, shared_states;
  std::vector<AccessCell> shared_cells;
  std::uint32_t shared_bytes = 0;
  std::uint32_t stamp = 0;          // synchronisations so far (races.h)
  std::uint32_t barrier_stamp = 0;  // ... at the last block-wide one
  std::uint32_t work = 0;           // current_work_id()
  Barrier barriers[16];
  std::vector<Warp> warps;
  std::uint64_t instructions = 0;
};

/// A cp.async that its lanes haven't waited for.
struct AsyncCopy {
  std::uint32_t lanes = 0, bytes = 0;
  std::uint64_t to[warp_lanes] = {};       // in shared memory
  std::uint32_t group[warp_lanes] = {};    // each lane's groups before it
  std::uint8_t data[warp_lanes][16] = {};  // what is not read is zero
};

struct Warp {
  Block* block = nullptr;
  std::uint32_t index = 0;  // in the block
  std::uint8_t* registers = nullptr;
  const std::uint8_t* constants = nullptr;
  std::uint8_t* local = nullptr;  // 32 times Program::local_bytes

  std::uint32_t mask = 0;    // lanes of the operation that runs
  std::uint32_t active = 0;  // lanes of the fragment that runs
  std::uint32_t pc = 0;      // the next operation
  std::uint32_t limit = 0;   // where the next fragment waits
  bool yielded = false;      // the fragment has ended, split or blocked
  std::uint32_t alive = 0;
  std::vector<Fragment> fragments;  // all but the one that runs
  std::uint32_t sync_stamp[warp_lanes] = {};
  std::vector<AsyncCopy> async_copies;
  std::uint32_t async_groups[warp_lanes] = {};  // committed ones

  template <class T>
  const T* in(Slot slot) const {
    const std::uint8_t* const base = slot & constant_bit ? constants : registers;
    return reinterpret_cast<const T*>(base + (slot & ~constant_bit));
  }
  template <class T>
  T* out(Slot slot) const {
    return reinterpret_cast<T*>(registers + slot);
  }
  std::uint32_t predicate(Slot slot) const { return *in<std::uint32_t>(slot); }
  /// Sets the predicate of the running lanes.
  void set_predicate(Slot slot, std::uint32_t bits) const {
    if (slot == no_slot) return;
    std::uint32_t& target = *out<std::uint32_t>(slot);
    target = (target & ~mask) | (bits & mask);
  }
};

/// Calls body(lane) for the running lanes; without a test of each where all run, so that it becomes vector code.
template <class Body>
inline __attribute__((always_inline)) void for_lanes(std::uint32_t mask, const Body& body) {
  if (mask == all_lanes) {
#pragma GCC ivdep
    for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) body(lane);
  } else {
    for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) body(static_cast<std::uint32_t>(__builtin_ctz(rest)));
  }
}

/// Stops the launch: `what` went wrong in `lane` of `warp` in the operation that runs.
[[noreturn]] void fault(const Warp& warp, std::uint32_t lane, cudaError_t code, const std::string& what);
/// "block (0,0,0), thread (3,0,0)" and the like.
std::string thread_name(const Block& block, std::uint32_t thread);
/// "line" of an operation: "file.cu:12".
const std::string& position_of(const Block& block, std::uint32_t pc);

}  // namespace softgpu
