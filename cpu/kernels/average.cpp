// average += rate * (value - average), element by element: a difference, a product and a sum, each rounded.
// CMakeLists.txt compiles this file without fused multiply-adds, which not every instruction set has and which round
// once instead of twice. Bytes: 12 an element, so memory binds. FLOPs: 3 an element. Deterministic.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

void average(float* average, const float* value, std::int64_t count, float rate) {
  for_vectors(count, [=](std::int64_t at, auto lanes) {
    const Floats old = load_first(average + at, lanes);
    store_first(average + at, old + broadcast(rate) * (load_first(value + at, lanes) - old), lanes);
  });
}

STAGEWISE_KERNELS_END
