// Fetching what comes next while this is computed.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

STAGEWISE_KERNELS_BEGIN

/// Hands out runs of memory to the prefetcher in equal parts: a burst would only wait for the memory itself.
template <int Runs>
class PrefetchSteps {
 public:
  PrefetchSteps(const Prefetch (&runs)[Runs], std::int64_t steps) {
    for (int run = 0; run < Runs; ++run) {
      at_[run] = static_cast<const char*>(runs[run].from);
      end_[run] = at_[run] + runs[run].bytes;
      step_[run] = (runs[run].bytes / (steps > 0 ? steps : 1) + 64) / 64 * 64;
    }
  }
  void next() {
    for (int run = 0; run < Runs; ++run) {
      const char* const until = end_[run] - at_[run] < step_[run] ? end_[run] : at_[run] + step_[run];
      for (; at_[run] < until; at_[run] += 64) __builtin_prefetch(at_[run]);
    }
  }

 private:
  const char* at_[Runs];
  const char* end_[Runs];
  std::ptrdiff_t step_[Runs];
};

STAGEWISE_KERNELS_END
