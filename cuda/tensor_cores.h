// Tensor cores, and copies to shared memory that nobody waits for: what PTX has words for and C++ hasn't. PTX ISA, "Warp
// Level Matrix Multiply-Accumulate Instructions" and "Data Movement: cp.async". From compute capability 8.0 on.
//
// A warp multiplies a 16xD by a Dx8 matrix at once, D = 16 in bfloat16 and 8 in TF32, and adds to 16x8 sums in float32.
// Lane 4g + t holds of the sums rows g and g + 8, columns 2t and 2t + 1. Both factors are read here from a matrix that
// lies as [D][channels] in shared memory, D being what is summed over, so both are transposed on the way.
#pragma once

#include "cuda/kernel_tools.h"

namespace stagewise::cuda {

/// A lane's share of D x 16 values: the left factor of one product, or the right factors of two.
struct Fragment {
  std::uint32_t at[4];
};
/// A lane's share of 16x8 sums: row g, columns 2t and 2t + 1, then row g + 8.
struct Sums16x8 {
  float at[4];
};

template <class T>
struct TensorCore;

template <>
struct TensorCore<__nv_bfloat16> {
  static constexpr int kDepth = 16;

  /// Rows 0..7 of 16 values each begin at `from`, `pitch` elements apart, rows 8..15 at `next`. ldmatrix reads four 8x8
  /// matrices, lane 8i + j naming row j of matrix i.
  __device__ static Fragment read(const __nv_bfloat16* from, const __nv_bfloat16* next, int pitch) {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const __nv_bfloat16* const row = (lane < 16 ? from : next) + lane % 8 * pitch + lane / 8 % 2 * 8;
    Fragment values;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(values.at[0]), "=r"(values.at[1]), "=r"(values.at[2]), "=r"(values.at[3])
                 : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
    return values;
  }

  /// sums += left^T * right, where `half` says which 8 of the 16 columns of `right`.
  __device__ static void multiply_add(const Fragment& left, const Fragment& right, int half, Sums16x8& sums) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums.at[0]), "+f"(sums.at[1]), "+f"(sums.at[2]), "+f"(sums.at[3])
        : "r"(left.at[0]), "r"(left.at[1]), "r"(left.at[2]), "r"(left.at[3]), "r"(right.at[half]),
          "r"(right.at[half + 2]));
  }
};

/// Operands are rounded to TF32: float32 with 10 bits behind the point in place of 23.
template <>
struct TensorCore<float> {
  static constexpr int kDepth = 8;

  /// Eight rows; there is no `next`. ldmatrix moves pairs of 2 bytes, so it can't transpose these.
  __device__ static Fragment read(const float* from, const float*, int pitch) {
    const int lane = static_cast<int>(threadIdx.x % kWarp), g = lane / 4, t = lane % 4;
    const float* const row = from + t * pitch + g;
    return {{rounded(row[0]), rounded(row[8]), rounded(row[4 * pitch]), rounded(row[4 * pitch + 8])}};
  }

  __device__ static void multiply_add(const Fragment& left, const Fragment& right, int half, Sums16x8& sums) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums.at[0]), "+f"(sums.at[1]), "+f"(sums.at[2]), "+f"(sums.at[3])
        : "r"(left.at[0]), "r"(left.at[1]), "r"(left.at[2]), "r"(left.at[3]), "r"(right.at[half]),
          "r"(right.at[half + 2]));
  }

 private:
  __device__ static std::uint32_t rounded(float value) {
    std::uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
  }
};

/// Begins to copy kBytes, 16 or 4, to shared memory, zeros where not `there`: nothing is read then. Both addresses are
/// multiples of kBytes.
template <int kBytes>
__device__ void begin_copy(void* shared, const void* global, bool there) {
  static_assert(kBytes == 16 || kBytes == 4);
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const std::size_t from = __cvta_generic_to_global(global);
  if constexpr (kBytes == 16) {  // .cg goes past the first-level cache, and knows no other size
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0) : "memory");
  }
}
/// What this thread has begun since the last call is a group.
__device__ inline void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for this thread's groups but the last one. Other threads' copies are seen behind a __syncthreads() after that.
__device__ inline void wait_for_all_groups_but_one() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

}  // namespace stagewise::cuda
