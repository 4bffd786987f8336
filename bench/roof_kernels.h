// Loops that do nothing but one thing as fast as the machine can, for each instruction set.
#pragma once

#include <cstdint>

namespace stagewise::cpu {

struct RoofKernels {
  /// Runs `rounds` times through independent chains of multiply-adds in registers; returns their sum, for the compiler
  /// to believe in. FLOPs: rounds * flops_per_round.
  float (*multiply_add)(std::int64_t rounds);
  std::int64_t flops_per_round;
  float (*read)(const float* from, std::int64_t count);
  void (*copy)(const float* from, float* to, std::int64_t count);
};

namespace portable {
extern const RoofKernels roof_kernels;
}
namespace avx2 {
extern const RoofKernels roof_kernels;
}
namespace avx512 {
extern const RoofKernels roof_kernels;
}
namespace neon {
extern const RoofKernels roof_kernels;
}

}  // namespace stagewise::cpu
