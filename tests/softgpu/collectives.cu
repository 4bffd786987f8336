#include <cuda_runtime.h>

#include "device_array.h"
#include "instructions.h"

namespace softgpu_test {
namespace {

// Lanes together: each result has a closed form.
__global__ void shuffle_kernel(int* results) {
  const int lane = threadIdx.x;
  int* const mine = results + lane * 12;
  mine[0] = __shfl_up_sync(0xffffffffu, lane, 3);
  mine[1] = __shfl_down_sync(0xffffffffu, lane, 3);
  mine[2] = __shfl_xor_sync(0xffffffffu, lane, 5);
  mine[3] = __shfl_sync(0xffffffffu, lane, lane + 9);
  mine[4] = __shfl_down_sync(0xffffffffu, lane, 3, 8);
  mine[5] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
  mine[6] = __all_sync(0xffffffffu, lane < 32) + 2 * __any_sync(0xffffffffu, lane == 40);
  mine[7] = static_cast<int>(__match_any_sync(0xffffffffu, lane / 5));
  mine[8] = __reduce_add_sync(0xffffffffu, lane);
  mine[9] = __reduce_max_sync(0xffffffffu, lane ^ 7);
  mine[10] = -1;
  if (lane & 1) mine[10] = __shfl_xor_sync(0xaaaaaaaau, lane, 2);  // half of the warp
  mine[11] = __syncthreads_count(lane < 11);
}

std::string shuffles() {
  const DeviceArray<int> results(std::vector<int>(32 * 12));
  shuffle_kernel<<<1, 32>>>(results.get());
  const std::vector<int> got = results.read();
  unsigned thirds = 0;
  for (int lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
  for (int lane = 0; lane < 32; ++lane) {
    unsigned fives = 0;
    for (int other = 0; other < 32; ++other) fives |= unsigned{other / 5 == lane / 5} << other;
    const int expected[12] = {lane < 3 ? lane : lane - 3,
                              lane > 28 ? lane : lane + 3,
                              lane ^ 5,
                              (lane + 9) % 32,
                              lane % 8 > 4 ? lane : lane + 3,
                              static_cast<int>(thirds),
                              1,
                              static_cast<int>(fives),
                              31 * 16,
                              31,
                              lane & 1 ? lane ^ 2 : -1,
                              11};
    for (int i = 0; i < 12; ++i) {
      if (got[lane * 12 + i] == expected[i]) continue;
      return "lane " + std::to_string(lane) + ", result " + std::to_string(i) + ": got " +
             std::to_string(got[lane * 12 + i]) + ", expected " + std::to_string(expected[i]);
    }
  }
  return "";
}

__constant__ int weights[4] = {1, 10, 100, 1000};
__device__ unsigned long long grand_total;

__global__ void atomic_kernel(int* sums, float* float_sum) {
  __shared__ int block_sum;
  if (threadIdx.x == 0) block_sum = 0;
  __syncthreads();
  atomicAdd(&block_sum, weights[threadIdx.x % 4]);
  atomicMax(&sums[1], static_cast<int>(threadIdx.x + blockIdx.x));
  atomicAdd(float_sum, 0.5f);
  atomicAdd(&grand_total, 1ull << 32);
  int seen = sums[2] & 0, expected;
  do {
    expected = seen;
    seen = atomicCAS(&sums[3], expected, expected + 2);
  } while (seen != expected);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(&sums[0], block_sum);
}

std::string atomics() {
  const unsigned long long nothing = 0;
  cudaMemcpyToSymbol(grand_total, &nothing, sizeof nothing);
  const DeviceArray<int> sums(std::vector<int>(4));
  const DeviceArray<float> float_sum(std::vector<float>(1));
  atomic_kernel<<<3, 64>>>(sums.get(), float_sum.get());
  unsigned long long total = 0;
  cudaMemcpyFromSymbol(&total, grand_total, sizeof total);
  const std::vector<int> got = sums.read();
  const float halves = float_sum.read()[0];
  const std::vector<int> expected = {3 * 16 * 1111, 65, 0, 3 * 64 * 2};
  for (int i = 0; i < 4; ++i) {
    if (got[i] != expected[i]) return "sum " + std::to_string(i) + ": " + std::to_string(got[i]);
  }
  if (halves != 96) return "the float sum is " + std::to_string(halves);
  return total == 192ull << 32 ? "" : "the 64-bit sum is " + std::to_string(total);
}

struct Coefficients {
  short first;
  double values[3];
};

/// Not inlined: a call with a structure by value and a result.
__device__ __noinline__ double horner(Coefficients coefficients, double x, int& calls) {
  ++calls;
  double sum = coefficients.first;
  for (const double each : coefficients.values) sum = sum * x + each;
  return sum;
}

__global__ void local_kernel(Coefficients coefficients, double* results, int choice) {
  int calls = 0;
  double table[8];
  for (int i = 0; i < 8; ++i) table[(i * 3 + choice) % 8] = horner(coefficients, i, calls);
  results[threadIdx.x] = table[(threadIdx.x + choice) % 8] + 1000 * calls;
}

std::string local_arrays() {
  const DeviceArray<double> results(std::vector<double>(64));
  const Coefficients coefficients = {2, {3, 5, 7}};
  local_kernel<<<1, 64>>>(coefficients, results.get(), 5);
  const std::vector<double> got = results.read();
  for (int thread = 0; thread < 64; ++thread) {
    double expected = 0;
    for (int i = 0; i < 8; ++i) {
      if (i * 3 % 8 == thread % 8) expected = ((2.0 * i + 3) * i + 5) * i + 7 + 8000;
    }
    if (got[thread] != expected) return "thread " + std::to_string(thread) + ": " + std::to_string(got[thread]);
  }
  return "";
}

}  // namespace

std::vector<InstructionCheck> collective_checks() {
  return {{"shuffles and votes", shuffles}, {"atomics", atomics}, {"local arrays and calls", local_arrays}};
}

}  // namespace softgpu_test
