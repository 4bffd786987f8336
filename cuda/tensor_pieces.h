// How a kernel goes over many tensors in one launch. A network has hundreds of small ones, so a launch each would cost
// more than the arithmetic. The table of tensors travels as the kernel's argument (CUDA 12.1 and later take 32 KB),
// which needs no copy to the device. A block takes a piece of one tensor, found by bisection.
#pragma once

#include "cuda/kernel_tools.h"

namespace stagewise::cuda {

constexpr int kLanesAThread = 4;
constexpr int kPiece = kLanesAThread * kBlock;  // elements a block
constexpr int kTensorsALaunch = 640;

/// What the tables of all such kernels have: which block works on which tensor.
struct TensorPieces {
  int count[kTensorsALaunch];
  int first_block[kTensorsALaunch];  // ascending
  int tensors, blocks;
};

/// A thread's elements: those from `first` of tensor number `tensor`, kLanesAThread of them or what is left.
struct ThreadPiece {
  int tensor, first, left;
};

__device__ inline ThreadPiece piece_of_thread(const TensorPieces& pieces) {
  const int block = static_cast<int>(blockIdx.x);
  int low = 0, high = pieces.tensors - 1;  // the last tensor that begins at or before the block is in low..high
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (pieces.first_block[middle] <= block) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int first = (block - pieces.first_block[low]) * kPiece + static_cast<int>(threadIdx.x) * kLanesAThread;
  return {low, first, pieces.count[low] - first};
}

/// Fills tables and launches them. `Table` has `pieces`; enter(table, i, parameter) writes what else the kernel needs
/// to know of a parameter, as number i; launch(table) queues the kernel with `table.pieces.blocks` blocks.
template <class Table, class Parameter, class Enter, class Launch>
void launch_over(std::span<const Parameter> parameters, const Enter& enter, const Launch& launch) {
  Table table{};
  TensorPieces& pieces = table.pieces;
  for (const Parameter& parameter : parameters) {
    const std::int64_t count = parameter.value.count();
    if (count == 0) continue;
    require(count <= INT32_MAX, "[cuda] expected a parameter of fewer than 2^31 elements, got ",
            parameter.value.shape());
    if (pieces.tensors == kTensorsALaunch) {
      launch(table);
      pieces.tensors = pieces.blocks = 0;
    }
    const int i = pieces.tensors++;
    pieces.count[i] = static_cast<int>(count);
    pieces.first_block[i] = pieces.blocks;
    pieces.blocks += blocks_for(count, kPiece);
    enter(table, i, parameter);
  }
  if (pieces.blocks > 0) launch(table);
}

}  // namespace stagewise::cuda
