// Loads and stores: ld ldu st, and the hints that change nothing (prefetch, applypriority, discard).
#include <set>

#include "access.h"
#include "families.h"
#include "lanes.h"

namespace softgpu {
namespace {

/// `count` elements of T a lane; registers may be wider: a signed load fills them with the sign.
template <class T>
void load_operation(Warp& warp, const Operation& op) {
  const auto count = static_cast<std::uint32_t>(op.d_bytes);
  const Slot* const slots = warp.block->program->lists.data() + op.target;
  const HostAddresses from = check_access(warp, op, addresses_of(warp, op), count * sizeof(T), AccessKind::read);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (op.a_bytes == sizeof(T)) {
      T* const d = warp.out<T>(slots[i]);
      for_lanes(warp.mask,
                [&](std::uint32_t lane) { std::memcpy(&d[lane], from.of[lane] + i * sizeof(T), sizeof(T)); });
    } else {
      std::uint8_t* const d = warp.out<std::uint8_t>(slots[i]);
      for_lanes(warp.mask, [&](std::uint32_t lane) {
        T value;
        std::memcpy(&value, from.of[lane] + i * sizeof(T), sizeof(T));
        const auto wide = static_cast<std::int64_t>(value);
        std::memcpy(d + lane * op.a_bytes, &wide, op.a_bytes);
      });
    }
  }
}

template <class T>
void store_operation(Warp& warp, const Operation& op) {
  const auto count = static_cast<std::uint32_t>(op.d_bytes);
  const Slot* const slots = warp.block->program->lists.data() + op.target;
  const HostAddresses to = check_access(warp, op, addresses_of(warp, op), count * sizeof(T), AccessKind::write);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint8_t* const value = warp.in<std::uint8_t>(slots[i]);
    for_lanes(warp.mask, [&](std::uint32_t lane) {
      std::memcpy(to.of[lane] + i * sizeof(T), value + lane * op.a_bytes, sizeof(T));
    });
  }
}

struct Access {
  Operation op;
  std::uint32_t bytes = 0;  // of an element
};

/// Space, order and hints from the words between the name and the type; unknown ones are refused.
void read_modifiers(Decoder& d, Operation& op, std::uint32_t& count) {
  static const std::set<std::string> harmless = {"weak", "nc", "ca",  "cg",      "cs",  "lu", "cv",
                                                 "wb",   "wt", "cta", "cluster", "gpu", "sys"};
  const PtxInstruction& i = d.instruction();
  for (std::size_t word = 1; word + 1 < i.words.size(); ++word) {
    const std::string& w = i.words[word];
    if (w == "global" || w == "const")
      op.space = space_global;
    else if (w == "shared" || w == "shared::cta")
      op.space = space_shared;
    else if (w == "local")
      op.space = space_local;
    else if (w == "param" || w == "param::entry" || w == "param::func")
      op.space = space_parameter;
    else if (w == "volatile" || w == "relaxed" || w == "acquire" || w == "release" || w == "mmio")
      op.flags |= flag_volatile;
    else if (w == "v2")
      count = 2;
    else if (w == "v4")
      count = 4;
    else if (w == "v8")
      count = 8;
    else if (w.rfind("L1::", 0) != 0 && w.rfind("L2::", 0) != 0 && !harmless.count(w))
      d.refuse();
  }
}

/// The memory operand; a .param of an expanded call lies in local memory.
void read_address(Decoder& d, const PtxOperand& operand, Operation& op) {
  d.address(operand, op);
  if (op.space == space_parameter && d.is_call_parameter(operand.text)) op.space = space_local;
}

void decode_ld(Decoder& d) {
  const std::string type = d.type();
  std::uint32_t count = 1;
  Operation op;
  read_modifiers(d, op, count);
  const std::uint32_t bytes = type_bytes(type);
  const bool is_signed = type[0] == 's';
  switch (bytes) {
    case 1: op.run = is_signed ? load_operation<std::int8_t> : load_operation<std::uint8_t>; break;
    case 2: op.run = is_signed ? load_operation<std::int16_t> : load_operation<std::uint16_t>; break;
    case 4: op.run = is_signed ? load_operation<std::int32_t> : load_operation<std::uint32_t>; break;
    case 8: op.run = load_operation<std::uint64_t>; break;
    default: d.refuse();
  }
  const PtxOperand& result = d.operand(0);
  const std::vector<PtxOperand> registers =
      result.kind == PtxOperand::vector ? result.parts : std::vector<PtxOperand>{result};
  if (registers.size() != count) d.refuse("another number of registers");
  std::vector<Slot> slots;
  for (const PtxOperand& each : registers) {
    std::uint8_t width = 0;
    if (each.text == "_") {
      slots.push_back(d.destination(each, bytes));
      continue;
    }
    slots.push_back(d.destination_of_any_width(each, width));
    if (op.a_bytes && width != op.a_bytes) d.refuse("registers of different widths");
    op.a_bytes = width;
  }
  if (op.a_bytes == 0) op.a_bytes = static_cast<std::uint8_t>(std::max(bytes, 2u));
  op.target = d.list(slots);
  op.d_bytes = static_cast<std::uint8_t>(count);
  read_address(d, d.operand(1), op);
  d.emit(op);
}

void decode_st(Decoder& d) {
  std::uint32_t count = 1;
  Operation op;
  read_modifiers(d, op, count);
  const std::uint32_t bytes = type_bytes(d.type());
  switch (bytes) {
    case 1: op.run = store_operation<std::uint8_t>; break;
    case 2: op.run = store_operation<std::uint16_t>; break;
    case 4: op.run = store_operation<std::uint32_t>; break;
    case 8: op.run = store_operation<std::uint64_t>; break;
    default: d.refuse();
  }
  const PtxOperand& value = d.operand(1);
  const std::vector<PtxOperand> registers =
      value.kind == PtxOperand::vector ? value.parts : std::vector<PtxOperand>{value};
  if (registers.size() != count) d.refuse("another number of registers");
  // Constants are as wide as the type, registers may be wider: all of a store must agree.
  std::vector<Slot> slots;
  for (const PtxOperand& each : registers) {
    std::uint8_t width = 0;
    slots.push_back(d.source_of_any_width(each, bytes, width));
    if (op.a_bytes && width != op.a_bytes) d.refuse("registers of different widths");
    op.a_bytes = width;
  }
  op.target = d.list(slots);
  op.d_bytes = static_cast<std::uint8_t>(count);
  read_address(d, d.operand(0), op);
  d.emit(op);
}

void decode_hint(Decoder&) {}

}  // namespace

const Family& memory_family() {
  static const Family family = {{"ld", decode_ld},         {"ldu", decode_ld},         {"st", decode_st},
                                {"prefetch", decode_hint}, {"prefetchu", decode_hint}, {"applypriority", decode_hint}};
  return family;
}

}  // namespace softgpu
