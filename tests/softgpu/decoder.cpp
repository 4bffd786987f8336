#include "decoder.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "runtime.h"

namespace softgpu {
namespace {

constexpr std::uint32_t shared_guard = 64;  // bytes between shared arrays: an overflow hits nobody's

const std::map<std::string, Special>& special_names() {
  static const std::map<std::string, Special> names = {{"%tid.x", Special::tid_x},
                                                       {"%tid.y", Special::tid_y},
                                                       {"%tid.z", Special::tid_z},
                                                       {"%ctaid.x", Special::ctaid_x},
                                                       {"%ctaid.y", Special::ctaid_y},
                                                       {"%ctaid.z", Special::ctaid_z},
                                                       {"%ntid.x", Special::ntid_x},
                                                       {"%ntid.y", Special::ntid_y},
                                                       {"%ntid.z", Special::ntid_z},
                                                       {"%nctaid.x", Special::nctaid_x},
                                                       {"%nctaid.y", Special::nctaid_y},
                                                       {"%nctaid.z", Special::nctaid_z},
                                                       {"%laneid", Special::laneid},
                                                       {"%warpid", Special::warpid},
                                                       {"%nwarpid", Special::nwarpid},
                                                       {"%lanemask_eq", Special::lanemask_eq},
                                                       {"%lanemask_lt", Special::lanemask_lt},
                                                       {"%lanemask_le", Special::lanemask_le},
                                                       {"%lanemask_gt", Special::lanemask_gt},
                                                       {"%lanemask_ge", Special::lanemask_ge},
                                                       {"%smid", Special::smid},
                                                       {"%nsmid", Special::nsmid},
                                                       {"%gridid", Special::gridid},
                                                       {"%clock", Special::clock},
                                                       {"%dynamic_smem_size", Special::dynamic_shared}};
  return names;
}

const std::map<std::string, void (*)(Decoder&)>& all_instructions() {
  static const auto table = [] {
    std::map<std::string, void (*)(Decoder&)> made;
    for (const Family* family :
         {&integer_family(), &bits_family(), &float_family(), &compare_family(), &convert_family(), &memory_family(),
          &atomic_family(), &warp_family(), &matrix_family(), &async_family(), &control_family()}) {
      for (const Instruction& each : *family) made[each.name] = each.decode;
    }
    return made;
  }();
  return table;
}

/// The function that a call names: behind the list of results, if any.
const std::string& callee_of(const PtxInstruction& call) {
  return call.operands[call.operands[0].kind == PtxOperand::vector ? 1 : 0].text;
}

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

Program Decoder::decode(const PtxFunction& kernel) {
  program_.maximum_threads = kernel.maximum_threads;
  program_.shared_bytes = shared_guard;
  std::set<std::string> seen = {kernel.name};
  std::vector<const PtxFunction*> open = {&kernel};
  while (!open.empty()) {
    const PtxFunction& function = *open.back();
    open.pop_back();
    for (const PtxVariable& each : function.variables) {
      if (each.space == "shared") place_shared(each);
    }
    for (const PtxInstruction& each : function.body) {
      if (each.words[0] != "call") continue;
      const auto callee = module_.functions.find(callee_of(each));
      if (callee != module_.functions.end() && seen.insert(callee->first).second) open.push_back(&callee->second);
    }
  }
  for (const PtxVariable& each : module_.variables) {
    if (each.space == "shared" && each.bytes != 0) place_shared(each);
  }
  program_.shared_bytes = static_cast<std::uint32_t>(align_up(program_.shared_bytes, 128));
  for (const PtxVariable& each : module_.variables) {
    if (each.space == "shared" && each.bytes == 0) shared_[each.name] = program_.shared_bytes;
  }

  Frame frame;
  frame.function = &kernel;
  for (const PtxVariable& each : kernel.parameters) {
    const auto offset = static_cast<std::uint32_t>(align_up(program_.parameter_bytes, each.alignment));
    program_.parameters.push_back({offset, static_cast<std::uint32_t>(each.bytes)});
    program_.parameter_bytes = offset + static_cast<std::uint32_t>(each.bytes);
    frame.variables[each.name] = offset;
    frame.spaces[each.name] = "param";
  }
  expand(frame);
  for (const Jump& jump : jumps_) program_.operations[jump.operation].target = labels_.at(jump.label);
  for (const Jump& jump : list_jumps_) program_.lists[jump.operation] = labels_.at(jump.label);
  program_.local_bytes = static_cast<std::uint32_t>(align_up(program_.local_bytes, 16));
  for (const auto& [special, slot] : specials_) program_.specials.emplace_back(special, slot);
  return std::move(program_);
}

void Decoder::place_shared(const PtxVariable& variable) {
  if (shared_.count(variable.name)) return;
  const auto bytes = static_cast<std::uint32_t>(variable.bytes);
  const auto offset = static_cast<std::uint32_t>(align_up(program_.shared_bytes, std::max(variable.alignment, 16u)));
  shared_[variable.name] = offset;
  program_.shared.push_back({offset, bytes, variable.name});
  program_.shared_bytes = offset + bytes + shared_guard;
  program_.static_shared = static_cast<std::uint32_t>(align_up(program_.static_shared, variable.alignment)) + bytes;
}

void Decoder::place_variable(Frame& frame, const PtxVariable& variable) {
  if (variable.space == "shared") return;
  const std::uint64_t offset = align_up(program_.local_bytes, std::max(variable.alignment, 1u));
  program_.local_bytes = static_cast<std::uint32_t>(offset + variable.bytes);
  frame.variables[variable.name] = offset;
  frame.spaces[variable.name] = variable.space == "param" ? "call" : variable.space;
}

void Decoder::expand(Frame& frame) {
  Frame* const caller = frame_;
  const PtxInstruction* const call = instruction_;
  for (const Frame* each = caller; each != nullptr; each = each->caller) {
    if (each->function == frame.function) refuse("recursion is not supported");
  }
  frame.caller = caller;
  frame_ = &frame;
  for (const PtxVariable& each : frame.function->variables) place_variable(frame, each);
  std::multimap<std::size_t, std::string> labels;
  for (const auto& [name, at] : frame.function->labels) labels.emplace(at, name);
  for (std::size_t i = 0; i <= frame.function->body.size(); ++i) {
    const auto [first, last] = labels.equal_range(i);
    for (auto label = first; label != last; ++label) {
      labels_[frame.prefix + label->second] = static_cast<std::uint32_t>(program_.operations.size());
    }
    if (i == frame.function->body.size()) break;
    instruction_ = &frame.function->body[i];
    decode_instruction();
  }
  for (const std::size_t each : frame.returns) {
    program_.operations[each].target = static_cast<std::uint32_t>(program_.operations.size());
  }
  instruction_ = call;
  frame_ = caller;
}

void Decoder::decode_instruction() {
  const auto found = all_instructions().find(instruction_->words[0]);
  if (found == all_instructions().end()) refuse();
  found->second(*this);
}

void Decoder::refuse(const std::string& why) const {
  throw DeviceError{cudaErrorIllegalInstruction, "PTX instruction " + instruction_->opcode() + ": " + why + "\n  at " +
                                                     position(instruction_->location) + ", in " +
                                                     demangled(frame_->function->name)};
}

const PtxOperand& Decoder::operand(std::size_t index) const {
  if (index >= instruction_->operands.size()) refuse("too few operands");
  return instruction_->operands[index];
}

std::string Decoder::type() const {
  for (auto word = instruction_->words.rbegin(); word != instruction_->words.rend(); ++word) {
    if (type_bytes(*word) != 0) return *word;
  }
  return "";
}

const std::vector<std::string>& Decoder::branch_targets(const std::string& label) const {
  const auto found = frame_->function->branch_targets.find(label);
  if (found == frame_->function->branch_targets.end()) refuse("unknown label " + label);
  return found->second;
}

Slot Decoder::allocate(std::uint32_t bytes_per_lane) {
  const Slot slot = program_.register_bytes;
  program_.register_bytes += std::max(bytes_per_lane, 2u) * 32;
  return slot;
}

Slot Decoder::register_slot(const std::string& name, std::uint32_t& bytes) {
  const auto& registers = frame_->function->registers;
  auto declared = registers.find(name);
  if (declared == registers.end()) declared = registers.find(name.substr(0, name.find_last_not_of("0123456789") + 1));
  if (declared == registers.end()) return no_slot;
  bytes = declared->second == "pred" ? 0 : type_bytes(declared->second);
  const auto [slot, is_new] = slots_.try_emplace(frame_->prefix + name, 0);
  if (is_new) slot->second = allocate(bytes);
  return slot->second;
}

Slot Decoder::special(const std::string& name) {
  const auto found = special_names().find(name);
  if (found == special_names().end()) return no_slot;
  const auto [slot, is_new] = specials_.try_emplace(found->second, 0);
  if (is_new) slot->second = allocate(4);
  return slot->second;
}

Slot Decoder::constant(std::uint64_t value, std::uint32_t bytes) {
  const std::uint32_t width = std::max(bytes, 2u);
  if (width < 8) value &= (1ull << 8 * width) - 1;
  const auto [slot, is_new] = constants_.try_emplace({value, width}, 0);
  if (is_new) {
    slot->second = static_cast<Slot>(program_.constants.size()) | constant_bit;
    for (int lane = 0; lane < 32; ++lane) {
      const auto* const begin = reinterpret_cast<const std::uint8_t*>(&value);
      program_.constants.insert(program_.constants.end(), begin, begin + width);
    }
  }
  return slot->second;
}

Slot Decoder::carry_slot() {
  if (carry_ == no_slot) carry_ = allocate(2);
  return carry_;
}

bool Decoder::symbol(const std::string& name, std::uint64_t& value) const {
  if (const auto local = frame_->variables.find(name); local != frame_->variables.end())
    return value = local->second, true;
  if (const auto shared = shared_.find(name); shared != shared_.end()) return value = shared->second, true;
  if (const auto global = symbols_.addresses.find(name); global != symbols_.addresses.end()) {
    return value = global->second, true;
  }
  return false;
}

bool Decoder::is_call_parameter(const std::string& name) const {
  const auto space = frame_->spaces.find(name);
  return space != frame_->spaces.end() && space->second == "call";
}

Slot Decoder::source_of_any_width(const PtxOperand& operand, std::uint32_t bytes, std::uint8_t& width) {
  width = static_cast<std::uint8_t>(std::max(bytes, 2u));
  if (operand.kind == PtxOperand::immediate) return constant(operand.value, bytes);
  if (operand.kind != PtxOperand::name) refuse("unexpected kind of operand");
  std::uint32_t register_bytes = 0;
  if (const Slot slot = register_slot(operand.text, register_bytes); slot != no_slot) {
    width = static_cast<std::uint8_t>(std::max(register_bytes, 2u));
    return slot;
  }
  if (const Slot slot = special(operand.text); slot != no_slot) return width = 4, slot;
  std::uint64_t value = 0;
  if (!symbol(operand.text, value)) refuse("unknown operand " + operand.text);
  return constant(value + operand.value, bytes);
}

Slot Decoder::source(const PtxOperand& operand, std::uint32_t bytes, bool is_double) {
  if (bytes == 0) {
    if (operand.kind == PtxOperand::immediate) {
      return constant(operand.value != 0 ? 0xffffffff : 0, 4);
    }
    std::uint32_t register_bytes = 0;
    const Slot slot = register_slot(operand.text, register_bytes);
    if (slot == no_slot || register_bytes != 0) refuse("expected a predicate, found " + operand.text);
    return slot;
  }
  if (operand.kind == PtxOperand::immediate && is_double && !operand.is_double && operand.is_float) {
    refuse("a float constant for a double");
  }
  std::uint8_t width = 0;
  const Slot slot = source_of_any_width(operand, bytes, width);
  if (width != std::max(bytes, 2u)) refuse("operand " + operand.text + " has another width");
  return slot;
}

Slot Decoder::destination_of_any_width(const PtxOperand& operand, std::uint8_t& width) {
  std::uint32_t bytes = 0;
  const Slot slot = operand.text == "_" ? allocate(8) : register_slot(operand.text, bytes);
  if (slot == no_slot) refuse("expected a register, found " + operand.text);
  width = static_cast<std::uint8_t>(operand.text == "_" ? 8 : std::max(bytes, 2u));
  return slot;
}

Slot Decoder::destination(const PtxOperand& operand, std::uint32_t bytes) {
  if (operand.text == "_") return bytes == 0 ? no_slot : allocate(bytes);
  std::uint32_t register_bytes = 0;
  const Slot slot = register_slot(operand.text, register_bytes);
  if (slot == no_slot || std::max(register_bytes, bytes ? 2u : 0u) != std::max(bytes, bytes ? 2u : 0u)) {
    refuse("expected a register of another width, found " + operand.text);
  }
  return slot;
}

std::uint32_t Decoder::list(const std::vector<Slot>& slots) {
  const auto first = static_cast<std::uint32_t>(program_.lists.size());
  program_.lists.insert(program_.lists.end(), slots.begin(), slots.end());
  return first;
}

void Decoder::address(const PtxOperand& operand, Operation& op) {
  if (operand.kind != PtxOperand::address) refuse("expected an address");
  op.offset = static_cast<std::int64_t>(operand.value);
  if (operand.text.empty()) return;
  std::uint32_t bytes = 0;
  if (const Slot slot = register_slot(operand.text, bytes); slot != no_slot) {
    op.a = slot;
    if (bytes == 8) op.flags |= flag_wide_address;
    return;
  }
  std::uint64_t value = 0;
  if (!symbol(operand.text, value)) refuse("unknown symbol " + operand.text);
  op.offset += static_cast<std::int64_t>(value);
}

std::string Decoder::position(std::uint32_t location) const {
  std::string result;
  for (std::uint32_t at = location; at != 0; at = module_.locations[at].inlined_at) {
    const PtxLocation& each = module_.locations[at];
    const auto file = module_.files.find(each.file);
    std::string name = file == module_.files.end() ? "?" : file->second;
    name = name.substr(name.rfind('/') + 1);
    result += (result.empty() ? "" : ", inlined at ") + name + ":" + std::to_string(each.line);
  }
  return result.empty() ? "an unknown line (build with -lineinfo)" : result;
}

std::uint32_t Decoder::source_index() {
  program_.sources.push_back({instruction_->opcode(), position(instruction_->location)});
  return static_cast<std::uint32_t>(program_.sources.size()) - 1;
}

void Decoder::emit(Operation op) {
  if (!instruction_->guard.empty()) {
    PtxOperand guard;
    guard.text = instruction_->guard;
    op.guard = source(guard, 0);
    op.guard_flip = instruction_->guard_negated ? all_bits : 0;
  }
  op.source = source_index();
  program_.operations.push_back(op);
}

void Decoder::emit_branch(Operation op, const std::string& label) {
  jumps_.push_back({program_.operations.size(), frame_->prefix + label});
  if (!frame_->function->labels.count(label)) refuse("unknown label " + label);
  emit(op);
}

void Decoder::emit_indexed_branch(Operation op, const std::vector<std::string>& labels) {
  op.target = static_cast<std::uint32_t>(program_.lists.size());
  op.offset = static_cast<std::int64_t>(labels.size());
  for (const std::string& each : labels) {
    list_jumps_.push_back({program_.lists.size(), frame_->prefix + each});
    program_.lists.push_back(0);
  }
  emit(op);
}

void Decoder::emit_call(const Operation& assertion, const Operation& jump) {
  const std::string& name = callee_of(*instruction_);
  if (name == "__assertfail") return emit(assertion);
  const auto found = module_.functions.find(name);
  if (found == module_.functions.end() || !found->second.is_defined)
    refuse("call of " + name + ", which has no PTX here");
  if (!instruction_->guard.empty()) refuse("a call under a predicate is not supported");
  const PtxFunction& callee = found->second;
  Frame frame;
  frame.function = &callee;
  frame.prefix = text("%d:", ++frames_);
  // The caller's .param variables become the callee's.
  const auto bind = [&](const std::vector<PtxVariable>& names, const std::vector<PtxOperand>& values) {
    if (names.size() != values.size()) refuse("another number of arguments");
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i].space != "param" || !is_call_parameter(values[i].text)) refuse("an argument that is no .param");
      frame.variables[names[i].name] = frame_->variables.at(values[i].text);
      frame.spaces[names[i].name] = "call";
    }
  };
  const bool has_results = instruction_->operands[0].kind == PtxOperand::vector;
  const std::size_t arguments = has_results ? 2 : 1;
  bind(callee.results, has_results ? instruction_->operands[0].parts : std::vector<PtxOperand>{});
  bind(callee.parameters,
       arguments < instruction_->operands.size() ? instruction_->operands[arguments].parts : std::vector<PtxOperand>{});
  return_jump_ = jump;
  expand(frame);
}

void Decoder::emit_return(const Operation& exit) {
  if (!frame_->caller) return emit(exit);
  frame_->returns.push_back(program_.operations.size());
  emit(return_jump_);
}

}  // namespace softgpu
