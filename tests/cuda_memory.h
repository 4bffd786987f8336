// The memory that the CUDA backend's tests run on.
#pragma once

#include <cstdlib>

#include "cuda/cuda_backend.h"

namespace stagewise {

/// One allocation a tensor, in its exact size: whoever watches the device's memory sees each tensor's end. With
/// STAGEWISE_WATCHED_MEMORY in the environment (set where the software GPU runs, or compute-sanitizer's initcheck) also
/// what nobody has written; else tensors start as NaN, so that reading too early shows in results.
inline CudaOptions::Memory memory_of_tests() {
  return std::getenv("STAGEWISE_WATCHED_MEMORY") != nullptr ? CudaOptions::Memory::exact : CudaOptions::Memory::filled;
}

}  // namespace stagewise
