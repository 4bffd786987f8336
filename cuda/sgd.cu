// Stochastic gradient descent with Nesterov momentum, as PyTorch writes it, over all parameters in one launch:
//
//   g = gradient + decay * w;  v = momentum * v + g;  w -= learning_rate * (nesterov ? g + momentum * v : v)
//
// A network has hundreds of small tensors, so a launch each would cost more than the arithmetic. The table of tensors
// travels as the kernel's argument (CUDA 12.1 and later take 32 KB), which needs no copy to the device. A block takes a
// piece of one tensor, found by bisection. Bytes: 20 a parameter. FLOPs: 6 a parameter, so memory binds. Deterministic.
#include "cuda/kernel_tools.h"

namespace stagewise::cuda {
namespace {

constexpr int kPiece = 4 * kBlock;  // parameters a block: four a thread
constexpr int kTensorsALaunch = 640;

struct Table {
  float* value[kTensorsALaunch];
  const float* gradient[kTensorsALaunch];
  float* velocity[kTensorsALaunch];
  int count[kTensorsALaunch];
  int first_block[kTensorsALaunch];  // ascending
  float decay[kTensorsALaunch];
  int tensors;
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

/// The last tensor that begins at or before `block`.
__device__ int tensor_of(const Table& table, int block) {
  int low = 0, high = table.tensors - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table.first_block[middle] <= block) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

__global__ void sgd_kernel(const __grid_constant__ Table table, Rates rates) {
  if (rates.on_device != nullptr) rates.learning_rate = *rates.on_device;
  constexpr int kLanes = kPiece / kBlock;
  const int block = static_cast<int>(blockIdx.x), tensor = tensor_of(table, block);
  const int first = (block - table.first_block[tensor]) * kPiece + static_cast<int>(threadIdx.x) * kLanes;
  float* const value = table.value[tensor] + first;
  float* const velocity = table.velocity[tensor] + first;
  const float* const gradient = table.gradient[tensor] + first;
  const float decay = table.decay[tensor];
  const int left = table.count[tensor] - first;
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

void launch(const Table& table, int blocks, const Rates& rates, cudaStream_t stream) {
  if (blocks == 0) return;
  sgd_kernel<<<blocks, kBlock, 0, stream>>>(table, rates);
  STAGEWISE_CHECK_LAUNCH(sgd_kernel);
}

}  // namespace

void sgd_step(const SgdStep& call, cudaStream_t stream) {
  const Rates rates{call.rate.data<float>(), static_cast<float>(call.learning_rate), static_cast<float>(call.momentum),
                    call.nesterov};
  Table table{};
  int blocks = 0;
  for (const SgdStep::Parameter& parameter : call.parameters) {
    if (parameter.value.count() == 0) continue;
    if (table.tensors == kTensorsALaunch) {
      launch(table, blocks, rates, stream);
      table.tensors = blocks = 0;
    }
    const int i = table.tensors++;
    require(parameter.value.count() <= INT32_MAX, "[cuda] expected a parameter of fewer than 2^31 elements, got ",
            parameter.value.shape());
    table.value[i] = parameter.value.data<float>();
    table.gradient[i] = parameter.gradient.data<float>();
    table.velocity[i] = parameter.velocity.data<float>();
    table.count[i] = static_cast<int>(parameter.value.count());
    table.first_block[i] = blocks;
    table.decay[i] = static_cast<float>(parameter.weight_decay);
    blocks += blocks_for(parameter.value.count(), kPiece);
  }
  launch(table, blocks, rates, stream);
}

}  // namespace stagewise::cuda
