// A decoded kernel: compact operations over the registers of a whole warp.
//
// A register is an array with one element for each of the 32 lanes; an operation is a loop over them, so one dispatch
// does the work of 32 threads, and the compiler makes vector instructions of it. A predicate is a mask of 32 bits.
// Calls are expanded in place, constants are registers that never change.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace softgpu {

struct Warp;
struct Operation;
using Handler = void (*)(Warp&, const Operation&);

/// Where a register's lanes lie: bytes from the start of the warp's registers, or of the constants with the top bit.
using Slot = std::uint32_t;
constexpr Slot constant_bit = 0x80000000u;
constexpr Slot no_slot = 0x7fffffffu;

struct Operation {
  Handler run = nullptr;
  Slot d = no_slot, a = no_slot, b = no_slot, c = no_slot, e = no_slot;
  Slot guard = no_slot;                   // a predicate; the operation is for lanes where it is `guard_value`
  std::uint32_t guard_flip = 0;           // all ones for @!p
  std::int64_t offset = 0;                // added to an address; a constant of the handler otherwise
  std::uint32_t target = 0;               // branches: index of an operation; vectors: first slot in Program::lists
  std::uint32_t source = 0;               // index into Program::sources
  std::uint8_t d_bytes = 0, a_bytes = 0;  // register widths, where they may differ from the operation's type
  std::uint8_t space = 0;                 // enum Space
  std::uint8_t flags = 0;
};

enum Space : std::uint8_t { space_generic, space_global, space_shared, space_local, space_parameter };

/// Flags of memory operations.
constexpr std::uint8_t flag_volatile = 1;      // also relaxed and acquire: races with nothing volatile or atomic
constexpr std::uint8_t flag_wide_address = 2;  // the base register has 64 bits

struct Source {
  std::string opcode;    // as it stands in the PTX
  std::string position;  // "file.cu:12", with where it was inlined
};

struct Parameter {
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
};

/// A shared array: its bytes are accessible, those around it aren't.
struct SharedArray {
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
  std::string name;
};

/// Special registers that vary by lane or by launch, filled when a warp starts.
enum class Special {
  tid_x,
  tid_y,
  tid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  smid,
  nsmid,
  gridid,
  clock,
  dynamic_shared
};

struct Program {
  std::vector<Operation> operations;
  std::vector<Slot> lists;  // registers of vector operands, targets of indexed branches
  std::vector<Source> sources;
  std::vector<std::uint8_t> constants;
  std::uint32_t register_bytes = 0;  // a warp
  std::vector<std::pair<Special, Slot>> specials;
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::vector<SharedArray> shared;
  std::uint32_t shared_bytes = 0;     // with the guards between arrays; dynamic shared memory starts there
  std::uint32_t static_shared = 0;    // as the programmer counts
  std::uint32_t local_bytes = 0;      // a thread
  std::uint32_t maximum_threads = 0;  // __launch_bounds__; 0 where there are none
  std::int64_t float_sum = -1;        // the operation of the first atomic sum of floats; -1 where there is none
};

}  // namespace softgpu
