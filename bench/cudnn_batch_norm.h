// A training step's whole batch norm on the GPU, ours beside cuDNN's.
#pragma once

#include "bench/report.h"
#include "tensor/backend.h"

namespace stagewise::bench {

/// Registers forward (moments, coefficients, normalise) and backward (both gradients) for maps [N,H,W,C] in float32, a
/// row for our kernels on `gpu` and one for cuDNN's.
void register_batch_norms(const Shape& shape, Backend& gpu, const Roof& roof);

}  // namespace stagewise::bench
