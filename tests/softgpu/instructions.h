// Kernels that try one family of instructions each, over inputs with the awkward ones among them.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace softgpu_test {

struct InstructionCheck {
  const char* name;
  /// Runs on the device, computes the same on the host, and returns the first difference, "" where there is none.
  std::string (*run)();
};

inline void PrintTo(const InstructionCheck& check, std::ostream* out) { *out << check.name; }

std::vector<InstructionCheck> instruction_checks();
/// What threads do together, and calls: collectives.cu.
std::vector<InstructionCheck> collective_checks();
/// Tensor cores, and copies in the background: matrices.cu.
std::vector<InstructionCheck> matrix_checks();

}  // namespace softgpu_test
