// Exponential moving averages of the weights, over all parameters in one launch:
//
//   average += rate * (value - average), the difference, the product and the sum each rounded: the CPU's bits
//
// Bytes: 12 a parameter. FLOPs: 3 a parameter, so memory binds. Deterministic.
#include "cuda/tensor_pieces.h"

namespace stagewise::cuda {
namespace {

struct Table {
  TensorPieces pieces;
  float* average[kTensorsALaunch];
  const float* value[kTensorsALaunch];
};

/// Intrinsics, which the compiler doesn't fuse.
__device__ float updated(float average, float value, float rate) {
  return __fadd_rn(average, __fmul_rn(rate, __fsub_rn(value, average)));
}

__global__ void average_kernel(const __grid_constant__ Table table, float rate) {
  constexpr int kLanes = kLanesAThread;
  const auto [tensor, first, left] = piece_of_thread(table.pieces);
  float* const average = table.average[tensor] + first;
  const float* const value = table.value[tensor] + first;
  if (left >= kLanes) {
    Floats<kLanes> a = load<kLanes>(average);
    const Floats<kLanes> w = load<kLanes>(value);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) a.at[lane] = updated(a.at[lane], w.at[lane], rate);
    store(a, average);
    return;
  }
  for (int i = 0; i < left; ++i) average[i] = updated(average[i], value[i], rate);
}

}  // namespace

void average_step(const AverageStep& call, cudaStream_t stream) {
  const auto rate = static_cast<float>(1.0 - call.decay);
  const auto enter = [](Table& table, int i, const AverageStep::Parameter& parameter) {
    table.average[i] = parameter.average.data<float>();
    table.value[i] = parameter.value.data<float>();
  };
  launch_over<Table>(call.parameters, enter, [&](const Table& table) {
    average_kernel<<<table.pieces.blocks, kBlock, 0, stream>>>(table, rate);
    STAGEWISE_CHECK_LAUNCH(average_kernel);
  });
}

}  // namespace stagewise::cuda
