#include <curand_kernel.h>

#include "tests/curand_kernel.h"

namespace stagewise {
namespace {

__global__ void curand_bits_kernel(std::uint64_t seed, std::uint64_t subsequence, std::uint64_t first,
                                   std::uint32_t* numbers, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  curandStatePhilox4_32_10_t state;
  curand_init(seed, subsequence, first + i, &state);
  numbers[i] = curand(&state);
}

}  // namespace

void curand_kernel_bits(std::uint64_t seed, std::uint64_t subsequence, std::uint64_t first, std::uint32_t* numbers,
                        int count) {
  curand_bits_kernel<<<(count + 63) / 64, 64>>>(seed, subsequence, first, numbers, count);
}

}  // namespace stagewise
