// Which lanes run next, and where they wait for each other.
#pragma once

#include "warp.h"

namespace softgpu {

/// Parts the running lanes from those of the fragment for which the operation's predicate is false: these go on.
void leave_guarded_off(Warp& warp);

/// For operations that lanes do together, those in the mask op.e: true once all are here, and warp.mask names them;
/// until then the lanes wait at this operation, and the handler has nothing to do.
bool gather_lanes(Warp& warp, const Operation& op);

/// Ends the running lanes.
void exit_lanes(Warp& warp);

/// Splits the fragment: the running lanes go on at `target`, the others behind the operation.
void branch_lanes(Warp& warp, std::uint32_t target);

/// Makes the running lanes wait at a barrier of the block until `expected` threads have.
void wait_at_barrier(Warp& warp, std::uint8_t barrier, std::uint32_t expected, std::uint32_t true_lanes);

/// Picks the next fragment; false where all wait or have exited.
bool select_fragment(Warp& warp);

/// Runs a warp until all its lanes wait at barriers or have exited.
void run_warp(Warp& warp);

/// Lets go the barriers at which all are; false where none is complete.
bool release_barriers(Block& block);

/// Reports that threads wait for threads that never come.
[[noreturn]] void fault_deadlock(Block& block);

}  // namespace softgpu
