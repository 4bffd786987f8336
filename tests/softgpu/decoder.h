// From PTX to operations. The decode_*.cpp files each hold a family of instructions: how they decode, and what they do.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "program.h"
#include "ptx.h"

namespace softgpu {

constexpr std::uint32_t all_bits = 0xffffffffu;

/// Where the module's variables are.
struct Symbols {
  std::map<std::string, std::uint64_t> addresses;
};

class Decoder {
 public:
  Decoder(const PtxModule& module, const Symbols& symbols) : module_(module), symbols_(symbols) {}
  Program decode(const PtxFunction& kernel);

  // For the families.
  const PtxInstruction& instruction() const { return *instruction_; }
  const PtxOperand& operand(std::size_t index) const;
  std::size_t operand_count() const { return instruction_->operands.size(); }
  /// The last word of the opcode that is a type; "" without.
  std::string type() const;
  /// What a .branchtargets label lists.
  const std::vector<std::string>& branch_targets(const std::string& label) const;

  /// A source operand of `bytes` bytes: a register, a constant, an address. A predicate has 0 bytes.
  Slot source(const PtxOperand& operand, std::uint32_t bytes, bool is_double = false);
  Slot source(std::size_t index, std::uint32_t bytes) { return source(operand(index), bytes); }
  /// The same where the register may be wider than the type; `width` becomes the register's.
  Slot source_of_any_width(const PtxOperand& operand, std::uint32_t bytes, std::uint8_t& width);
  Slot destination(const PtxOperand& operand, std::uint32_t bytes);
  Slot destination(std::size_t index, std::uint32_t bytes) { return destination(operand(index), bytes); }
  Slot destination_of_any_width(const PtxOperand& operand, std::uint8_t& width);
  /// A constant with the same `bytes` bytes in each lane.
  Slot constant(std::uint64_t value, std::uint32_t bytes);
  std::uint32_t list(const std::vector<Slot>& slots);
  /// The condition code CC.CF: a predicate that has no name.
  Slot carry_slot();
  Slot nameless_predicate() { return allocate(2); }

  /// A memory operand into op.a, op.offset and flags. True where its address is known now: op.offset is all of it.
  void address(const PtxOperand& operand, Operation& op);
  /// The space in which a .param symbol of the running function lies: a kernel's parameter or an expanded call's.
  bool is_call_parameter(const std::string& name) const;

  /// "not supported", with the opcode and its line.
  [[noreturn]] void refuse(const std::string& why = "not supported") const;

  void emit(Operation op);
  /// The operation that is emitted next adds floats by an atomic.
  void mark_float_sum() {
    if (program_.float_sum < 0) program_.float_sum = static_cast<std::int64_t>(program_.operations.size());
  }
  /// Emits a jump to `label`, resolved at the end.
  void emit_branch(Operation op, const std::string& label);
  void emit_indexed_branch(Operation op, const std::vector<std::string>& labels);
  /// Expands the called function in place, or emits `assertion` for assert()'s. `jump` is how it returns.
  void emit_call(const Operation& assertion, const Operation& jump);
  /// Emits `exit` in a kernel, a jump behind the call in a called function.
  void emit_return(const Operation& exit);

 private:
  /// A function that is being expanded; its names have a prefix of their own.
  struct Frame {
    const PtxFunction* function = nullptr;
    std::string prefix;
    std::map<std::string, std::uint64_t> variables;  // address in its space
    std::map<std::string, std::string> spaces;
    std::vector<std::size_t> returns;  // operations that jump to the end
    const Frame* caller = nullptr;
  };

  void expand(Frame& frame);
  void decode_instruction();
  void place_variable(Frame& frame, const PtxVariable& variable);
  void place_shared(const PtxVariable& variable);
  Slot register_slot(const std::string& name, std::uint32_t& bytes);
  Slot special(const std::string& name);
  bool symbol(const std::string& name, std::uint64_t& value) const;
  std::uint32_t source_index();
  std::string position(std::uint32_t location) const;
  Slot allocate(std::uint32_t bytes_per_lane);

  const PtxModule& module_;
  const Symbols& symbols_;
  Program program_;
  Frame* frame_ = nullptr;
  Operation return_jump_;
  const PtxInstruction* instruction_ = nullptr;
  int frames_ = 0;
  Slot carry_ = no_slot;
  std::map<std::string, Slot> slots_;
  std::map<std::pair<std::uint64_t, std::uint32_t>, Slot> constants_;
  std::map<std::string, std::uint64_t> shared_;
  std::map<Special, Slot> specials_;
  std::map<std::uint32_t, std::uint32_t> sources_;
  struct Jump {
    std::size_t operation;
    std::string label;
  };
  std::map<std::string, std::uint32_t> labels_;
  std::vector<Jump> jumps_, list_jumps_;
};

/// A family's instructions: the first word of the opcode, and how to decode it.
struct Instruction {
  const char* name;
  void (*decode)(Decoder&);
};
using Family = std::vector<Instruction>;
const Family& integer_family();
const Family& bits_family();
const Family& float_family();
const Family& compare_family();
const Family& convert_family();
const Family& memory_family();
const Family& atomic_family();
const Family& warp_family();
const Family& matrix_family();
const Family& async_family();
const Family& control_family();

}  // namespace softgpu
