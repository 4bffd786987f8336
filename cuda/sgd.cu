// Stochastic gradient descent with Nesterov momentum, as PyTorch writes it, over all parameters in one launch:
//
//   g = gradient + decay * w;  v = momentum * v + g;  w -= learning_rate * (nesterov ? g + momentum * v : v)
//
// Bytes: 20 a parameter. FLOPs: 6 a parameter, so memory binds. Deterministic.
#include "cuda/tensor_pieces.h"

namespace stagewise::cuda {
namespace {

struct Table {
  TensorPieces pieces;
  float* value[kTensorsALaunch];
  const float* gradient[kTensorsALaunch];
  float* velocity[kTensorsALaunch];
  float decay[kTensorsALaunch];
};

struct Rates {
  const float* on_device;  // the learning rate; nullptr: the one that follows
  float learning_rate, momentum;
  bool nesterov;
};

__device__ void update(float& w, float& v, float gradient, float decay, const Rates& rates) {
  const float g = gradient + decay * w;
  v = rates.momentum * v + g;
  w -= rates.learning_rate * (rates.nesterov ? g + rates.momentum * v : v);
}

__global__ void sgd_kernel(const __grid_constant__ Table table, Rates rates) {
  if (rates.on_device != nullptr) rates.learning_rate = *rates.on_device;
  constexpr int kLanes = kLanesAThread;
  const auto [tensor, first, left] = piece_of_thread(table.pieces);
  float* const value = table.value[tensor] + first;
  float* const velocity = table.velocity[tensor] + first;
  const float* const gradient = table.gradient[tensor] + first;
  const float decay = table.decay[tensor];
  if (left >= kLanes) {
    Floats<kLanes> w = load<kLanes>(value), v = load<kLanes>(velocity);
    const Floats<kLanes> g = load<kLanes>(gradient);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) update(w.at[lane], v.at[lane], g.at[lane], decay, rates);
    store(w, value);
    store(v, velocity);
    return;
  }
  for (int i = 0; i < left; ++i) update(value[i], velocity[i], gradient[i], decay, rates);
}

}  // namespace

void sgd_step(const SgdStep& call, cudaStream_t stream) {
  const Rates rates{call.rate.data<float>(), static_cast<float>(call.learning_rate), static_cast<float>(call.momentum),
                    call.nesterov};
  const auto enter = [](Table& table, int i, const SgdStep::Parameter& parameter) {
    table.value[i] = parameter.value.data<float>();
    table.gradient[i] = parameter.gradient.data<float>();
    table.velocity[i] = parameter.velocity.data<float>();
    table.decay[i] = static_cast<float>(parameter.weight_decay);
  };
  launch_over<Table>(call.parameters, enter, [&](const Table& table) {
    sgd_kernel<<<table.pieces.blocks, kBlock, 0, stream>>>(table, rates);
    STAGEWISE_CHECK_LAUNCH(sgd_kernel);
  });
}

}  // namespace stagewise::cuda
