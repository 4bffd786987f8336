// Tensor cores: ldmatrix, and mma of bfloat16 and TF32 with sums in float32. All 32 lanes of a warp come together, and each
// holds a share of the matrices: PTX ISA, "Matrix Fragments for mma.m16n8k8" and "... mma.m16n8k16".
//
// A sum is taken in double and rounded once; the hardware's order and rounding are nowhere written.
#include <cstring>

#include "access.h"
#include "families.h"
#include "lanes.h"
#include "schedule.h"

namespace softgpu {
namespace {

constexpr std::uint32_t rows = 16, columns = 8;  // of the sums

/// False until all lanes are here.
bool gather_warp(Warp& warp, const Operation& op) {
  if (!gather_lanes(warp, op)) return false;
  if (warp.mask == all_lanes) return true;
  fault(warp, static_cast<std::uint32_t>(__builtin_ctz(warp.mask)), cudaErrorLaunchFailure,
        text("needs all 32 lanes of the warp, lane %u has exited or never was",
             static_cast<unsigned>(__builtin_ctz(~warp.mask))));
}

struct BFloat16Pair {
  static constexpr std::uint32_t depth = 16, in_register = 2;
  static double value(const Warp&, std::uint32_t, std::uint32_t bits, std::uint32_t part) {
    return static_cast<double>(from_bfloat16(static_cast<std::uint16_t>(bits >> 16 * part)));
  }
};
/// What a tensor core makes of a float that wasn't rounded is nowhere written either.
struct TF32 {
  static constexpr std::uint32_t depth = 8, in_register = 1;
  static double value(const Warp& warp, std::uint32_t lane, std::uint32_t bits, std::uint32_t) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    if ((bits & 0x1fff) != 0 && value == value) {
      fault(warp, lane, cudaErrorLaunchFailure,
            text("multiplies %.9g, which is no TF32: cvt.rna.tf32.f32 rounds it", static_cast<double>(value)));
    }
    return static_cast<double>(value);
  }
};

/// mma: in Program::lists the registers of d (4), a (4), b (2) and c (4). Register i of a holds row g + 8 (i % 2), that
/// of b column g, both from depth in_register * t + depth / 2 * (the other bit of i) on, for lane 4 g + t.
template <class Type>
void mma_operation(Warp& warp, const Operation& op) {
  if (!gather_warp(warp, op)) return;
  constexpr std::uint32_t depth = Type::depth;
  const Slot* const slots = warp.block->program->lists.data() + op.target;
  double a[rows][depth], b[depth][columns];
  for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) {
    const std::uint32_t g = lane / 4, t = lane % 4;
    for (std::uint32_t part = 0; part < Type::in_register; ++part) {
      const std::uint32_t at = Type::in_register * t + part;
      for (std::uint32_t i = 0; i < 4; ++i) {
        a[g + 8 * (i % 2)][at + depth / 2 * (i / 2)] =
            Type::value(warp, lane, warp.in<std::uint32_t>(slots[4 + i])[lane], part);
      }
      for (std::uint32_t i = 0; i < 2; ++i) {
        b[at + depth / 2 * i][g] = Type::value(warp, lane, warp.in<std::uint32_t>(slots[8 + i])[lane], part);
      }
    }
  }
  float sums[rows][columns];
  for (std::uint32_t row = 0; row < rows; ++row) {
    double of_row[columns];
    for (std::uint32_t column = 0; column < columns; ++column) {
      const std::uint32_t lane = row % 8 * 4 + column / 2;
      of_row[column] = warp.in<float>(slots[10 + column % 2 + row / 8 * 2])[lane];
    }
    for (std::uint32_t at = 0; at < depth; ++at) {
      for (std::uint32_t column = 0; column < columns; ++column) of_row[column] += a[row][at] * b[at][column];
    }
    for (std::uint32_t column = 0; column < columns; ++column) sums[row][column] = static_cast<float>(of_row[column]);
  }
  for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) {
    for (std::uint32_t i = 0; i < 4; ++i) {
      warp.out<float>(slots[i])[lane] = sums[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }
  }
}

void decode_mma(Decoder& d) {
  const std::string opcode = d.instruction().opcode();
  Operation op;
  if (opcode == "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32") {
    op.run = mma_operation<BFloat16Pair>;
  } else if (opcode == "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32") {
    op.run = mma_operation<TF32>;
  } else {
    d.refuse();
  }
  std::vector<Slot> slots;
  constexpr std::size_t registers[] = {4, 4, 2, 4};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::vector<PtxOperand>& parts = d.operand(i).parts;
    if (parts.size() != registers[i]) d.refuse("another number of registers");
    for (const PtxOperand& each : parts) slots.push_back(i == 0 ? d.destination(each, 4) : d.source(each, 4));
  }
  op.target = d.list(slots);
  op.e = d.constant(all_bits, 4);
  d.emit(op);
}

/// `d_bytes` matrices of 8x8 pairs of bytes: lane 8 i + j names the 16 bytes of row j of matrix i, and lane 4 g + t gets of
/// each matrix columns 2t and 2t + 1 of row g; transposed (`a_bytes`), rows 2t and 2t + 1 of column g.
void ldmatrix_operation(Warp& warp, const Operation& op) {
  if (!gather_warp(warp, op)) return;
  const std::uint32_t count = op.d_bytes;
  const Slot* const slots = warp.block->program->lists.data() + op.target;
  warp.mask = count == 4 ? all_lanes : (1u << 8 * count) - 1;
  const HostAddresses from = check_access(warp, op, addresses_of(warp, op), 16, AccessKind::read);
  warp.mask = all_lanes;
  for (std::uint32_t matrix = 0; matrix < count; ++matrix) {
    std::uint16_t values[8][8];
    for (std::uint32_t row = 0; row < 8; ++row) std::memcpy(values[row], from.of[8 * matrix + row], 16);
    for (std::uint32_t lane = 0; lane < warp_lanes; ++lane) {
      const std::uint32_t g = lane / 4, t = lane % 4 * 2;
      const std::uint16_t low = op.a_bytes ? values[t][g] : values[g][t];
      const std::uint16_t high = op.a_bytes ? values[t + 1][g] : values[g][t + 1];
      warp.out<std::uint32_t>(slots[matrix])[lane] = std::uint32_t{high} << 16 | low;
    }
  }
}

void decode_ldmatrix(Decoder& d) {
  const PtxInstruction& i = d.instruction();
  if (!i.has("m8n8") || i.words.back() != "b16" || !(i.has("shared") || i.has("shared::cta"))) d.refuse();
  Operation op;
  op.run = ldmatrix_operation;
  op.space = space_shared;
  op.a_bytes = i.has("trans");
  std::vector<Slot> slots;
  for (const PtxOperand& each : d.operand(0).parts) slots.push_back(d.destination(each, 4));
  op.d_bytes = static_cast<std::uint8_t>(slots.size());
  if (op.d_bytes != (i.has("x4") ? 4 : i.has("x2") ? 2 : 1)) d.refuse("another number of registers");
  op.target = d.list(slots);
  op.e = d.constant(all_bits, 4);
  d.address(d.operand(1), op);
  d.emit(op);
}

}  // namespace

const Family& matrix_family() {
  static const Family family = {{"mma", decode_mma}, {"ldmatrix", decode_ldmatrix}};
  return family;
}

}  // namespace softgpu
