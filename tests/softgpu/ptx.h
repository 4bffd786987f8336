// PTX text, taken apart: what stands there, without saying what it means (the decode_*.cpp files do).
// Grammar: "PTX ISA", NVIDIA, chapters 4 and 5. Only what nvcc emits is understood; the rest is refused by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace softgpu {

/// A line of source, from -lineinfo; `inlined_at` indexes PtxModule::locations, 0 where it wasn't inlined.
struct PtxLocation {
  int file = 0;
  int line = 0;
  std::uint32_t inlined_at = 0;
};

struct PtxOperand {
  enum Kind { name, immediate, address, vector } kind = name;
  std::string text;               // name: register, symbol or label; address: its base, "" for an absolute one
  bool negated = false;           // !%p1
  std::uint64_t value = 0;        // immediate: its 64 bits; address: the offset
  bool is_float = false;          // an immediate written 0f... or 0d...
  bool is_double = false;         // 0d...
  std::vector<PtxOperand> parts;  // vector {a, b}; pair a|b
};

struct PtxInstruction {
  std::string guard;  // "%p1" in @%p1, "" without
  bool guard_negated = false;
  std::vector<std::string> words;    // ld.global.f32: "ld", "global", "f32"
  std::vector<PtxOperand> operands;  // of a call: vectors for the parenthesised lists
  std::uint32_t location = 0;        // into PtxModule::locations
  bool has(const char* word) const;
  std::string opcode() const;  // "ld.global.f32"
};

struct PtxVariable {
  std::string name, space;  // "global", "const", "shared", "local", "param"
  std::uint32_t alignment = 1;
  std::uint64_t bytes = 0;  // 0: dynamic shared memory
  std::vector<std::uint8_t> initial;
  std::vector<std::pair<std::uint64_t, std::string>> addresses;  // initial values that are symbols' addresses
};

struct PtxFunction {
  std::string name;
  bool is_kernel = false;
  bool is_defined = false;
  std::vector<PtxVariable> results, parameters;
  std::map<std::string, std::string> registers;  // "%r" (of %r<20>) or a whole name: "b32"
  std::vector<PtxVariable> variables;            // shared, local and param ones of the body
  std::vector<PtxInstruction> body;
  std::map<std::string, std::size_t> labels;                       // index into body
  std::map<std::string, std::vector<std::string>> branch_targets;  // of brx.idx
  std::uint32_t maximum_threads = 0;
};

struct PtxModule {
  std::map<int, std::string> files;
  std::vector<PtxLocation> locations;  // the first says "unknown"
  std::vector<PtxVariable> variables;
  std::map<std::string, PtxFunction> functions;
};

/// Throws DeviceError where the text can't be understood.
PtxModule parse_ptx(const std::string& text);

/// Bytes of a fundamental type, "b32": 4. 0 where it isn't one; predicates have 1.
std::uint32_t type_bytes(const std::string& type);

}  // namespace softgpu
