// Adam with decoupled weight decay, element by element:
//
//   m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g
//   w = w - decay * w - step * m / (correction * sqrt(v) + epsilon)
//
// The caller works out in double, and rounds, what all elements share. Bytes: 28 an element. FLOPs: 15 an element, a
// root and a division among them, so memory binds. Deterministic.
#include "cpu/kernels/all_kernels.h"

STAGEWISE_KERNELS_BEGIN

void adamw(float* value, const float* gradient, float* first, float* second, std::int64_t count,
           const AdamWFactors& factors) {
  for_vectors(count, [=, by = factors](std::int64_t at, auto lanes) {
    const Floats slope = load_first(gradient + at, lanes), weight = load_first(value + at, lanes);
    const Floats m = broadcast(by.beta1) * load_first(first + at, lanes) + broadcast(by.share1) * slope;
    const Floats v = broadcast(by.beta2) * load_first(second + at, lanes) + broadcast(by.share2) * slope * slope;
    const Floats scale = broadcast(by.correction) * square_root(v) + broadcast(by.epsilon);
    store_first(first + at, m, lanes);
    store_first(second + at, v, lanes);
    store_first(value + at, weight - broadcast(by.decay) * weight - broadcast(by.step) * m / scale, lanes);
  });
}

STAGEWISE_KERNELS_END
