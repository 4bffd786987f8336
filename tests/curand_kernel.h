// Numbers drawn by a kernel with cuRAND's device functions, for tests/cuda_curand_test.cpp.
#pragma once

#include <cstdint>

namespace stagewise {

/// numbers[i], in device memory, = number first + i of cuRAND's Philox subsequence `subsequence` for `seed`.
void curand_kernel_bits(std::uint64_t seed, std::uint64_t subsequence, std::uint64_t first, std::uint32_t* numbers,
                        int count);

}  // namespace stagewise
