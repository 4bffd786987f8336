// Adam with decoupled weight decay, as PyTorch writes it, over all parameters in two launches. A tiny one, a thread a
// parameter, counts the steps up and works out what all elements of a parameter share; the other does the work:
//
//   t = ++steps;  decay = rate * weight_decay;  step = rate / (1 - beta1^t);  correction = 1 / sqrt(1 - beta2^t)
//   m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g * g
//   w = w - decay * w - step * m / (correction * sqrt(v) + epsilon)
//
// Two, because a block that reads a count must not meet the thread that writes it; and what changes from step to step
// is read on the device, so that both can be recorded. 1 - beta^t = -expm1(t * log beta), its logarithm the host's in
// double: in float that is within 4e-7 of the truth, relatively, for every t and beta (1 - pow would lose all digits at
// t = 1 and a beta near 1). Steps are counted exactly up to 2^24.
// Bytes: 28 a parameter's element. FLOPs: 15, a root and a division among them, so memory binds. Deterministic.
#include <cmath>

#include "cuda/tensor_pieces.h"

namespace stagewise::cuda {
namespace {

struct Factors {
  float decay, step, correction;
};

struct Counts {
  float* steps[kTensorsALaunch];
  float weight_decay[kTensorsALaunch];
  int tensors;
};

struct Rates {
  const float* on_device;  // the learning rate; nullptr: the one that follows
  float learning_rate;
  float log_beta1, log_beta2;
};

__global__ void adamw_factors_kernel(const __grid_constant__ Counts counts, Rates rates, Factors* factors) {
  const int i = static_cast<int>(global_thread());
  if (i >= counts.tensors) return;
  if (rates.on_device != nullptr) rates.learning_rate = *rates.on_device;
  const float t = *counts.steps[i] + 1.0f;
  *counts.steps[i] = t;
  factors[i] = {rates.learning_rate * counts.weight_decay[i], rates.learning_rate / -expm1f(t * rates.log_beta1),
                1.0f / sqrtf(-expm1f(t * rates.log_beta2))};
}

struct Table {
  TensorPieces pieces;
  float* value[kTensorsALaunch];
  const float* gradient[kTensorsALaunch];
  float* first[kTensorsALaunch];
  float* second[kTensorsALaunch];
  const Factors* factors[kTensorsALaunch];
};

struct Moments {
  float beta1, share1, beta2, share2;  // share = 1 - beta, taken in double
  float epsilon;
};

__device__ void update(float& w, float& m, float& v, float g, const Factors& by, const Moments& moments) {
  m = moments.beta1 * m + moments.share1 * g;
  v = moments.beta2 * v + moments.share2 * g * g;
  w = w - by.decay * w - by.step * m / (by.correction * sqrtf(v) + moments.epsilon);
}

__global__ void adamw_kernel(const __grid_constant__ Table table, Moments moments) {
  constexpr int kLanes = kLanesAThread;
  const auto [tensor, start, left] = piece_of_thread(table.pieces);
  float* const value = table.value[tensor] + start;
  float* const first = table.first[tensor] + start;
  float* const second = table.second[tensor] + start;
  const float* const gradient = table.gradient[tensor] + start;
  const Factors by = *table.factors[tensor];
  if (left >= kLanes) {
    Floats<kLanes> w = load<kLanes>(value), m = load<kLanes>(first), v = load<kLanes>(second);
    const Floats<kLanes> g = load<kLanes>(gradient);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) update(w.at[lane], m.at[lane], v.at[lane], g.at[lane], by, moments);
    store(w, value);
    store(m, first);
    store(v, second);
    return;
  }
  for (int i = 0; i < left; ++i) update(value[i], first[i], second[i], gradient[i], by, moments);
}

/// Also of empty parameters, which the other kernel never sees.
void count_and_prepare(const AdamWStep& call, Factors* factors, cudaStream_t stream) {
  const Rates rates{call.rate.data<float>(), static_cast<float>(call.learning_rate),
                    static_cast<float>(std::log(call.beta1)), static_cast<float>(std::log(call.beta2))};
  auto rest = call.parameters;
  while (!rest.empty()) {
    Counts counts{};
    while (!rest.empty() && counts.tensors < kTensorsALaunch) {
      const int i = counts.tensors++;
      counts.steps[i] = rest.front().steps.data<float>();
      counts.weight_decay[i] = static_cast<float>(rest.front().weight_decay);
      rest = rest.subspan(1);
    }
    adamw_factors_kernel<<<blocks_for(counts.tensors), kBlock, 0, stream>>>(counts, rates, factors);
    STAGEWISE_CHECK_LAUNCH(adamw_factors_kernel);
    factors += counts.tensors;
  }
}

}  // namespace

void adamw_step(const AdamWStep& call, cudaStream_t stream) {
  if (call.parameters.empty()) return;
  constexpr std::int64_t kFloats = sizeof(Factors) / sizeof(float);
  const Tensor scratch(call.parameters.front().value.backend(),
                       {static_cast<std::int64_t>(call.parameters.size()), kFloats});
  auto* const factors = static_cast<Factors*>(scratch.address());
  count_and_prepare(call, factors, stream);

  const Moments moments{static_cast<float>(call.beta1), static_cast<float>(1.0 - call.beta1),
                        static_cast<float>(call.beta2), static_cast<float>(1.0 - call.beta2),
                        static_cast<float>(call.epsilon)};
  const auto enter = [&](Table& table, int i, const AdamWStep::Parameter& parameter) {
    table.value[i] = parameter.value.data<float>();
    table.gradient[i] = parameter.gradient.data<float>();
    table.first[i] = parameter.first.data<float>();
    table.second[i] = parameter.second.data<float>();
    table.factors[i] = factors + (&parameter - call.parameters.data());
  };
  launch_over<Table>(call.parameters, enter, [&](const Table& table) {
    adamw_kernel<<<table.pieces.blocks, kBlock, 0, stream>>>(table, moments);
    STAGEWISE_CHECK_LAUNCH(adamw_kernel);
  });
}

}  // namespace stagewise::cuda
