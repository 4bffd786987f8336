#include "bench/roof_kernels.h"

#include "cpu/kernels/simd.h"

STAGEWISE_KERNELS_BEGIN

namespace {

// Two units with a latency of four or five cycles want ten chains; the factors stay in registers beside them.
constexpr int kChains = 12;

float multiply_add(std::int64_t rounds) {
  Floats chains[kChains];
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) chains[i] = broadcast(static_cast<float>(i));
  Floats factor = broadcast(0.999f), term = broadcast(1e-3f);
  asm("" : "+m"(factor), "+m"(term));  // not known when compiling
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chains[i] = chains[i] * factor + term;
  }
  Floats sum{};
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum += chains[i];
  return horizontal_sum(sum);
}

float read(const float* from, std::int64_t count) {
  Floats sums[8] = {};
  for (std::int64_t at = 0; at + 8 * kLanes <= count; at += 8 * kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sums[i] += load(from + at + i * kLanes);
  }
  Floats sum{};
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sum += sums[i];
  return horizontal_sum(sum);
}

void copy(const float* from, float* to, std::int64_t count) {
  for (std::int64_t at = 0; at + kLanes <= count; at += kLanes) store(to + at, load(from + at));
}

}  // namespace

extern const RoofKernels roof_kernels;
const RoofKernels roof_kernels = {multiply_add, std::int64_t{2} * kChains* kLanes, read, copy};

STAGEWISE_KERNELS_END
